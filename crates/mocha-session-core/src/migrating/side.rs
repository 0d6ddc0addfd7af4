//! One of the two stores that sessions move between. Its errors name its engine.

use std::time::SystemTime;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::store::{
    Capabilities, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored,
    SweepReport,
};

/// Names the engine in errors, because the caller cannot know which of the two stores has failed.
#[derive(Debug)]
pub(super) struct Side<S>(pub(super) S);

impl<S: SessionStore> Side<S> {
    fn named(&self, operation: &'static str) -> impl FnOnce(Error) -> Error + '_ {
        move |error| error.on(self.0.capabilities().engine()).during(operation)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: SessionStore> SessionStore for Side<S> {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        self.0.load(key).await.map_err(self.named("load"))
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        self.0.create(key, value, expiry).await.map_err(self.named("create"))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        self.0.update(key, value, expiry, expected).await.map_err(self.named("update"))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        self.0.delete(key).await.map_err(self.named("delete"))
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        self.0.sweep(now, cursor, limit).await.map_err(self.named("sweep"))
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        self.0.scan(cursor, limit).await.map_err(self.named("scan"))
    }

    async fn ping(&self) -> Result<()> {
        self.0.ping().await.map_err(self.named("ping"))
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
}
