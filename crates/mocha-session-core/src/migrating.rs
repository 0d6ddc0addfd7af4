//! Changing the engine without logging anyone out: a store that reads the old one and writes the new one.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::policy::EMPTIED;
use crate::record::{self, Header, Kind};
use crate::store::{
    Capabilities, Durability, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored,
    SweepReport,
};
use crate::time::{from_millis, to_millis};

/// How long a tombstone stays in the new store after a logout: longer than any request that read the old one.
const TOMBSTONE: Duration = Duration::from_secs(10 * 60);

/// Which of the two stores a revision is of. The two are told apart in its text.
const OF_OLD: &str = "old:";
const OF_NEW: &str = "new:";

/// The commit id of the tombstones that this store makes. Those of sessions are random.
const OURS: u64 = u64::from_be_bytes(*b"migrated");

/// A store over two: sessions move from `old` to `new` as they are written, and nobody is logged out.
///
/// `load` asks the new store, then the old one. Writing what lives in the old store creates it in the new one and leaves
/// a tombstone in the old one, in this order and conditionally, so that a change or a logout in between wins. `delete`
/// leaves a tombstone in the new store before it deletes in the old one, lest a request in flight carry a logged-out
/// session over.
///
/// Both must be read by every process before any writes the new one: roll out [`prepare`](Self::prepare) first (it reads
/// both and writes where a session lives), then [`new`](Self::new). Rolling back goes the same way. Sessions that nobody
/// uses expire in the old store; [`move_page`](Self::move_page) carries them over in bulk.
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

    /// Reads both stores and writes where a session lives; new sessions begin in the old one. For the time in which not
    /// every process reads the new store yet.
    pub fn prepare(old: O, new: N) -> Self {
        Self { old, new, preparing: true }
    }

    /// Moves a page of the old store's sessions, whether they are used or not; where to go on, and how many were moved.
    /// What cannot be read is left where it is.
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
            let Ok((header, ..)) = Header::read(stored.value()) else {
                tracing::warn!("a record that cannot be read was left in the old engine");
                continue;
            };
            let now = SystemTime::now();
            if header.kind.is_tombstone() || header.deadline <= to_millis(now) {
                continue;
            }
            let expiry = Expiry::at_instant(from_millis(header.deadline), now);
            moved += u64::from(self.carry(&key, stored.value(), expiry, stored.revision()).await?.is_some());
        }
        Ok((next, moved))
    }

    /// Creates `value` in the new store in place of what the old one has at `expected`; `None` when that is not there.
    async fn carry(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let Some(created) = self.new.create(key, value, expiry).await? else { return Ok(None) };
        let (tombstone, gone_by) = tombstone()?;
        match self.old.update(key, &tombstone, gone_by, expected).await {
            Ok(Some(_)) => Ok(Some(of(OF_NEW, &created))),
            // Changed, moved or logged out since it was read: what we created never was.
            Ok(None) => {
                self.new.delete(key).await?;
                Ok(None)
            }
            Err(error) if End::of(value, expiry) != End::None => {
                self.end_or_leave(key, &created, error).await
            }
            // The new entry is what every reader sees first, so the write is done whatever became of the tombstone; the
            // commit id in it tells the core so. What is left in the old store goes when the session ends.
            Err(error) => {
                Err(Error::new(ErrorKind::Ambiguous, "the old engine failed while a session was moved")
                    .with_source(error))
            }
        }
    }

    /// Completes an end that is written in the new store, while the old one answered with `error`. If the session is
    /// still there it is left alive: what is over for a minute only would come back.
    async fn end_or_leave(
        &self,
        key: &StorageKey,
        created: &Revision,
        error: Error,
    ) -> Result<Option<Revision>> {
        if self.old.load(key).await.is_ok_and(|stored| stored.as_ref().is_none_or(is_tombstone)) {
            return Ok(Some(of(OF_NEW, created)));
        }
        let why = match self.new.delete(key).await {
            Ok(_) => "the old engine failed while a session was ended; it was left as it was",
            Err(_) => {
                "both engines failed while a session was ended; it may be gone for a minute and come back"
            }
        };
        Err(Error::new(ErrorKind::Unavailable, why).with_source(error))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<O: SessionStore, N: SessionStore> SessionStore for Migrating<O, N> {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        if let Some(stored) = self.new.load(key).await? {
            return Ok(shown(OF_NEW, stored));
        }
        if let Some(stored) = self.old.load(key).await? {
            if !is_tombstone(&stored) {
                return Ok(Some(marked(OF_OLD, stored)));
            }
            // It moved between the two looks, unless the tombstone is the session's own end.
            return Ok(match self.new.load(key).await? {
                Some(moved) => shown(OF_NEW, moved),
                None => shown(OF_OLD, stored),
            });
        }
        Ok(self.new.load(key).await?.and_then(|stored| shown(OF_NEW, stored)))
    }

    async fn create(&self, key: &StorageKey, value: &[u8], expiry: Expiry) -> Result<Option<Revision>> {
        // A key that is taken in either is taken: owners' indexes, unlike sessions, have keys that come again.
        if self.preparing {
            let in_new = self.new.load(key).await?;
            if in_new.as_ref().is_some_and(|stored| !is_ours(stored)) {
                return Ok(None);
            }
            let created = self.old.create(key, value, expiry).await?;
            if created.is_some() && in_new.is_some() {
                self.new.delete(key).await?; // what was deleted before is not what is hidden now
            }
            return Ok(created.map(|revision| of(OF_OLD, &revision)));
        }
        if self.old.load(key).await?.is_some_and(|stored| !is_tombstone(&stored)) {
            return Ok(None);
        }
        let mut created = self.new.create(key, value, expiry).await?;
        if created.is_none() {
            // What an earlier delete left is in nobody's way.
            if let Some(guard) = self.new.load(key).await?.filter(is_ours) {
                created = self.new.update(key, value, expiry, guard.revision()).await?;
            }
        }
        Ok(created.map(|revision| of(OF_NEW, &revision)))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        match unmarked(expected) {
            Some((OF_NEW, expected)) => {
                // A move that was cut short has left the session in the old store, from where it must not come back when
                // its end is forgotten in the new one.
                let end = End::of(value, expiry);
                if end == End::Over {
                    self.old.delete(key).await?;
                }
                let done = self.new.update(key, value, expiry, &expected).await?;
                if done.is_some() && end == End::Moved {
                    // Afterwards: before it, a move that is under way would take the successor for lost.
                    if let Err(error) = self.old.delete(key).await {
                        tracing::warn!(%error, "a rotated session may be left in the old engine until it expires");
                    }
                }
                Ok(done.map(|revision| of(OF_NEW, &revision)))
            }
            Some((_, expected)) if self.preparing => Ok(self
                .old
                .update(key, value, expiry, &expected)
                .await?
                .map(|revision| of(OF_OLD, &revision))),
            Some((_, expected)) => self.carry(key, value, expiry, &expected).await,
            None => Ok(None),
        }
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let in_old = self.old.load(key).await?;
        if in_old.as_ref().is_none_or(is_tombstone) {
            if self.new.load(key).await?.as_ref().is_some_and(is_ours) {
                return Ok(false); // deleted already, and the guard is still needed
            }
            let in_old = in_old.is_some_and(|stored| !is_ours(&stored));
            return Ok(self.new.delete(key).await? | (self.old.delete(key).await? && in_old));
        }
        // The tombstone first: a request that has read the old entry and is about to create it here must find the key taken.
        let in_new = self.new.delete(key).await?;
        let (tombstone, gone_by) = tombstone()?;
        let guarded = self.new.create(key, &tombstone, gone_by).await?.is_some();
        let in_old = self.old.delete(key).await?;
        if !guarded {
            // A move came in between; with the old entry gone no other can.
            self.new.delete(key).await?;
        }
        Ok(in_old | in_new)
    }

    async fn sweep(&self, now: SystemTime, cursor: Option<ScanCursor>, limit: usize) -> Result<SweepReport> {
        match split(cursor) {
            (Place::Old, cursor) => {
                let report = self.old.sweep(now, cursor, limit).await?;
                let next = report.next().map_or_else(|| ScanCursor::new(OF_NEW), |next| joined(OF_OLD, next));
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
        // What moved is in both, and its tombstone is not an entry of this store.
        let entries = page
            .into_entries()
            .into_iter()
            .filter(|(_, stored)| if place == Place::New { !is_ours(stored) } else { !is_tombstone(stored) });
        Ok(ScanPage::new(entries.map(|(key, stored)| (key, marked(mark, stored))).collect(), next))
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
            .with_durability(durability);
        match [old.max_value(), new.max_value()].into_iter().flatten().min() {
            Some(least) => both.with_max_value(least),
            None => both,
        }
    }
}

/// Whether what is written ends the session under its key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    None,
    /// It goes on under another key.
    Moved,
    /// It was destroyed, or emptied and lives for another minute.
    Over,
}

impl End {
    fn of(value: &[u8], expiry: Expiry) -> Self {
        match Header::read(value).map(|(header, ..)| header.kind) {
            Ok(Kind::Moved(_)) => Self::Moved,
            Ok(Kind::Removed) => Self::Over,
            _ if expiry.ttl_millis() <= EMPTIED => Self::Over,
            _ => Self::None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Old,
    New,
}

fn split(cursor: Option<ScanCursor>) -> (Place, Option<ScanCursor>) {
    let Some(cursor) = cursor else { return (Place::Old, None) };
    let inner = |rest: &str| Some(ScanCursor::new(rest)).filter(|_| !rest.is_empty());
    match cursor.as_str().strip_prefix(OF_NEW) {
        Some(rest) => (Place::New, inner(rest)),
        None => (Place::Old, cursor.as_str().strip_prefix(OF_OLD).and_then(inner)),
    }
}

fn joined(mark: &str, cursor: &ScanCursor) -> ScanCursor {
    ScanCursor::new(format!("{mark}{}", cursor.as_str()))
}

/// A revision, with a mark of the store it is of. Numbers are marked apart from texts, to come back as they were.
fn of(mark: &str, revision: &Revision) -> Revision {
    let kind = if revision.as_u64().is_some() { '#' } else { '"' };
    Revision::from(format!("{mark}{kind}{}", revision.as_str()))
}

fn marked(mark: &str, stored: Stored) -> Stored {
    let (value, revision) = stored.into_parts();
    Stored::new(value, of(mark, &revision))
}

/// What a load of this store returns: its own tombstones stand for nothing.
fn shown(mark: &str, stored: Stored) -> Option<Stored> {
    if is_ours(&stored) { None } else { Some(marked(mark, stored)) }
}

fn unmarked(revision: &Revision) -> Option<(&'static str, Revision)> {
    let text = revision.as_str();
    let (mark, rest) = match text.strip_prefix(OF_NEW) {
        Some(rest) => (OF_NEW, rest),
        None => (OF_OLD, text.strip_prefix(OF_OLD)?),
    };
    let revision = match rest.split_at_checked(1)? {
        ("#", number) => Revision::from(number.parse::<u64>().ok()?),
        (_, text) => Revision::from(text.to_owned()),
    };
    Some((mark, revision))
}

fn is_tombstone(stored: &Stored) -> bool {
    Header::read(stored.value()).is_ok_and(|(header, ..)| header.kind.is_tombstone())
}

/// Whether it is a tombstone that this store has made. One that the session above has made is an entry like any other.
fn is_ours(stored: &Stored) -> bool {
    Header::read(stored.value()).is_ok_and(|(header, ..)| header.commits[0] == OURS)
}

fn tombstone() -> Result<(Vec<u8>, Expiry)> {
    let expiry = Expiry::after(TOMBSTONE, SystemTime::now());
    let header = Header { kind: Kind::Removed, deadline: to_millis(expiry.at()), commits: [OURS, 0, 0, 0] };
    Ok((record::encode(&header, &(), &[0; 32], false, usize::MAX)?, expiry))
}
