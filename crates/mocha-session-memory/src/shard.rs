//! One shard: a map whose order is a heap, so that what expires first is always at hand.

use indexmap::IndexMap;
use mocha_session_core::store::{Bytes, Expiry, Revision, StorageKey, Stored};

/// What an entry costs beside its value's bytes: its slot in the map (80 bytes, and an eighth in
/// reserve), its place in the index (9 bytes, at worst 21 with what a hash table leaves empty) and
/// the value's reference count (24 bytes). `tests/heap.rs` holds it against the allocator.
pub(crate) const OVERHEAD: u64 = 136;

/// A value, which write it is, and when it expires in milliseconds since 1970.
pub(crate) struct Entry {
    value: Bytes,
    revision: u64,
    expires: i64,
}

impl Entry {
    pub(crate) fn new(value: &[u8], expiry: Expiry) -> Self {
        let value = Bytes::copy_from_slice(value);
        // The first clone is what makes the bytes shared, and allocates; here, so that no load
        // does.
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
/// The map keeps its entries in one vector and finds them by an index beside it. Their order in the
/// vector would mean nothing, so it is that of a binary heap by expiry: entry 0 expires first, and
/// no queue of expiries, which would cost memory and fall behind the map, is needed.
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

    /// Puts an entry in, in the place of what is there under this key.
    pub(crate) fn put(&mut self, key: StorageKey, entry: Entry) {
        if let Some((at, _, held)) = self.heap.get_full_mut(&key) {
            *held = entry;
            self.settle(at);
            return;
        }
        if self.heap.len() == self.heap.capacity() {
            // By an eighth and not by doubling: half-empty vectors would be most of what a session
            // costs.
            self.heap.reserve_exact((self.heap.len() / 8).max(4));
        }
        let (at, _) = self.heap.insert_full(key, entry);
        self.settle(at);
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &StorageKey) -> Option<Entry> {
        let (at, _, entry) = self.heap.swap_remove_full(key)?;
        self.settle(at);
        if self.heap.capacity() > 64 && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
        Some(entry)
    }

    /// Takes out the entry that expires first, if it expires before `time`.
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

    /// Moves the entry at this place to where it belongs in the heap: up to its parent's place or
    /// down to a child's.
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

    /// When the entry at this place expires; never, where there is none.
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

    /// The same operations on a map that is looked through for the smallest give the same answers.
    #[test]
    fn what_expires_first_is_always_at_hand() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut shard, mut model) = (Shard::default(), BTreeMap::<StorageKey, i64>::new());
        for round in 0..20_000 {
            let (key, at) = (key(random.u8(..)), random.u64(1..1_000));
            match random.u8(..10) {
                // Phases of growing and of shrinking, so that every size comes by.
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
                    // Of equal ones either may have gone: what is left in the shard is the truth.
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
        assert_eq!(shard.page(None, 6, usize::MAX).count(), 14, "what has expired is left out");
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
