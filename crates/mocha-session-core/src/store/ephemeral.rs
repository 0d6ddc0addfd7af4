//! An in-process store for applications' tests: a map under a lock.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::store::{
    Capabilities, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored,
    SweepReport,
};

/// The store behind [`SessionManager::in_memory`](crate::SessionManager::in_memory).
///
/// It has no size limit and does not sweep itself. The crate `mocha-session-memory` has the
/// in-memory store for production.
#[derive(Default)]
pub(crate) struct Ephemeral(Mutex<HashMap<StorageKey, Entry>>);

#[derive(Clone)]
struct Entry {
    value: Bytes,
    revision: Revision,
    until: SystemTime,
}

impl Ephemeral {
    fn entries(&self) -> MutexGuard<'_, HashMap<StorageKey, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(value: &[u8], expiry: Expiry) -> Self {
        Self {
            value: Bytes::copy_from_slice(value),
            revision: Revision::random(),
            until: expiry.at(),
        }
    }
}

#[async_trait]
impl SessionStore for Ephemeral {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let found = self.entries().get(key).cloned();
        Ok(found.map(|entry| Stored::new(entry.value, entry.revision)))
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        let mut entries = self.entries();
        if entries.contains_key(key) {
            return Ok(None);
        }
        let entry = Entry::new(value, expiry);
        let revision = entry.revision.clone();
        entries.insert(*key, entry);
        Ok(Some(revision))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key).filter(|entry| entry.revision == *expected) else {
            return Ok(None);
        };
        *entry = Entry::new(value, expiry);
        Ok(Some(entry.revision.clone()))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        Ok(self.entries().remove(key).is_some())
    }

    async fn sweep(
        &self,
        now: SystemTime,
        _cursor: Option<ScanCursor>,
        _limit: usize,
    ) -> Result<SweepReport> {
        let mut entries = self.entries();
        let before = entries.len();
        entries.retain(|_, entry| entry.until > now);
        Ok(SweepReport::new(before as u64, (before - entries.len()) as u64, None))
    }

    async fn scan(&self, _cursor: Option<ScanCursor>, _limit: usize) -> Result<ScanPage> {
        let entries = self.entries();
        let all = entries
            .iter()
            .map(|(key, entry)| (*key, Stored::new(entry.value.clone(), entry.revision.clone())));
        Ok(ScanPage::new(all.collect(), None))
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("in-memory").with_listing(true)
    }
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ephemeral").field("entries", &self.entries().len()).finish()
    }
}
