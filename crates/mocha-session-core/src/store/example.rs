//! A complete store: sessions in a map, with revisions, expiry and cursors.
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use mocha_session::{Driver, Result, store::*};

#[derive(Clone, Default)]
pub struct MyStore(Arc<Mutex<BTreeMap<StorageKey, Entry>>>);

struct Entry {
    revision: Revision,
    value: Bytes,
    expires: SystemTime,
}

impl MyStore {
    fn map(&self) -> MutexGuard<'_, BTreeMap<StorageKey, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows the number of sessions, and no content.
impl fmt::Debug for MyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MyStore").field("entries", &self.map().len()).finish()
    }
}

#[async_trait]
impl SessionStore for MyStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        Ok(self
            .map()
            .get(key)
            .map(|entry| Stored::new(entry.value.clone(), entry.revision.clone())))
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        let mut map = self.map();
        if map.contains_key(key) {
            return Ok(None);
        }
        let revision = Revision::random();
        let value = Bytes::copy_from_slice(value);
        map.insert(*key, Entry { revision: revision.clone(), value, expires: expiry.at() });
        Ok(Some(revision))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let mut map = self.map();
        let Some(entry) = map.get_mut(key).filter(|entry| entry.revision == *expected) else {
            return Ok(None);
        };
        let revision = Revision::random();
        let value = Bytes::copy_from_slice(value);
        *entry = Entry { revision: revision.clone(), value, expires: expiry.at() };
        Ok(Some(revision))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        Ok(self.map().remove(key).is_some())
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        let mut map = self.map();
        let (examined, next) = page(&map, cursor, limit);
        let before = map.len();
        for key in &examined {
            if map.get(key).is_some_and(|entry| entry.expires <= now) {
                map.remove(key);
            }
        }
        Ok(SweepReport::new(examined.len() as u64, (before - map.len()) as u64, next))
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        let map = self.map();
        let (keys, next) = page(&map, cursor, limit);
        let stored = |key| {
            let entry: &Entry = map.get(&key)?;
            Some((key, Stored::new(entry.value.clone(), entry.revision.clone())))
        };
        Ok(ScanPage::new(keys.into_iter().filter_map(stored).collect(), next))
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("my store").with_listing(true)
    }
}

/// Returns the next keys in order, and the cursor of the next page.
fn page(
    map: &BTreeMap<StorageKey, Entry>,
    cursor: Option<ScanCursor>,
    limit: usize,
) -> (Vec<StorageKey>, Option<ScanCursor>) {
    let after = cursor.and_then(|cursor| StorageKey::parse(cursor.as_str()));
    let rest = map.range((after.map_or(Unbounded, Excluded), Unbounded));
    let keys: Vec<_> = rest.map(|(key, _)| *key).take(limit.max(1)).collect();
    let full = keys.len() == limit.max(1);
    let next = keys.last().filter(|_| full).map(|last| ScanCursor::new(last.to_string()));
    (keys, next)
}

/// Opens the store for URLs like `mine:`. The closure reads the URL; the future connects.
pub const DRIVER: Driver = Driver::new(&["mine"], |_url| {
    Ok(Box::pin(async {
        // The type is needed: inside the `Ok`, `Arc<MyStore>` is not coerced.
        let store: Arc<dyn SessionStore> = Arc::new(MyStore::default());
        Ok(store)
    }))
});
