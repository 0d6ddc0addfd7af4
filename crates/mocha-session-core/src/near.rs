//! Reads without a call: a store that caches, in this process's memory and for a short time, the
//! entries that it read from another store.
//!
//! Every write goes to the engine, with the revision that was read. So an old read may be returned,
//! but it cannot undo a change or restore an ended session.

mod cache;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use self::cache::{Cache, Write};
use crate::error::Result;
use crate::mutant;
use crate::open::NearPolicy;
use crate::record::{Header, Kind};
use crate::store::{
    Bytes, Capabilities, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored,
    SweepReport, Watcher,
};

/// A store whose reads may come from this process's memory.
///
/// Only live sessions are cached. Tombstones and owner indexes are read from the engine each time,
/// because decisions depend on them.
#[derive(Debug)]
pub(crate) struct Near {
    store: Arc<dyn SessionStore>,
    cache: Arc<Cache>,
}

impl Near {
    pub(crate) fn new(store: Arc<dyn SessionStore>, policy: NearPolicy) -> Self {
        let cache = Arc::new(Cache::new(policy));
        if let Some(changes) = store.capabilities().changes() {
            let watcher: Arc<dyn Watcher> = Arc::<Cache>::clone(&cache);
            changes.watch(Arc::downgrade(&watcher));
        }
        Self { store, cache }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SessionStore for Near {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let read = match self.cache.read(key) {
            Ok(stored) => return Ok(Some(stored)),
            Err(read) => read,
        };
        let found = self.store.load(key).await?;
        if let Some(stored) = &found
            && is_live(stored.value())
        {
            self.cache.keep(key, stored, read);
        }
        Ok(found)
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        let mut write = self.cache.write(key);
        let answer = self.store.create(key, value, expiry).await?;
        note(&mut write, value, answer.as_ref());
        Ok(answer)
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let mut write = self.cache.write(key);
        let mut answer = self.store.update(key, value, expiry, expected).await?;
        if answer.is_none()
            && mutant("a write over an old read overwrites")
            && let Some(newer) = self.store.load(key).await?
        {
            answer = self.store.update(key, value, expiry, newer.revision()).await?;
        }
        note(&mut write, value, answer.as_ref());
        Ok(answer)
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let _write = self.cache.write(key);
        self.store.delete(key).await
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        self.store.sweep(now, cursor, limit).await
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        self.store.scan(cursor, limit).await
    }

    async fn ping(&self) -> Result<()> {
        self.store.ping().await
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
}

/// Caches a live session that was written.
fn note(write: &mut Write<'_>, value: &[u8], revision: Option<&Revision>) {
    if let Some(revision) = revision.filter(|_| is_live(value)) {
        write.done(Stored::new(Bytes::copy_from_slice(value), revision.clone()));
    }
}

fn is_live(value: &[u8]) -> bool {
    Header::read(value).is_ok_and(|(header, ..)| header.kind == Kind::Live)
}
