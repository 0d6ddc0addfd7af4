//! The store: shards by key under one budget, and how a write makes room.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::SystemTime;

use mocha_session_core::store::{
    Capabilities, Durability, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey,
    Stored, SweepReport, async_trait,
};
use mocha_session_core::{BoxFuture, Clock, Result, StoreUrl};

use crate::budget::{Budget, Growth};
use crate::builder::{MemoryStoreBuilder, WhenFull};
use crate::error::{foreign_cursor, full, too_large};
use crate::shard::{Entry, OVERHEAD, Shard};
use crate::url;

/// The engine's name in errors and capabilities.
pub(crate) const ENGINE: &str = "memory";

/// The maximum number of expired entries that a write removes from its shard. A write adds at most
/// one entry, so a larger number prevents expired entries from accumulating.
const PURGED_BY_A_WRITE: usize = 4;

/// A session store in this process's memory.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> mocha_session_core::Result<()> {
/// use std::time::{Duration, SystemTime};
/// use mocha_session_core::store::{Expiry, SessionStore, StorageKey};
/// use mocha_session_memory::MemoryStore;
///
/// let store = MemoryStore::new();
/// let key = StorageKey::from_bytes([7; 20]);
/// let hour = Expiry::after(Duration::from_secs(3600), SystemTime::now());
/// let revision = store.create(&key, b"value", hour).await?;
/// assert!(revision.is_some() && store.len() == 1);
/// assert_eq!(store.load(&key).await?.unwrap().value(), "value");
/// # Ok(()) }
/// ```
pub struct MemoryStore {
    shards: Box<[Padded]>,
    budget: Budget,
    when_full: WhenFull,
    clock: Arc<dyn Clock>,
    evicted: AtomicU64,
}

/// A shard on cache lines of its own, so that neighbouring locks do not slow each other down.
#[derive(Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

