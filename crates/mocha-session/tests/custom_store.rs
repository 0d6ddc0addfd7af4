//! The example of a store of one's own keeps the contract.

#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub, reason = "a test, and an example within it")]

#[path = "../examples/custom_store.rs"]
mod custom_store;

use custom_store::RedbStore;

/// The store, and the folder that must live as long.
async fn open() -> Option<RedbStore> {
    let folder = tempfile::tempdir().unwrap().keep();
    Some(RedbStore::new(redb::Database::create(folder.join("sessions.redb")).unwrap()))
}

mocha_session_conformance::suite!(redb, open);
