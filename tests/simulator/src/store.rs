//! The engine of the simulation: a map with revisions, and the ways in which it can be broken.

use std::time::SystemTime;

use bytes::Bytes;
use mocha_session_core::store::{Expiry, Revision, ScanPage, StorageKey, Stored, SweepReport};

/// How an engine, or the client in front of it, is broken, to prove that the invariants notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Right.
    None,
    /// `update` writes where nothing is.
    UpdateCreates,
    /// `update` does not compare the revision.
    UpdateIgnoresRevision,
    /// `update` of another revision is acknowledged and not done.
    UpdateLies,
    /// An acknowledged update is lost now and then.
    UpdateLost,
    /// `create` writes over what is there.
    CreateOverwrites,
    /// `load` shows what was there before the last write of the key.
    StaleReplica,
    /// A revision of a key comes again.
    RevisionReused,
    /// The client library repeats a write whose answer was lost, later and without its condition.
    RepeatedWrites,
    /// A write whose answer was lost is reported as refused.
    LostIsRefused,
    /// An engine that cannot be reached is reported as empty.
    RefusedIsAbsent,
    /// `delete` is acknowledged and not done.
    DeleteLost,
    /// `sweep` removes what it saw expired, although it was written since.
    SweepRemovesRefreshed,
    /// Entries go an hour early.
    ExpiresEarly,
}

/// Every flaw that the invariants must notice.
pub const FLAWS: &[Flaw] = &[
    Flaw::UpdateCreates,
    Flaw::UpdateIgnoresRevision,
    Flaw::UpdateLies,
    Flaw::UpdateLost,
    Flaw::CreateOverwrites,
    Flaw::StaleReplica,
    Flaw::RevisionReused,
    Flaw::RepeatedWrites,
    Flaw::LostIsRefused,
    Flaw::RefusedIsAbsent,
    Flaw::DeleteLost,
    Flaw::SweepRemovesRefreshed,
    Flaw::ExpiresEarly,
];

#[derive(Clone, Debug)]
struct Entry {
    key: StorageKey,
    value: Bytes,
    revision: u64,
    until: i64,
    /// What the entry was before its last write.
    before: Option<(Bytes, u64)>,
}

/// An engine.
#[derive(Clone, Debug)]
pub struct Engine {
    entries: Vec<Entry>,
    writes: u64,
    flaw: Flaw,
    /// What a broken sweep has seen and will remove.
    seen_expired: Vec<StorageKey>,
}

impl Engine {
    /// An empty engine.
    pub fn new(flaw: Flaw) -> Self {
        Self { entries: Vec::new(), writes: 0, flaw, seen_expired: Vec::new() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn at(&self, key: &StorageKey) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == *key)
    }

    fn next(&mut self) -> u64 {
        self.writes += 1;
        if self.flaw == Flaw::RevisionReused { self.writes % 2 } else { self.writes }
    }

    /// What is under the key.
    pub fn load(&self, key: &StorageKey) -> Option<Stored> {
        let entry = &self.entries[self.at(key)?];
        if self.flaw == Flaw::StaleReplica
            && let Some((value, revision)) = &entry.before
        {
            return Some(Stored::new(value.clone(), Revision::from(*revision)));
        }
        Some(Stored::new(entry.value.clone(), Revision::from(entry.revision)))
    }

    /// Stores under a free key.
    pub fn create(&mut self, key: &StorageKey, value: &Bytes, expiry: Expiry) -> Option<Revision> {
        let revision = self.next();
        if let Some(at) = self.at(key) {
            if self.flaw != Flaw::CreateOverwrites {
                return None;
            }
            self.entries.remove(at);
        }
        let until = self.until(expiry);
        self.entries.push(Entry { key: *key, value: value.clone(), revision, until, before: None });
        Some(Revision::from(revision))
    }

    fn until(&self, expiry: Expiry) -> i64 {
        let early = if self.flaw == Flaw::ExpiresEarly { 3_600_000 } else { 0 };
        expiry.at_millis() - early
    }

    /// Replaces what has the expected revision.
    pub fn update(
        &mut self,
        key: &StorageKey,
        value: &Bytes,
        expiry: Expiry,
        expected: &Revision,
    ) -> Option<Revision> {
        let revision = self.next();
        let until = self.until(expiry);
        let Some(at) = self.at(key) else {
            if self.flaw == Flaw::UpdateCreates {
                return self.create(key, value, expiry);
            }
            return None;
        };
        let entry = &mut self.entries[at];
        if self.flaw != Flaw::UpdateIgnoresRevision && expected.as_u64() != Some(entry.revision) {
            return (self.flaw == Flaw::UpdateLies).then(|| Revision::from(revision));
        }
        if self.flaw == Flaw::UpdateLost && self.writes.is_multiple_of(3) {
            return Some(Revision::from(revision));
        }
        let before = Some((entry.value.clone(), entry.revision));
        *entry = Entry { key: *key, value: value.clone(), revision, until, before };
        Some(Revision::from(revision))
    }

    /// Writes whatever is there: what a client library does that repeats a write.
    pub fn put(&mut self, key: &StorageKey, value: &Bytes, expiry: Expiry) {
        let revision = self.next();
        let until = self.until(expiry);
        if let Some(at) = self.at(key) {
            self.entries.remove(at);
        }
        self.entries.push(Entry { key: *key, value: value.clone(), revision, until, before: None });
    }

    /// Removes the entry.
    pub fn delete(&mut self, key: &StorageKey) -> bool {
        match self.at(key) {
            Some(_) if self.flaw == Flaw::DeleteLost => true,
            Some(at) => {
                self.entries.remove(at);
                true
            }
            None => false,
        }
    }

    /// Removes what expired before `now`.
    pub fn sweep(&mut self, now: SystemTime) -> SweepReport {
        let now = millis(now);
        let before = self.entries.len();
        if self.flaw == Flaw::SweepRemovesRefreshed {
            self.seen_expired = self
                .entries
                .iter()
                .filter(|entry| entry.until <= now)
                .map(|entry| entry.key)
                .collect();
        } else {
            self.entries.retain(|entry| entry.until > now);
        }
        SweepReport::new(before as u64, (before - self.entries.len()) as u64, None)
    }

    /// The second half of a broken sweep.
    pub fn sweep_goes_on(&mut self) {
        let seen = std::mem::take(&mut self.seen_expired);
        self.entries.retain(|entry| !seen.contains(&entry.key));
    }

    /// All entries.
    pub fn scan(&self) -> ScanPage {
        let entries = self.entries.iter();
        let all = entries
            .map(|entry| {
                (entry.key, Stored::new(entry.value.clone(), Revision::from(entry.revision)))
            })
            .collect();
        ScanPage::new(all, None)
    }

    /// How it is broken.
    pub fn flaw(&self) -> Flaw {
        self.flaw
    }
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