impl MemoryStore {
    /// A store of at most 256 MiB that refuses writes when it is full.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder, which sets the bounds and the clock.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::new()
    }

    /// Reads a URL, and returns the future that opens the store: what [`DRIVER`](crate::DRIVER)
    /// does, with the type of this store.
    ///
    /// ```
    /// use mocha_session_core::StoreUrl;
    /// use mocha_session_memory::MemoryStore;
    ///
    /// let mut url = StoreUrl::parse("memory:?max_entries=100000")?;
    /// let opening = MemoryStore::from_url(&mut url)?;
    /// url.finish()?; // no unknown option
    /// # drop(opening);
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` for a wrong URL.
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        url::open(url)
    }

    /// Returns the number of entries, including those that have expired and are not removed yet.
    pub fn len(&self) -> usize {
        usize::try_from(self.budget.entries()).unwrap_or(usize::MAX)
    }

    /// Returns whether the store holds no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of heap that the entries take, including the store's overhead for each.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.budget.bytes()).unwrap_or(usize::MAX)
    }

    /// Returns how many live entries were dropped to make room: 0 with [`WhenFull::Refuse`].
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    pub(crate) fn with(budget: Budget, when_full: WhenFull, clock: Arc<dyn Clock>) -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        // Enough that two threads seldom meet, few enough to search when the store is full.
        let shards = (threads * 16).next_power_of_two().clamp(16, 256);
        let shards = (0..shards).map(|_| Padded::default()).collect();
        Self { shards, budget, when_full, clock, evicted: AtomicU64::new(0) }
    }

    fn now(&self) -> i64 {
        millis(self.clock.now())
    }

    /// The number of a key's shard. Keys are hashes, so two of their bytes spread them evenly.
    fn place(&self, key: &StorageKey) -> usize {
        let [.., high, low] = *key.as_bytes();
        usize::from(u16::from_be_bytes([high, low])) % self.shards.len()
    }

    fn shard(&self, key: &StorageKey) -> MutexGuard<'_, Shard> {
        self.lock(self.place(key))
    }

    fn lock(&self, place: usize) -> MutexGuard<'_, Shard> {
        // No code panics under the lock, and the map would be consistent if it did.
        self.shards[place].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a value under a key if `may` accepts the current live entry.
    fn put(
        &self,
        operation: &'static str,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        may: impl Fn(Option<&Entry>) -> bool,
    ) -> Result<Option<Revision>> {
        if value.len() > self.max_value() {
            return Err(too_large(operation, value.len()));
        }
        let entry = Entry::new(value, expiry);
        loop {
            let now = self.now();
            let mut shard = self.shard(key);
            self.purge(&mut shard, now, PURGED_BY_A_WRITE);
            let held = shard.get(key);
            if !may(held.filter(|held| held.is_live(now))) {
                return Ok(None);
            }
            let (cost, freed) = (entry.cost(), held.map_or(0, Entry::cost));
            let growth =
                Growth { entries: u64::from(held.is_none()), bytes: cost.saturating_sub(freed) };
            if self.budget.take(growth) {
                let revision = entry.revision();
                shard.put(*key, entry);
                self.budget.give_bytes(freed.saturating_sub(cost));
                return Ok(Some(revision));
            }
            // No thread may hold two shards, so this one is unlocked first and read again after.
            drop(shard);
            if !self.make_room(growth, key, now) {
                return Err(full(operation, self.budget.max_entries(), self.budget.max_bytes()));
            }
        }
    }

    /// Removes up to `limit` expired entries of a shard.
    fn purge(&self, shard: &mut Shard, now: i64, limit: usize) {
        for entry in std::iter::from_fn(|| shard.pop_before(now)).take(limit) {
            self.budget.give(entry.cost());
        }
    }

    /// Makes room without removing the live entry of `key`; false when that is not possible.
    fn make_room(&self, growth: Growth, key: &StorageKey, now: i64) -> bool {
        for place in 0..self.shards.len() {
            let mut shard = self.lock(place);
            while let Some(entry) = shard.pop_before(now) {
                self.budget.give(entry.cost());
                if self.budget.has_room(growth) {
                    return true;
                }
            }
        }
        while self.when_full == WhenFull::Evict && self.evict_one(key, now) {
            if self.budget.has_room(growth) {
                return true;
            }
        }
        false
    }

    /// Removes the entry, other than that of `key`, that expires first; false when there is none.
    fn evict_one(&self, key: &StorageKey, now: i64) -> bool {
        let first = |place| Some((self.lock(place).first_but(key)?.1.expires(), place));
        let Some((_, place)) = (0..self.shards.len()).filter_map(first).min() else { return false };
        let mut shard = self.lock(place);
        // Another thread may have changed the shard: then the new first entry is as good a victim,
        // and an empty shard means that there is room.
        let victim = shard.first_but(key).map(|(victim, _)| *victim);
        if let Some(entry) = victim.and_then(|victim| shard.remove(&victim)) {
            self.budget.give(entry.cost());
            self.evicted.fetch_add(u64::from(entry.is_live(now)), Ordering::Relaxed);
        }
        true
    }

    fn max_value(&self) -> usize {
        usize::try_from(self.budget.max_bytes().saturating_sub(OVERHEAD)).unwrap_or(usize::MAX)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("entries", &self.budget.entries())
            .field("max_entries", &self.budget.max_entries())
            .field("bytes", &self.budget.bytes())
            .field("max_bytes", &self.budget.max_bytes())
            .field("when_full", &self.when_full)
            .field("evicted", &self.evicted())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let found = self.shard(key).get(key).map(|entry| (entry.expires(), entry.stored()));
        Ok(found.filter(|(expires, _)| *expires > self.now()).map(|(_, stored)| stored))
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        self.put("create", key, value, expiry, |held| held.is_none())
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        self.put("update", key, value, expiry, |held| {
            held.is_some_and(|held| held.revision() == *expected)
        })
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let removed = self.shard(key).remove(key);
        if let Some(entry) = &removed {
            self.budget.give(entry.cost());
        }
        Ok(removed.is_some_and(|entry| entry.is_live(self.now())))
    }

    /// For idle times, because writes remove expired entries too. The cursor is the number of the
    /// next shard.
    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        let now = millis(now);
        let (mut examined, mut removed) = (0, 0);
        let mut place = match cursor {
            None => 0,
            Some(cursor) => cursor.as_str().parse().map_err(|_| foreign_cursor("sweep"))?,
        };
        while place < self.shards.len() {
            let mut shard = self.lock(place);
            while let Some((_, first)) = shard.first() {
                if examined >= limit.max(1) {
                    return Ok(SweepReport::new(
                        examined as u64,
                        removed,
                        Some(ScanCursor::new(place.to_string())),
                    ));
                }
                examined += 1;
                if first.expires() >= now {
                    break;
                }
                self.purge(&mut shard, now, 1);
                removed += 1;
            }
            place += 1;
        }
        Ok(SweepReport::new(examined as u64, removed, None))
    }

    /// In the order of shards, and of keys in a shard. The cursor is the last key of a page, which
    /// may have been removed since.
    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        let after = match cursor {
            None => None,
            Some(cursor) => {
                Some(StorageKey::parse(cursor.as_str()).ok_or_else(|| foreign_cursor("scan"))?)
            }
        };
        let (now, limit) = (self.now(), limit.max(1));
        let first = after.as_ref().map_or(0, |key| self.place(key));
        let mut entries = Vec::new();
        for place in first..self.shards.len() {
            let after = after.as_ref().filter(|_| place == first);
            entries.extend(self.lock(place).page(after, now, limit - entries.len()));
            if entries.len() >= limit {
                let next = entries.last().map(|(key, _)| ScanCursor::new(key.to_string()));
                return Ok(ScanPage::new(entries, next));
            }
        }
        Ok(ScanPage::new(entries, None))
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(ENGINE)
            .with_listing(true)
            .with_native_expiry(true)
            .with_eviction(self.when_full == WhenFull::Evict)
            .with_durability(Durability::Process)
            .with_max_value(self.max_value())
    }
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
