//! The example of a store of one's own keeps the contract.

#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test, and an example within it"
)]

#[path = "../examples/custom_store.rs"]
mod custom_store;

use std::sync::OnceLock;

use custom_store::RedbStore;

/// The same database every time, as a second handle in this process would have it.
async fn open() -> Option<RedbStore> {
    static STORE: OnceLock<RedbStore> = OnceLock::new();
    let store = STORE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        RedbStore::new(redb::Database::create(folder.join("sessions.redb")).unwrap())
    });
    Some(store.clone())
}

mocha_session_conformance::suite!(own_store, open);
