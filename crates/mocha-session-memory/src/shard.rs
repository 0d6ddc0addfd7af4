//! One shard: a map ordered as a heap, so that the entry that expires first is at the front.

use indexmap::IndexMap;
use mocha_session_core::store::{Bytes, Expiry, Revision, StorageKey, Stored};

/// The cost of an entry beside its value's bytes: its slot in the map (80 bytes, and an eighth in
/// reserve), its place in the index (9 bytes, at worst 21 with the hash table's empty places) and
/// the value's reference count (24 bytes). `tests/heap.rs` compares it with the allocator.
pub(crate) const OVERHEAD: u64 = 136;

/// A value with its revision and its expiry.
pub(crate) struct Entry {
    value: Bytes,
    revision: u64,
    /// In milliseconds since 1970.
    expires: i64,
}

impl Entry {
    pub(crate) fn new(value: &[u8], expiry: Expiry) -> Self {
        let value = Bytes::copy_from_slice(value);
        // The first clone allocates the reference count. Here, so that no load does.
        drop(value.clone());
        Self { value, revision: fastrand::u64(..), expires: expiry.at_millis() }
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision::from(self.revision)
    }

    pub(crate) fn stored(&self) -> Stored {
        Stored::new(self.value.clone(), self.revision())
    }

    pub(crate) fn cost(&self) -> u64 {
        OVERHEAD + self.value.len() as u64
    }

    pub(crate) fn is_live(&self, now: i64) -> bool {
        self.expires > now
    }

    pub(crate) fn expires(&self) -> i64 {
        self.expires
    }
}

/// The entries of some of the keys.
///
/// The map keeps its entries in one vector and finds them by an index beside it. The order of the
/// vector is free, so it is that of a binary heap by expiry: entry 0 expires first. A separate
/// queue of expiries would cost memory and could disagree with the map.
#[derive(Default)]
pub(crate) struct Shard {
    heap: IndexMap<StorageKey, Entry>,
}

impl Shard {
    pub(crate) fn get(&self, key: &StorageKey) -> Option<&Entry> {
        self.heap.get(key)
    }

    /// The entry that expires first.
    pub(crate) fn first(&self) -> Option<(&StorageKey, &Entry)> {
        self.heap.first()
    }

    /// The entry that expires first, other than that of `key`.
    pub(crate) fn first_but(&self, key: &StorageKey) -> Option<(&StorageKey, &Entry)> {
        let candidates = self.heap.iter().take(3).filter(|(other, _)| *other != key);
        candidates.min_by_key(|(_, entry)| entry.expires)
    }

    /// Inserts an entry, or replaces the one under this key.
    pub(crate) fn put(&mut self, key: StorageKey, entry: Entry) {
        if let Some((at, _, held)) = self.heap.get_full_mut(&key) {
            *held = entry;
            self.settle(at);
            return;
        }
        if self.heap.len() == self.heap.capacity() {
            // By an eighth: with doubling, half-empty vectors would cost more than the sessions.
            self.heap.reserve_exact((self.heap.len() / 8).max(4));
        }
        let (at, _) = self.heap.insert_full(key, entry);
        self.settle(at);
    }

    /// Removes an entry and returns it.
    pub(crate) fn remove(&mut self, key: &StorageKey) -> Option<Entry> {
        let (at, _, entry) = self.heap.swap_remove_full(key)?;
        self.settle(at);
        if self.heap.capacity() > 64 && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
        Some(entry)
    }

    /// Removes the entry that expires first, if it expires before `time`.
    pub(crate) fn pop_before(&mut self, time: i64) -> Option<Entry> {
        let key = *self.heap.first().filter(|(_, entry)| entry.expires < time)?.0;
        self.remove(&key)
    }

    /// The `limit` lowest live keys above `after`, in order.
    pub(crate) fn page(
        &self,
        after: Option<&StorageKey>,
        now: i64,
        limit: usize,
    ) -> impl Iterator<Item = (StorageKey, Stored)> {
        let above = |(key, entry): &(&StorageKey, &Entry)| {
            entry.is_live(now) && after.is_none_or(|after| *key > after)
        };
        let mut rest: Vec<_> = self.heap.iter().filter(above).collect();
        if rest.len() > limit {
            rest.select_nth_unstable_by_key(limit, |(key, _)| **key);
            rest.truncate(limit);
        }
        rest.sort_unstable_by_key(|(key, _)| **key);
        rest.into_iter().map(|(key, entry)| (*key, entry.stored()))
    }

