//! The store that the core gets: each of its calls waits at the gates.

use std::time::SystemTime;

use bytes::Bytes;
use mocha_session_core::store::{
    Capabilities, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored,
    SweepReport, async_trait,
};
use mocha_session_core::{Durability, Error, ErrorKind, Result};

use super::{Answer, Call, Shared, Waiting};

/// The store of one process, and which engine it leads to.
#[derive(Clone, Debug)]
pub struct GatedStore {
    gates: Shared,
    process: Option<u8>,
    engine: u8,
}

impl GatedStore {
    /// A store of a process; one of nobody's does not wait.
    pub fn new(gates: &Shared, process: Option<u8>, engine: u8) -> Self {
        Self { gates: gates.clone(), process, engine }
    }

    fn call(&self, call: Call) -> Waiting {
        self.gates.call(self.process, self.engine, call)
    }
}

fn wrong() -> Error {
    Error::new(ErrorKind::Internal, "the simulation answered another question")
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SessionStore for GatedStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        match self.call(Call::Load(*key)).await? {
            Answer::Loaded(found) => Ok(found),
            _ => Err(wrong()),
        }
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        match self.call(Call::Create(*key, Bytes::copy_from_slice(value), expiry)).await? {
            Answer::Written(revision) => Ok(revision),
            _ => Err(wrong()),
        }
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let value = Bytes::copy_from_slice(value);
        match self.call(Call::Update(*key, value, expiry, expected.clone())).await? {
            Answer::Written(revision) => Ok(revision),
            _ => Err(wrong()),
        }
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        match self.call(Call::Delete(*key)).await? {
            Answer::Deleted(was) => Ok(was),
            _ => Err(wrong()),
        }
    }

    async fn sweep(&self, now: SystemTime, _: Option<ScanCursor>, _: usize) -> Result<SweepReport> {
        match self.call(Call::Sweep(now)).await? {
            Answer::Swept(report) => Ok(report),
            _ => Err(wrong()),
        }
    }

    async fn scan(&self, _: Option<ScanCursor>, _: usize) -> Result<ScanPage> {
        match self.call(Call::Scan).await? {
            Answer::Scanned(page) => Ok(page),
            _ => Err(wrong()),
        }
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("simulated")
            .with_listing(true)
            .with_repeated_writes(self.gates.lock().repeats)
            .with_durability(Durability::Replicated)
    }
}
