//! Moves sessions in bulk, also those that nobody uses, beside live traffic.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::Migrating;
use super::marks::{OF_FROZEN, is_ours, unmarked};
use crate::error::{Error, Result};
use crate::record::{self, Header};
use crate::store::{Expiry, ScanCursor, SessionStore, StorageKey, Stored};
use crate::time::{from_millis, to_millis};

/// The result of a bulk move for an entry of the old store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MoveOutcome {
    /// It is in the new store, which returned what was written.
    Moved,
    /// The session has ended or has a newer id. Its tombstone is not moved: it expires where it is.
    Ended,
    /// It has expired.
    Expired,
    /// A request wrote, moved or ended it at the same time. Another pass finds it where it is now.
    Changed,
    /// This version cannot read the record. It stays in the old store.
    Unreadable,
    /// It is larger than the new engine allows. It stays in the old store.
    TooLarge,
    /// The new engine accepted it and does not have it any more, because it evicts.
    Evicted,
    /// It is no entry, but the guard that an earlier move left under the key of an owner index. It
    /// expires.
    Guard,
}

impl MoveOutcome {
    /// Returns a name for reports and log fields, such as `too_large`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Changed => "changed",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Evicted => "evicted",
            Self::Guard => "guard",
        }
    }
}

/// The result of moving a page of entries.
///
/// ```no_run
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{Migrating, MoveOutcome, Result, store::SessionStore};
///
/// async fn move_all(migrating: &Migrating<impl SessionStore, impl SessionStore>) -> Result<u64> {
///     let (mut cursor, mut moved) = (None, 0);
///     loop {
///         let page = migrating.move_page(cursor, 100).await?;
///         moved += page.count(MoveOutcome::Moved);
///         match page.next() {
///             Some(next) => cursor = Some(next.clone()),
///             None => return Ok(moved),
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MovedPage {
    next: Option<ScanCursor>,
    outcomes: BTreeMap<MoveOutcome, u64>,
}

impl MovedPage {
    /// Returns the cursor of the next page, or `None` after the last.
    pub fn next(&self) -> Option<&ScanCursor> {
        self.next.as_ref()
    }

    /// Returns how many entries had this outcome.
    pub fn count(&self, outcome: MoveOutcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    /// Returns each outcome of the page, with its number of entries.
    pub fn outcomes(&self) -> impl Iterator<Item = (MoveOutcome, u64)> + '_ {
        self.outcomes.iter().map(|(outcome, count)| (*outcome, *count))
    }
}

impl<O: SessionStore, N: SessionStore> Migrating<O, N> {
    /// Moves a page of the old store's entries, including those of unused sessions, and says what
    /// became of each.
    ///
    /// # Errors
    /// The errors of the two stores. Sessions that were moved stay moved; call it again with the
    /// same cursor.
    pub async fn move_page(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<MovedPage> {
        let page = self.old.scan(cursor, limit).await?;
        let mut moved = MovedPage { next: page.next().cloned(), ..MovedPage::default() };
        for (key, stored) in page.into_entries() {
            *moved.outcomes.entry(self.move_entry(&key, &stored).await?).or_default() += 1;
        }
        Ok(moved)
    }

    /// Moves an entry that a scan of the old store has found, and reads it back from the new store.
    ///
    /// It may be called for several entries at the same time. An entry is safe after each step, so
    /// the process may end at any time.
    ///
    /// # Errors
    /// The errors of the two stores; `Corrupt` if the new store returns other bytes than it was
    /// given. Call it again, after another scan.
    pub async fn move_entry(&self, key: &StorageKey, stored: &Stored) -> Result<MoveOutcome> {
        if is_ours(stored) {
            return Ok(MoveOutcome::Guard);
        }
        let frozen = record::thaw(stored.value());
        let value = frozen.as_deref().unwrap_or(stored.value());
        let Ok((header, ..)) = Header::read(value) else {
            tracing::warn!("a record that cannot be read was left in the old engine");
            return Ok(MoveOutcome::Unreadable);
        };
        let now = SystemTime::now();
        if header.kind.is_tombstone() {
            return Ok(MoveOutcome::Ended);
        }
        if header.deadline <= to_millis(now) {
            return Ok(MoveOutcome::Expired);
        }
        if self.new.capabilities().max_value().is_some_and(|most| value.len() > most) {
            return Ok(MoveOutcome::TooLarge);
        }
        let expiry = Expiry::at_instant(from_millis(header.deadline), now);
        let mut done = match &frozen {
            Some(value) => self.copy(key, value, expiry, stored.revision()).await?,
            None => self.carry(key, value, expiry, stored.revision()).await?,
        };
        if let Some((OF_FROZEN, frozen)) = done.as_ref().and_then(unmarked) {
            // The new store has failed. Tried once more, for its error.
            done = self.copy(key, value, expiry, &frozen).await?;
        }
        let Some((_, written)) = done.as_ref().and_then(unmarked) else {
            if frozen.is_none() || self.new.load(key).await?.is_none() {
                return Ok(MoveOutcome::Changed);
            }
            // An earlier move was cut short after it had created the copy.
            self.clear(key, Some(header.kind), expiry, Some(stored.revision())).await?;
            return Ok(MoveOutcome::Moved);
        };
        let Some(copy) = self.new.load(key).await? else {
            return Ok(if self.new.capabilities().evicts() {
                MoveOutcome::Evicted
            } else {
                MoveOutcome::Changed
            });
        };
        if *copy.revision() == written && **copy.value() != *record::mark_copied(value) {
            return Err(Error::corrupt("the new engine returned other bytes than were written"));
        }
        Ok(MoveOutcome::Moved)
    }
}
