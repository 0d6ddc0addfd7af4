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

use common::open;
use mocha_session_conformance::tools::{fresh_key, hour, scan_all, sweep_all};
use mocha_session_core::store::{Expiry, Revision, SessionStore};

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
    let key = fresh_key();
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

    let (short, soon) = (fresh_key(), Expiry::after(Duration::from_millis(1), SystemTime::now()));
    store.create(&short, b"short", soon).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let seen = scan_all(&store, 100).await.unwrap();
    assert!(seen.contains(&key) && seen.contains(&short), "listings see every write");
    sweep_all(&store, SystemTime::now(), 100).await.unwrap();
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
