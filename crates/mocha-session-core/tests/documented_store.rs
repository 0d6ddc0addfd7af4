//! The store in the documentation of `SessionStore` keeps the contract, and opens by URL.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "a test, and an example within it that stands in the documentation"
)]

// The example uses the name of the facade, which its readers depend on.
extern crate mocha_session_core as mocha_session;

#[allow(clippy::wildcard_imports, reason = "it is short, for its reader")]
#[path = "../src/store/example.rs"]
mod example;

use std::sync::OnceLock;

use example::MyStore;
use mocha_session_core::{Registry, Storage, store::SessionStore};

/// The same map every time, as a second connection to an engine would see it.
async fn open() -> Option<MyStore> {
    static STORE: OnceLock<MyStore> = OnceLock::new();
    Some(STORE.get_or_init(MyStore::default).clone())
}

mocha_session_conformance::suite!(documented_store, open);

#[tokio::test]
async fn the_documented_driver_opens_the_documented_store() {
    let storage: Storage = Registry::new().register(example::DRIVER).open("mine:").await.unwrap();
    assert_eq!(storage.capabilities(), MyStore::default().capabilities());
    assert_eq!(format!("{:?}", MyStore::default()), "MyStore { entries: 0 }");
}
