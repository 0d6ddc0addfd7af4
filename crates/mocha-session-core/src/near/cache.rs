//! The cached entries, by key, for as long as they may be returned.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::open::NearPolicy;
use crate::store::{StorageKey, Stored, Watcher};

/// The number of parts, each with its own lock.
const SHARDS: usize = 16;

/// The memory of an entry in addition to its value and revision, in bytes.
const OVERHEAD: usize = 160;

pub(super) struct Cache {
    shards: Box<[Mutex<Shard>]>,
    max_age: Duration,
    /// The maximum number of bytes of one generation of one shard.
    most: usize,
}

/// Two generations. If the young one is full or old, it becomes the old one, and the former old one
/// is dropped. So entries are removed without a list of ages or uses, and each is kept for at least
/// one change of generation.
#[derive(Default)]
struct Shard {
    young: Generation,
    old: Generation,
    /// The number of changes of generation.
    changes: u64,
    /// The last mark that was assigned.
    last_mark: u64,
}

#[derive(Default)]
struct Generation {
    entries: HashMap<StorageKey, Entry>,
    bytes: usize,
    since: Option<Instant>,
}

struct Entry {
    /// `None` during a write, and after a write whose result is unknown.
    known: Option<Known>,
    /// Changes at the start and the end of each write.
    mark: u64,
}

/// A value, and a time at or after which the engine had it.
type Known = (Stored, Instant);

/// The start of a read or of a write. It shows later whether a write overlapped it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    at: Instant,
    mark: u64,
    changes: u64,
}

/// A write of this process that is running.
pub(super) struct Write<'c> {
    cache: &'c Cache,
    key: StorageKey,
    begun: Begun,
    /// The value, if the engine acknowledged it.
    stored: Option<Stored>,
}

impl Cache {
    pub(super) fn new(policy: NearPolicy) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            max_age: policy.max_age(),
            most: policy.limit() / SHARDS / 2,
        }
    }

    /// Returns the value if it is young enough, or otherwise the start of a read.
    pub(super) fn read(&self, key: &StorageKey) -> Result<Stored, Begun> {
        let at = Instant::now();
        let shard = self.shard(key);
        let entry = shard.get(key);
        match entry.and_then(|entry| entry.known.as_ref()) {
            Some((stored, known_at)) if at.duration_since(*known_at) < self.max_age => {
                Ok(stored.clone())
            }
            _ => Err(Begun { at, mark: mark(entry), changes: shard.changes }),
        }
    }

    /// Caches the result of a read, unless a write overlapped it.
    pub(super) fn keep(&self, key: &StorageKey, stored: &Stored, begun: Begun) {
        let mut shard = self.shard(key);
        if shard.is_untouched(key, begun) {
            let entry = Entry { known: Some((stored.clone(), begun.at)), mark: begun.mark };
            self.put(&mut shard, key, entry);
        }
    }

    /// Starts a write. Its key is not cached until it ends.
    pub(super) fn write(&self, key: &StorageKey) -> Write<'_> {
        let mut shard = self.shard(key);
        let mark = self.mark_anew(&mut shard, key, None);
        let begun = Begun { at: Instant::now(), mark, changes: shard.changes };
        Write { cache: self, key: *key, begun, stored: None }
    }

    /// Sets or removes the value of a key, so that the result of a running read is not cached.
    fn mark_anew(&self, shard: &mut Shard, key: &StorageKey, known: Option<Known>) -> u64 {
        shard.last_mark += 1;
        let mark = shard.last_mark;
        self.put(shard, key, Entry { known, mark });
        mark
    }

    fn put(&self, shard: &mut Shard, key: &StorageKey, entry: Entry) {
        let now = Instant::now();
        let is_old = |since: Instant| now.duration_since(since) >= self.max_age;
        if shard.young.bytes > self.most || shard.young.since.is_some_and(is_old) {
            shard.old = mem::take(&mut shard.young);
            shard.changes += 1;
        }
        shard.young.since.get_or_insert(now);
        shard.young.bytes += entry.size();
        if let Some(replaced) = shard.young.entries.insert(*key, entry) {
            shard.young.bytes -= replaced.size();
        }
    }

    fn shard(&self, key: &StorageKey) -> MutexGuard<'_, Shard> {
        let at = usize::from(key.as_bytes()[0]) % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Cache {
    fn changed(&self, key: Option<&StorageKey>) {
        if let Some(key) = key {
            let mut shard = self.shard(key);
            self.mark_anew(&mut shard, key, None);
            return;
        }
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (shard.young, shard.old) = Default::default();
            // A running read then finds that its generation is gone, and is not kept.
            shard.changes += 2;
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

impl Shard {
    fn get(&self, key: &StorageKey) -> Option<&Entry> {
        self.young.entries.get(key).or_else(|| self.old.entries.get(key))
    }

    /// Returns whether no write started or ended since. An entry of such a write still exists,
    /// because it is kept for one change of generation.
    fn is_untouched(&self, key: &StorageKey, begun: Begun) -> bool {
        self.changes - begun.changes <= 1 && mark(self.get(key)) == begun.mark
    }
}

impl Entry {
    fn size(&self) -> usize {
        let known = self.known.as_ref().map_or(0, |(stored, _)| {
            stored.value().len() + stored.revision().as_bytes().map_or(0, <[u8]>::len)
        });
        OVERHEAD + known
    }
}

impl Write<'_> {
    /// Records that the engine acknowledged the write. Without this call, the result counts as
    /// unknown.
    pub(super) fn done(&mut self, stored: Stored) {
        self.stored = Some(stored);
    }
}

impl Drop for Write<'_> {
    /// Caches the written value, unless another write overlapped this one.
    fn drop(&mut self) {
        let mut shard = self.cache.shard(&self.key);
        let untouched = shard.is_untouched(&self.key, self.begun);
        let known = self.stored.take().filter(|_| untouched).map(|stored| (stored, self.begun.at));
        self.cache.mark_anew(&mut shard, &self.key, known);
    }
}

