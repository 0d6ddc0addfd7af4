//! Changing the engine without logging anyone out: a store that reads the old one and writes the
//! new one. It knows the header of a record and never opens a payload.

mod marks;

use std::time::SystemTime;

use async_trait::async_trait;

use self::marks::{
    GRACE, OF_COPY, OF_FROZEN, OF_NEW, OF_OLD, Place, UNTIL_REMOVED, guard, in_new, is_ours,
    is_tombstone, joined, kind, of, remembered, shown, split, unmarked,
};
use crate::error::{Error, ErrorKind, Result};
use crate::mutant;
use crate::open::url::DEFAULT_DEADLINE;
use crate::record::{self, Header, Kind};
use crate::store::{
    Capabilities, Durability, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey,
    Stored, SweepReport,
};
use crate::time::{from_millis, to_millis};

/// A store over two: sessions move from `old` to `new` as they are written, and nobody is logged
/// out.
///
/// `load` asks the new store, then the old one. A write of what lives in the old store moves it:
/// one compare-and-set there *freezes* the entry with the value that is to be written, which is the
/// moment it counts; then the value is created in the new store and the frozen entry is removed.
/// Whoever meets a frozen entry takes its value for the current one, and writes over it by creating
/// it in the new store. The copy says that the frozen entry may still be there, until a write has
/// seen to it. A logout, a rotation or a revocation of what lives in the old store is one
/// compare-and-set there. So every point is safe to stop at, and whatever two processes do at once
/// is decided by one compare-and-set.
///
/// Both must be read by every process before any writes the new one: roll out
/// [`prepare`](Self::prepare) first (it reads both and writes where a session lives), then
/// [`new`](Self::new). Rolling back goes the same way. Sessions that nobody uses expire in the old
/// store; [`move_page`](Self::move_page) carries them over in bulk.
///
/// ```
/// use mocha_session_core::{Migrating, SessionManager, store::SessionStore};
///
/// fn manager(old: impl SessionStore, new: impl SessionStore) -> mocha_session_core::Result<SessionManager> {
///     SessionManager::new(Migrating::new(old, new))
/// }
/// ```
#[derive(Debug)]
pub struct Migrating<O, N> {
    old: O,
    new: N,
    preparing: bool,
}

impl<O: SessionStore, N: SessionStore> Migrating<O, N> {
    /// Reads both stores, moves what is written to the new one.
    pub fn new(old: O, new: N) -> Self {
        Self { old, new, preparing: false }
    }

    /// Reads both stores and writes where a session lives; new sessions begin in the old one. For
    /// the time in which not every process reads the new store yet.
    pub fn prepare(old: O, new: N) -> Self {
        Self { old, new, preparing: true }
    }

