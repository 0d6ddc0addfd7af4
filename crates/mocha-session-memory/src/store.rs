//! The store: shards by key, one budget for all, and room made where it is needed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::SystemTime;

use mocha_session_core::store::{
    Capabilities, Durability, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey,
    Stored, SweepReport, async_trait,
};
use mocha_session_core::{BoxFuture, Clock, Error, ErrorKind, Result, StoreUrl};

use crate::budget::{Budget, Growth};
use crate::builder::{MemoryStoreBuilder, WhenFull};
use crate::shard::{Entry, OVERHEAD, Shard};

const ENGINE: &str = "memory";

/// How many expired entries a write removes from its shard, if there are any. A write adds at most
/// one entry, so with more than one removed what has expired cannot pile up.
const PURGED_BY_A_WRITE: usize = 4;

/// Sessions in this process's memory.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> mocha_session_core::Result<()> {
/// use std::time::{Duration, SystemTime};
/// use mocha_session_core::store::{Expiry, SessionStore, StorageKey};
/// use mocha_session_memory::MemoryStore;
///
/// let store = MemoryStore::new();
/// let (key, hour) = (StorageKey::from_bytes([7; 20]), Expiry::after(Duration::from_secs(3600), SystemTime::now()));
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

/// A shard on cache lines of its own, so that neighbours' locks don't slow each other down.
#[derive(Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

impl MemoryStore {
    /// A store of at most 256 MiB that refuses writes when it is full.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Reads a URL, and returns what opens the store: as every backend does it.
    ///
    /// ```
    /// use mocha_session_core::StoreUrl;
    /// use mocha_session_memory::MemoryStore;
    ///
    /// let mut url = StoreUrl::parse("memory:?max_entries=100000")?;
    /// let opening = MemoryStore::from_url(&mut url)?;
    /// url.finish()?; // nothing misspelt
    /// # drop(opening);
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` when the URL is wrong.
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        let store = crate::driver::read(url)?;
        Ok(Box::pin(async move { Ok(store) }))
    }

    /// Settings for a store.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::new()
    }

    /// How many entries it holds, with those that have expired and not been removed yet.
    pub fn len(&self) -> usize {
        usize::try_from(self.budget.entries()).unwrap_or(usize::MAX)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of heap its entries take, what the store needs for each of them included.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.budget.bytes()).unwrap_or(usize::MAX)
    }

    /// How many live entries were dropped to make room; always 0 with [`WhenFull::Refuse`].
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    pub(crate) fn with(budget: Budget, when_full: WhenFull, clock: Arc<dyn Clock>) -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        // Enough that two threads seldom meet, few enough to be looked through when the store is
        // full.
        let shards = (threads * 16).next_power_of_two().clamp(16, 256);
        let shards = (0..shards).map(|_| Padded::default()).collect();
        Self { shards, budget, when_full, clock, evicted: AtomicU64::new(0) }
    }

    fn now(&self) -> i64 {
        millis(self.clock.now())
    }

    /// Which shard a key is in: keys are hashes, so two of their bytes spread them evenly.
    fn place(&self, key: &StorageKey) -> usize {
        let [.., high, low] = *key.as_bytes();
        usize::from(u16::from_be_bytes([high, low])) % self.shards.len()
    }

    fn shard(&self, key: &StorageKey) -> MutexGuard<'_, Shard> {
        self.lock(self.place(key))
    }

    fn lock(&self, place: usize) -> MutexGuard<'_, Shard> {
        // Nothing panics while it holds the lock; if something did, the map would still be whole.
        self.shards[place].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a value under a key if `may` agrees with the live entry that is there now.
    fn put(
        &self,
        operation: &'static str,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        may: impl Fn(Option<&Entry>) -> bool,
    ) -> Result<Option<Revision>> {
        if value.len() > self.max_value() {
            let why = format!("{} bytes are more than `max_bytes` has room for", value.len());
            return Err(Error::new(ErrorKind::TooLarge, why).on(ENGINE).during(operation));
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
            // Room is made with this shard unlocked, for no thread may hold two; then everything is
            // looked at again.
            drop(shard);
            self.make_room(growth, key, now).map_err(|error| error.during(operation))?;
        }
    }

    /// Removes up to `limit` expired entries of a shard.
    fn purge(&self, shard: &mut Shard, now: i64, limit: usize) {
        for entry in std::iter::from_fn(|| shard.pop_before(now)).take(limit) {
            self.budget.give(entry.cost());
        }
    }

    /// Makes room, but not by removing the live entry of `key`.
    fn make_room(&self, growth: Growth, key: &StorageKey, now: i64) -> Result<()> {
        for place in 0..self.shards.len() {
            let mut shard = self.lock(place);
            while let Some(entry) = shard.pop_before(now) {
                self.budget.give(entry.cost());
                if self.budget.has_room(growth) {
                    return Ok(());
                }
            }
        }
        while self.when_full == WhenFull::Evict && self.evict_one(key, now) {
            if self.budget.has_room(growth) {
                return Ok(());
            }
        }
        let why = format!(
            "the bound of {} entries or {} bytes is reached; raise it, or choose `when_full=evict`",
            self.budget.max_entries(),
            self.budget.max_bytes()
        );
        Err(Error::new(ErrorKind::Full, why).on(ENGINE))
    }

    /// Removes the entry that expires first of all but that of `key`; false when there is none.
    fn evict_one(&self, key: &StorageKey, now: i64) -> bool {
        let first = |place| Some((self.lock(place).first_but(key)?.1.expires(), place));
        let Some((_, place)) = (0..self.shards.len()).filter_map(first).min() else { return false };
        let mut shard = self.lock(place);
        // What is first now may be another one, or gone: as good a victim, or a sign that room was
        // made.
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

    /// Writes remove what has expired as they go; this is for idle times. The cursor is the shard
    /// to go on with.
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

    /// In the order of shards, and of keys in a shard; the cursor is the last key of a page, which
    /// need not exist any more.
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

fn foreign_cursor(operation: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "the cursor is not one of this store's")
        .on(ENGINE)
        .during(operation)
}
