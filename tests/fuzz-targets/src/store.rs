//! A store that counts its calls, and that has the fuzzer's bytes wherever nothing was written yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use mocha_session_core::Result;
use mocha_session_core::store::{
    Bytes, Capabilities, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored,
    SweepReport, async_trait,
};

/// Clones are the same store.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestStore(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// `None` for what was deleted.
    entries: HashMap<StorageKey, Option<(Bytes, Revision)>>,
    everywhere: Option<Bytes>,
    reads: usize,
    writes: usize,
}

impl TestStore {
    /// A store that has this value under every key.
    pub(crate) fn with_everywhere(value: Vec<u8>) -> Self {
        let store = Self::default();
        store.lock().everywhere = Some(value.into());
        store
    }

    /// How often it was read and written since this was asked last.
    pub(crate) fn take_calls(&self) -> (usize, usize) {
        let mut inner = self.lock();
        (std::mem::take(&mut inner.reads), std::mem::take(&mut inner.writes))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn entry(&mut self, key: &StorageKey) -> &mut Option<(Bytes, Revision)> {
        let everywhere = &self.everywhere;
        self.entries
            .entry(*key)
            .or_insert_with(|| everywhere.clone().map(|value| (value, Revision::random())))
    }

    fn write(&mut self, key: &StorageKey, value: &[u8], goes: bool) -> Option<Revision> {
        self.writes += 1;
        let revision = Revision::random();
        goes.then(|| {
            *self.entry(key) = Some((Bytes::copy_from_slice(value), revision.clone()));
            revision
        })
    }
}

#[async_trait]
impl SessionStore for TestStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let mut inner = self.lock();
        inner.reads += 1;
        Ok(inner.entry(key).clone().map(|(value, revision)| Stored::new(value, revision)))
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        _expiry: Expiry,
    ) -> Result<Option<Revision>> {
        let mut inner = self.lock();
        // New ids hold nothing, whatever the fuzzer says.
        let free = !matches!(inner.entries.get(key), Some(Some(_)));
        Ok(inner.write(key, value, free))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        _expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let mut inner = self.lock();
        let matches = inner.entry(key).as_ref().is_some_and(|(_, revision)| revision == expected);
        Ok(inner.write(key, value, matches))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let mut inner = self.lock();
        inner.writes += 1;
        Ok(inner.entry(key).take().is_some())
    }

    async fn sweep(&self, _: SystemTime, _: Option<ScanCursor>, _: usize) -> Result<SweepReport> {
        Ok(SweepReport::native())
    }

    async fn scan(&self, _: Option<ScanCursor>, _: usize) -> Result<ScanPage> {
        Ok(ScanPage::new(Vec::new(), None))
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("fuzz")
    }
}