fn mark(entry: Option<&Entry>) -> u64 {
    entry.map_or(0, |entry| entry.mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Revision;

    const AGE: Duration = Duration::from_secs(2);

    fn key(first: u8) -> StorageKey {
        let mut bytes = [0; StorageKey::BYTES];
        bytes[..2].copy_from_slice(&[16, first]);
        StorageKey::from_bytes(bytes)
    }

    fn value(bytes: usize) -> Stored {
        Stored::new(vec![0; bytes], Revision::from(bytes as u64))
    }

    /// Reads from the engine.
    fn read(cache: &Cache, key: &StorageKey, found: &Stored) {
        if let Err(begun) = cache.read(key) {
            cache.keep(key, found, begun);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_by_bytes_and_by_age() {
        let cache = Cache::new(NearPolicy::within(AGE).max_bytes(SHARDS * 2 * 10_000));
        let bytes = || {
            let shard = cache.shard(&key(0));
            (shard.young.bytes + shard.old.bytes, shard.young.entries.len())
        };
        for number in 0..200 {
            read(&cache, &key(number), &value(1_000));
        }
        assert!(bytes().0 <= 2 * (10_000 + 1_000 + OVERHEAD), "{}", bytes().0);
        assert!(cache.read(&key(199)).is_ok() && cache.read(&key(0)).is_err());
        for _ in 0..2 {
            tokio::time::advance(AGE).await;
            read(&cache, &key(1), &value(1));
        }
        assert_eq!(bytes(), (2 * OVERHEAD + 2, 1));
    }

    #[test]
    fn of_writes_that_overlap_none_is_kept() {
        let cache = Cache::new(NearPolicy::within(AGE));
        let (mut first, mut second) = (cache.write(&key(1)), cache.write(&key(1)));
        second.done(value(2));
        drop(second);
        first.done(value(1));
        drop(first);
        assert!(cache.read(&key(1)).is_err());
        let mut third = cache.write(&key(1));
        third.done(value(3));
        drop(third);
        assert_eq!(cache.read(&key(1)).map_err(drop), Ok(value(3)));
        drop(cache.write(&key(1)));
        assert!(cache.read(&key(1)).is_err(), "a write that failed or was cancelled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_outlasts_what_tells_of_writes_is_not_kept() {
        let cache = Cache::new(NearPolicy::within(AGE));
        let Err(slow) = cache.read(&key(1)) else { panic!("nothing was read yet") };
        let mut write = cache.write(&key(1));
        write.done(value(2));
        drop(write);
        for _ in 0..3 {
            tokio::time::advance(AGE).await;
            read(&cache, &key(2), &value(1));
        }
        cache.keep(&key(1), &value(1), slow);
        assert!(cache.read(&key(1)).is_err());
    }
}
