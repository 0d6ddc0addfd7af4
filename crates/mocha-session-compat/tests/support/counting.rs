//! A store that counts its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use mocha_session_core::store::{
    Capabilities, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored,
    SweepReport, async_trait,
};
use mocha_session_core::{Result, Storage};

/// Counts the calls of a store. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Counting {
    inner: Arc<dyn SessionStore>,
    calls: Arc<AtomicUsize>,
}

impl Counting {
    pub(crate) fn new(storage: &Storage) -> Self {
        Self { inner: Arc::clone(storage.store().unwrap()), calls: Arc::default() }
    }

    /// The calls since the last question.
    pub(crate) fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::SeqCst)
    }

    fn counted(&self) -> &dyn SessionStore {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &*self.inner
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SessionStore for Counting {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        self.counted().load(key).await
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        self.counted().create(key, value, expiry).await
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        self.counted().update(key, value, expiry, expected).await
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        self.counted().delete(key).await
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        self.counted().sweep(now, cursor, limit).await
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        self.counted().scan(cursor, limit).await
    }

    async fn ping(&self) -> Result<()> {
        self.counted().ping().await
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}