    /// Restores the heap's order after the entry at this place changed.
    fn settle(&mut self, mut at: usize) {
        while at > 0 && self.expires(at) < self.expires((at - 1) / 2) {
            self.heap.swap_indices(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        while let Some(child) =
            self.first_child(at).filter(|child| self.expires(*child) < self.expires(at))
        {
            self.heap.swap_indices(at, child);
            at = child;
        }
    }

    fn first_child(&self, at: usize) -> Option<usize> {
        (2 * at + 1..=2 * at + 2)
            .filter(|child| *child < self.heap.len())
            .min_by_key(|child| self.expires(*child))
    }

    /// The expiry of the entry at this place; `i64::MAX` where there is none.
    fn expires(&self, at: usize) -> i64 {
        self.heap.get_index(at).map_or(i64::MAX, |(_, entry)| entry.expires)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn expiring(at: u64) -> Entry {
        Entry::new(b"value", Expiry::after(Duration::from_millis(at), SystemTime::UNIX_EPOCH))
    }

    fn key(number: u8) -> StorageKey {
        StorageKey::from_bytes([number; 20])
    }

    /// Compares with a plain map that is searched for its minimum.
    #[test]
    fn the_entry_that_expires_first_is_at_the_front() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut shard, mut model) = (Shard::default(), BTreeMap::<StorageKey, i64>::new());
        for round in 0..20_000 {
            let (key, at) = (key(random.u8(..)), random.u64(1..1_000));
            match random.u8(..10) {
                // Phases of growing and of shrinking, so that every size occurs.
                choice if choice < if round / 2_000 % 2 == 0 { 6 } else { 3 } => {
                    shard.put(key, expiring(at));
                    model.insert(key, i64::try_from(at).unwrap());
                }
                0..8 => {
                    assert_eq!(shard.remove(&key).map(|entry| entry.expires), model.remove(&key));
                }
                8 => {
                    let least = model.values().copied().min().filter(|least| *least < 300);
                    let popped = shard.pop_before(300).map(|entry| entry.expires);
                    assert_eq!(popped, least);
                    // Of equal expiries either may have gone, so the model follows the shard.
                    model.retain(|key, _| shard.get(key).is_some());
                }
                _ => {
                    let least =
                        model.iter().filter(|(other, _)| **other != key).map(|(_, at)| *at).min();
                    assert_eq!(shard.first_but(&key).map(|(_, entry)| entry.expires), least);
                }
            }
            assert_eq!(shard.heap.len(), model.len());
            let least = model.values().min().copied();
            assert_eq!(shard.first().map(|(_, entry)| entry.expires), least);
        }
    }

    #[test]
    fn pages_are_in_order_and_whole() {
        let mut shard = Shard::default();
        for number in 0..100 {
            shard.put(key(number), expiring(u64::from(number % 7) + 1));
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page: Vec<_> = shard.page(after.as_ref(), 0, 7).map(|(key, _)| key).collect();
            assert!(page.len() <= 7);
            let Some(last) = page.last() else { break };
            after = Some(*last);
            seen.extend(page);
        }
        assert_eq!(seen, (0..100).map(key).collect::<Vec<_>>());
        assert_eq!(shard.page(None, 6, usize::MAX).count(), 14, "expired entries are left out");
    }

    #[test]
    fn room_is_given_back() {
        let mut shard = Shard::default();
        let keys: Vec<_> = (0..10_000u32)
            .map(|number| {
                let mut bytes = [0; 20];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                StorageKey::from_bytes(bytes)
            })
            .collect();
        for key in &keys {
            shard.put(*key, expiring(1));
        }
        assert!(shard.heap.capacity() < 10_000 * 5 / 4, "{}", shard.heap.capacity());
        for key in &keys {
            assert!(shard.remove(key).is_some());
        }
        assert!(shard.heap.capacity() <= 64, "{}", shard.heap.capacity());
    }
}
