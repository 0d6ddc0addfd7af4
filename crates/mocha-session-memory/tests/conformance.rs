//! The contract, on a store of each kind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use mocha_session_core::Registry;
use mocha_session_memory::{DRIVER, MemoryStore, WhenFull};

mocha_session_conformance::suite!(memory, || async { Some(MemoryStore::new()) });

// Small enough that the largest value fills it.
mocha_session_conformance::suite!(bounded, || async {
    Some(MemoryStore::builder().max_entries(5_000).max_bytes(8 * 1024 * 1024).build())
});

mocha_session_conformance::suite!(evicting, || async {
    let store = MemoryStore::builder()
        .max_entries(5_000)
        .max_bytes(8 * 1024 * 1024)
        .when_full(WhenFull::Evict);
    Some(store.build())
});

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opened_by_url_keeps_the_contract() {
    let url = "memory:?max_entries=5000&max_bytes=8388608&when_full=evict&prefix=ignored:";
    let storage = Registry::new().register(DRIVER).open(url).await.unwrap();
    let report = mocha_session_conformance::run(storage.store().unwrap()).await;
    assert!(report.is_ok(), "{report}");
    assert!(storage.capabilities().evicts());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_behind() {
    let store = Arc::new(MemoryStore::new());
    let report = mocha_session_conformance::run(&store).await;
    assert!(report.is_ok(), "{report}");
    assert_eq!((store.len(), store.bytes(), store.evicted()), (0, 0, 0));
}
