//! The bounds of a store and its current size, counted for all shards together without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bounds of a store and its current size.
#[derive(Debug)]
pub(crate) struct Budget {
    max_entries: u64,
    max_bytes: u64,
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// The room that a write needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// 1 for a new entry, 0 for one that replaces another.
    pub(crate) entries: u64,
    /// The size of the entry, less the size of the one that it replaces.
    pub(crate) bytes: u64,
}

impl Budget {
    pub(crate) fn new(max_entries: u64, max_bytes: u64) -> Self {
        Self { max_entries, max_bytes, entries: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    pub(crate) fn max_entries(&self) -> u64 {
        self.max_entries
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns whether there is room. Another thread may take it first.
    pub(crate) fn has_room(&self, growth: Growth) -> bool {
        self.entries().saturating_add(growth.entries) <= self.max_entries
            && self.bytes().saturating_add(growth.bytes) <= self.max_bytes
    }

    /// Takes room, if there is enough.
    pub(crate) fn take(&self, growth: Growth) -> bool {
        if !add_up_to(&self.entries, growth.entries, self.max_entries) {
            return false;
        }
        if !add_up_to(&self.bytes, growth.bytes, self.max_bytes) {
            self.entries.fetch_sub(growth.entries, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Returns the room of a removed entry.
    pub(crate) fn give(&self, cost: u64) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(cost, Ordering::Relaxed);
    }

    /// Returns the bytes by which an entry is smaller than the one it replaced.
    pub(crate) fn give_bytes(&self, bytes: u64) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// Adds, unless the sum would be above the bound. The counters guard no other memory, so relaxed
/// ordering is enough.
fn add_up_to(counter: &AtomicU64, more: u64, bound: u64) -> bool {
    let sum = |held: u64| held.checked_add(more).filter(|sum| *sum <= bound);
    more == 0 || counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_whole_or_not_at_all() {
        let budget = Budget::new(2, 100);
        assert!(budget.take(Growth { entries: 1, bytes: 60 }));
        assert!(!budget.take(Growth { entries: 1, bytes: 41 }), "too many bytes");
        assert_eq!((budget.entries(), budget.bytes()), (1, 60));
        assert!(budget.take(Growth { entries: 1, bytes: 40 }));
        assert!(!budget.take(Growth { entries: 1, bytes: 0 }), "too many entries");
        assert!(!budget.take(Growth { entries: 0, bytes: u64::MAX }), "no overflow");
        budget.give(40);
        budget.give_bytes(10);
        assert_eq!((budget.entries(), budget.bytes()), (1, 50));
        assert!(budget.has_room(Growth { entries: 1, bytes: 50 }));
        assert!(!budget.has_room(Growth { entries: 1, bytes: 51 }));
    }
}
