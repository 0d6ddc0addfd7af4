//! Moves sessions from one engine to another without logging users out: a store that reads both
//! engines and writes the new one. It reads the header of a record and never decrypts a payload.
// tidy: long because the two stores take part in one protocol

mod bulk;
mod marks;
mod side;

pub use self::bulk::{MoveOutcome, MovedPage};

use std::time::SystemTime;

use async_trait::async_trait;

use self::marks::{
    GRACE, OF_COPY, OF_FROZEN, OF_NEW, OF_OLD, Place, UNTIL_REMOVED, guard, in_new, is_ours,
    is_tombstone, joined, kind, of, remembered, shown, split, unmarked,
};
use self::side::Side;
use crate::error::{Error, ErrorKind, Result};
use crate::mutant;
use crate::open::url::DEFAULT_DEADLINE;
use crate::record::{self, Kind};
use crate::store::{
    Capabilities, Durability, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey,
    Stored, SweepReport,
};

/// A store on top of two stores: sessions move from `old` to `new` when they are written, and no
/// user is logged out.
///
/// Every process must read both stores before any process writes the new one. Deploy
/// [`prepare`](Self::prepare) everywhere first: it reads both stores, and writes a session to the
/// store that it is in. Then deploy [`new`](Self::new). Roll back in the same way. Unused sessions
/// expire in the old store; [`move_page`](Self::move_page) moves them in bulk.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{Migrating, Result, SessionManager, store::SessionStore};
///
/// fn manager(old: impl SessionStore, new: impl SessionStore) -> Result<SessionManager> {
///     SessionManager::new(Migrating::new(old, new))
/// }
/// ```
///
/// # How a session moves
///
/// `load` reads the new store, then the old one. An update of an entry in the old store moves it.
/// One compare-and-set in the old store *freezes* the entry together with the new value; from then
/// on the write is done. Then the value is created in the new store, and the frozen entry is
/// removed. A process that reads a frozen entry uses its value as the current one, and replaces it
/// by creating the entry in the new store. The copy in the new store has a flag that the frozen
/// entry may still exist, until a later write has removed that entry.
///
/// A logout, rotation or revocation of an entry in the old store is one compare-and-set there.
/// Therefore a process may stop after any step, and one compare-and-set decides between concurrent
/// processes.
#[derive(Debug)]
pub struct Migrating<O, N> {
    old: Side<O>,
    new: Side<N>,
    preparing: bool,
}

impl<O: SessionStore, N: SessionStore> Migrating<O, N> {
    /// Reads both stores, and moves a session to the new one when it is written.
    pub fn new(old: O, new: N) -> Self {
        Self { old: Side(old), new: Side(new), preparing: false }
    }

    /// Reads both stores, and writes a session to the store that it is in. New sessions are created
    /// in the old store. Use it until every process reads the new store.
    pub fn prepare(old: O, new: N) -> Self {
        Self { old: Side(old), new: Side(new), preparing: true }
    }

    /// Moves the old store's entry to the new store with this value, if it still has the revision
    /// `expected`. Otherwise returns `None`.
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

    /// Copies an entry that was just frozen. The write is already done, so an error is only traced;
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

    /// Creates the frozen entry in the new store. Returns `None` if another process already did.
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
            tracing::debug!(%error, "a moved session stays frozen in the old engine for now");
        }
        // Must be the revision that a load returns. Otherwise a write that may still arrive would
        // look like a lost one.
        Ok(Some(of(in_new(&copy), &revision)))
    }

    /// Removes the frozen entry from the old store after it was copied, so that it does not
    /// reappear when the copy is removed.
    async fn clear(
        &self,
        key: &StorageKey,
        kind: Option<Kind>,
        expiry: Expiry,
        frozen: Option<&Revision>,
    ) -> Result<()> {
        // The key of a session is never used again. The key of an owner index is: a guard stays in
        // the old store, so that a process that read the new store earlier cannot create a second
        // index.
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

    /// Reads the key in the new store, ignoring guards.
    async fn in_new(&self, key: &StorageKey) -> Result<Option<Stored>> {
        Ok(self.new.load(key).await?.filter(|stored| !is_ours(stored)))
    }

    /// Creates an entry whose key may be used again. The old store decides between concurrent
    /// creates.
    async fn create_in_old(
        &self,
        key: &StorageKey,
        written: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        if let Some(created) = self.old.create(key, written, expiry).await? {
            return Ok(Some(created));
        }
        // A guard means that the key was copied to the new store. If the new store has no entry,
        // the key is free again.
        let Some(guard) = self.old.load(key).await?.filter(is_ours) else { return Ok(None) };
        if self.in_new(key).await?.is_some() {
            return Ok(None);
        }
        self.old.update(key, written, expiry, guard.revision()).await
    }

    /// Removes the session from the old store, and returns how long its tombstone must be kept in
    /// the new store.
    async fn clear_old(&self, key: &StorageKey, expiry: Expiry) -> Expiry {
        let kept = match self.old.delete(key).await {
            Ok(_) => GRACE,
            Err(error) => {
                tracing::warn!(%error, "an ended session could not be removed from the old engine");
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
            // It may have moved between the two reads. A guard shows that it has.
            _ => Ok(self.new.load(key).await?.and_then(|stored| shown(OF_NEW, stored))),
        }
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        // A session's key is new and random, so no other process creates it.
        if kind(value) == Some(Kind::Live) {
            return Ok(if self.preparing {
                self.old.create(key, value, expiry).await?.map(|revision| of(OF_OLD, &revision))
            } else {
                self.new.create(key, value, expiry).await?.map(|revision| of(OF_NEW, &revision))
            });
        }
        // The key of an owner index is used again, and processes of both modes may create it at the
        // same time. The old store decides between them.
        let hidden = match self.new.load(key).await? {
            Some(stored) if !is_ours(&stored) => return Ok(None),
            hidden => hidden,
        };
        let written = if self.preparing { value.to_vec() } else { record::freeze(value) };
        let Some(created) = self.create_in_old(key, &written, expiry).await? else {
            return Ok(None);
        };
        if hidden.is_some() {
            // The guard in the new store is from an earlier delete.
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
                            let why = "the old engine may still have the session and cannot be \
                                       reached; nothing was written";
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
        // Writes the guard first, so that a process that has frozen the entry and is about to copy
        // it finds the key in use.
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
        // Guards are not entries. Tombstones in the old store are not listed, because they need not
        // be moved: a session in the new store is newer than its tombstone.
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
        // The longer deadline, for the slower engine.
        match [old.deadline(), new.deadline()] {
            [None, None] => both,
            deadlines => {
                let longest = deadlines.map(|deadline| deadline.unwrap_or(DEFAULT_DEADLINE));
                both.with_deadline(longest[0].max(longest[1]))
            }
        }
    }
}