    /// Moves a page of the old store's sessions, whether they are used or not; where to go on, and
    /// how many were moved. What cannot be read is left where it is.
    ///
    /// # Errors
    /// Those of the two stores. What was moved is moved; call it again with the same cursor.
    pub async fn move_page(
        &self,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<(Option<ScanCursor>, u64)> {
        let page = self.old.scan(cursor, limit).await?;
        let next = page.next().cloned();
        let mut moved = 0;
        for (key, stored) in page.into_entries() {
            let frozen = record::thaw(stored.value());
            let value = frozen.as_deref().unwrap_or(stored.value());
            let Ok((header, ..)) = Header::read(value) else {
                tracing::warn!("a record that cannot be read was left in the old engine");
                continue;
            };
            let now = SystemTime::now();
            if header.kind.is_tombstone() || header.deadline <= to_millis(now) {
                continue;
            }
            let expiry = Expiry::at_instant(from_millis(header.deadline), now);
            moved += u64::from(match &frozen {
                Some(value) => self.copy(&key, value, expiry, stored.revision()).await?.is_some(),
                None => self.carry(&key, value, expiry, stored.revision()).await?.is_some(),
            });
        }
        Ok((next, moved))
    }

    /// Moves what the old store has at `expected`, with this value; `None` when it is not there any
    /// more.
    async fn carry(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        if mutant("a move does not freeze") {
            let created = self.new.create(key, value, expiry).await?;
            self.old.delete(key).await?;
            return Ok(created.map(|revision| of(OF_NEW, &revision)));
        }
        match self.old.update(key, &record::freeze(value), expiry, expected).await? {
            Some(frozen) => Ok(Some(self.thaw(key, value, expiry, &frozen).await)),
            None => Ok(None),
        }
    }

    /// Copies what was just frozen. The write is done already, so that a failure here is nobody's:
    /// the next write finishes the copy.
    async fn thaw(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        frozen: &Revision,
    ) -> Revision {
        match self.copy(key, value, expiry, frozen).await {
            Ok(Some(revision)) => revision,
            Ok(None) => of(OF_FROZEN, frozen),
            Err(error) => {
                tracing::debug!(%error, "a session stays frozen in the old engine until its next write");
                of(OF_FROZEN, frozen)
            }
        }
    }

    /// Creates in the new store what is frozen in the old one; `None` when that was done before.
    async fn copy(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        frozen: &Revision,
    ) -> Result<Option<Revision>> {
        let copy = record::mark_copied(value);
        let Some(revision) = self.new.create(key, &copy, expiry).await? else { return Ok(None) };
        if let Err(error) = self.clear(key, kind(value), expiry, Some(frozen)).await {
            tracing::debug!(%error, "a session that was moved is frozen in the old engine until its next write");
        }
        // As a load says it: one entry has one revision, or a write that may still arrive is taken
        // for lost.
        Ok(Some(of(in_new(&copy), &revision)))
    }

    /// Removes what is frozen in the old store, after it was copied: it must not come back when the
    /// copy ends.
    async fn clear(
        &self,
        key: &StorageKey,
        kind: Option<Kind>,
        expiry: Expiry,
        frozen: Option<&Revision>,
    ) -> Result<()> {
        // A session's key never comes again. An index's does: there a guard stays in the old store,
        // and keeps a process that looked into the new store before from beginning another index
        // beside this one.
        if kind.is_some_and(|kind| kind != Kind::Index) {
            return self.old.delete(key).await.map(drop);
        }
        let known = match frozen {
            Some(frozen) => frozen.clone(),
            None => match self.old.load(key).await? {
                Some(stored) if record::thaw(stored.value()).is_some() => stored.into_parts().1,
                _ => return Ok(()),
            },
        };
        self.old.update(key, &guard(expiry)?, expiry, &known).await.map(drop)
    }

    /// What is stored under the key in the new store, but for guards.
    async fn in_new(&self, key: &StorageKey) -> Result<Option<Stored>> {
        Ok(self.new.load(key).await?.filter(|stored| !is_ours(stored)))
    }

    /// Creates what may come again, in the store that decides who does: the old one.
    async fn create_in_old(
        &self,
        key: &StorageKey,
        written: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        if let Some(created) = self.old.create(key, written, expiry).await? {
            return Ok(Some(created));
        }
        // A guard tells that the key was copied to the new store. If it is not there any more, it
        // is free.
        let Some(guard) = self.old.load(key).await?.filter(is_ours) else { return Ok(None) };
        if self.in_new(key).await?.is_some() {
            return Ok(None);
        }
        self.old.update(key, written, expiry, guard.revision()).await
    }

    /// How long an end stays in the new store, after what the old one may still have was removed.
    async fn clear_old(&self, key: &StorageKey, expiry: Expiry) -> Expiry {
        let kept = match self.old.delete(key).await {
            Ok(_) => GRACE,
            Err(error) => {
                tracing::warn!(%error, "what the old engine has of an ended session could not be removed");
                UNTIL_REMOVED
            }
        };
        remembered(expiry, kept)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<O: SessionStore, N: SessionStore> SessionStore for Migrating<O, N> {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        if let Some(stored) = self.new.load(key).await? {
            return Ok(shown(OF_NEW, stored));
        }
        match self.old.load(key).await? {
            Some(stored) if !is_ours(&stored) => Ok(shown(OF_OLD, stored)),
            // It may have moved between the two looks: a guard says that it has.
            _ => Ok(self.new.load(key).await?.and_then(|stored| shown(OF_NEW, stored))),
        }
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        // A session's key is new and random: nobody else can be creating it.
        if kind(value) == Some(Kind::Live) {
            return Ok(if self.preparing {
                self.old.create(key, value, expiry).await?.map(|revision| of(OF_OLD, &revision))
            } else {
                self.new.create(key, value, expiry).await?.map(|revision| of(OF_NEW, &revision))
            });
        }
        // An owner's comes again, and several processes of both modes may create it at once. The
        // old store decides which of them does.
        let hidden = match self.new.load(key).await? {
            Some(stored) if !is_ours(&stored) => return Ok(None),
            hidden => hidden,
        };
        let written = if self.preparing { value.to_vec() } else { record::freeze(value) };
        let Some(created) = self.create_in_old(key, &written, expiry).await? else {
            return Ok(None);
        };
        if hidden.is_some() {
            // What was deleted before is not what is hidden now.
            self.new.delete(key).await?;
        }
        Ok(Some(if self.preparing {
            of(OF_OLD, &created)
        } else {
            self.thaw(key, value, expiry, &created).await
        }))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let ends = kind(value).is_some_and(Kind::is_tombstone);
        match unmarked(expected) {
            Some((mark @ (OF_NEW | OF_COPY), expected)) => {
                let expiry = match (mark, ends) {
                    (OF_COPY, true) => self.clear_old(key, expiry).await,
                    (OF_COPY, false) => {
                        self.clear(key, kind(value), expiry, None).await.map_err(|error| {
                            let why = "the old engine still has the session and cannot be reached";
                            Error::new(ErrorKind::Unavailable, why).with_source(error)
                        })?;
                        expiry
                    }
                    (_, true) => remembered(expiry, GRACE),
                    (_, false) => expiry,
                };
                let done = self.new.update(key, value, expiry, &expected).await?;
                Ok(done.map(|revision| of(OF_NEW, &revision)))
            }
            Some((OF_OLD, expected)) if self.preparing || ends => {
                let done = self.old.update(key, value, expiry, &expected).await?;
                Ok(done.map(|revision| of(OF_OLD, &revision)))
            }
            Some((OF_OLD, expected)) => self.carry(key, value, expiry, &expected).await,
            Some(_) if ends => {
                let done = self.new.create(key, value, remembered(expiry, UNTIL_REMOVED)).await?;
                if done.is_some() {
                    self.clear_old(key, expiry).await;
                }
                Ok(done.map(|revision| of(OF_NEW, &revision)))
            }
            Some((_, expected)) => self.copy(key, value, expiry, &expected).await,
            None => Ok(None),
        }
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        // The guard first: a process that has frozen the entry and is about to copy it must find
        // the key taken.
        let mut there = false;
        loop {
            match self.new.load(key).await? {
                Some(stored) if is_ours(&stored) => break,
                Some(_) => there |= self.new.delete(key).await?,
                None => {
                    let expiry = Expiry::after(GRACE, SystemTime::now());
                    if self.new.create(key, &guard(expiry)?, expiry).await?.is_some() {
                        break;
                    }
                }
            }
        }
        Ok(self.old.delete(key).await? | there)
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        match split(cursor) {
            (Place::Old, cursor) => {
                let report = self.old.sweep(now, cursor, limit).await?;
                let next = report
                    .next()
                    .map_or_else(|| ScanCursor::new(OF_NEW), |next| joined(OF_OLD, next));
                Ok(report.with_next(Some(next)))
            }
            (Place::New, cursor) => {
                let report = self.new.sweep(now, cursor, limit).await?;
                let next = report.next().map(|next| joined(OF_NEW, next));
                Ok(report.with_next(next))
            }
        }
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        let (place, page, mark) = match split(cursor) {
            (Place::Old, cursor) => (Place::Old, self.old.scan(cursor, limit).await?, OF_OLD),
            (Place::New, cursor) => (Place::New, self.new.scan(cursor, limit).await?, OF_NEW),
        };
        let next = match (page.next(), place) {
            (Some(next), _) => Some(joined(mark, next)),
            (None, Place::Old) => Some(ScanCursor::new(OF_NEW)),
            (None, Place::New) => None,
        };
        // A guard is no entry. A tombstone in the old store need not be moved: it is older than its
        // session.
        let entries = page.into_entries().into_iter().filter_map(|(key, stored)| {
            let listed = place == Place::New || !is_tombstone(&stored);
            Some((key, shown(mark, stored).filter(|_| listed)?))
        });
        Ok(ScanPage::new(entries.collect(), next))
    }

    async fn ping(&self) -> Result<()> {
        self.new.ping().await?;
        self.old.ping().await
    }

    fn capabilities(&self) -> Capabilities {
        let (old, new) = (self.old.capabilities(), self.new.capabilities());
        let durability: Durability = old.durability().min(new.durability());
        let both = Capabilities::new(new.engine())
            .with_listing(old.listing() && new.listing())
            .with_native_expiry(old.native_expiry() && new.native_expiry())
            .with_eviction(old.evicts() || new.evicts())
            .with_repeated_writes(old.repeats_writes() || new.repeats_writes())
            .with_durability(durability);
        let both = match [old.max_value(), new.max_value()].into_iter().flatten().min() {
            Some(least) => both.with_max_value(least),
            None => both,
        };
        // The slower engine must have its time.
        match [old.deadline(), new.deadline()] {
            [None, None] => both,
            deadlines => {
                let longest = deadlines.map(|deadline| deadline.unwrap_or(DEFAULT_DEADLINE));
                both.with_deadline(longest[0].max(longest[1]))
            }
        }
    }
}
