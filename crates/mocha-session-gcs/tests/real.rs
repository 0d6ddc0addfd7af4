//! Against a bucket of Google's own, when `MOCHA_TEST_GCS_REAL_URL` names one: what only Google can
//! prove.
//!
//! It needs an account, so it is the one test that may not run in CI. Writes to one object are a
//! second apart, for Google allows no more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

mod common;

use std::time::{Duration, SystemTime};

use common::{hour, open};
use mocha_session_core::store::{Expiry, Revision, ScanCursor, SessionStore, StorageKey};

async fn pause() {
    tokio::time::sleep(Duration::from_millis(1_200)).await;
}

#[tokio::test]
async fn a_real_bucket_keeps_the_contract() {
    let Ok(url) = std::env::var("MOCHA_TEST_GCS_REAL_URL") else {
        eprintln!("NOT RUN: MOCHA_TEST_GCS_REAL_URL is not set; it needs a bucket and an account");
        return;
    };
    let store = open(&url).await.unwrap();
    let key = fresh();
    assert!(
        store.load(&key).await.unwrap().is_none(),
        "an absent object is told from an absent bucket"
    );
    assert!(!store.delete(&key).await.unwrap());
    assert!(store.update(&key, b"x", hour(), &Revision::from(1)).await.unwrap().is_none());

    let first = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    pause().await;
    assert!(
        store.create(&key, b"other", hour()).await.unwrap().is_none(),
        "create never overwrites"
    );
    let stored = store.load(&key).await.unwrap().unwrap();
    assert_eq!((&stored.value()[..], stored.revision()), (&b"one"[..], &first));
    pause().await;
    let second = store.update(&key, b"two", hour(), &first).await.unwrap().unwrap();
    pause().await;
    assert!(
        store.update(&key, b"late", hour(), &first).await.unwrap().is_none(),
        "a stale update is refused"
    );

    pause().await;
    assert!(store.delete(&key).await.unwrap());
    assert!(store.load(&key).await.unwrap().is_none());
    pause().await;
    let third = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    assert!(third != first && third != second, "a generation never comes back");
    pause().await;
    assert!(store.update(&key, b"late", hour(), &first).await.unwrap().is_none());

    let (short, soon) = (fresh(), Expiry::after(Duration::from_millis(1), SystemTime::now()));
    store.create(&short, b"short", soon).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut cursor: Option<ScanCursor> = None;
    let mut seen = Vec::new();
    loop {
        let page = store.scan(cursor, 100).await.unwrap();
        cursor = page.next().cloned();
        seen.extend(page.into_entries().into_iter().map(|(key, _)| key));
        if cursor.is_none() {
            break;
        }
    }
    assert!(seen.contains(&key) && seen.contains(&short), "listings see every write");
    let mut cursor = None;
    loop {
        let report = store.sweep(SystemTime::now(), cursor, 100).await.unwrap();
        cursor = report.next().cloned();
        if cursor.is_none() {
            break;
        }
    }
    assert!(
        store.load(&short).await.unwrap().is_none(),
        "the sweep reads the expiry from the metadata"
    );
    assert!(store.load(&key).await.unwrap().is_some());
    assert!(store.delete(&key).await.unwrap());

    let nowhere = url.replacen("://", "://no-such-bucket-", 1);
    if nowhere.starts_with("gs:") {
        let error = open(&nowhere).await.unwrap_err();
        assert!(error.to_string().contains("bucket"), "{error}");
    }
}

fn fresh() -> StorageKey {
    let mut bytes = [0; StorageKey::BYTES];
    for half in bytes.chunks_mut(8) {
        let random = Revision::random().as_u64().unwrap().to_be_bytes();
        half.copy_from_slice(&random[..half.len()]);
    }
    StorageKey::from_bytes(bytes)
}
