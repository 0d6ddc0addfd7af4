//! How many requests each operation takes, and what a sweep asks for, removes and spares.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mocha_session_conformance::engine_url;
use mocha_session_core::store::{KeySpace, SessionStore};
use mocha_session_s3::S3Store;
use support::{Double, Reply, client, fresh_key, port, some_prefix, through, within};
use tokio::sync::Notify;

/// One store that relies on conditional deletes and one that doesn't, each with the double before
/// it.
async fn both(url: &str) -> [(S3Store, Double, &'static [&'static str]); 2] {
    support::open(url).await.unwrap();
    let mut both = Vec::new();
    for conditional in [true, false] {
        let double = Double::start(port(url), |_| Reply::Pass).await;
        let (client, bucket) = client(url, Some(&format!("http://127.0.0.1:{}", double.port)));
        let store = S3Store::new(client, bucket, KeySpace::new(&some_prefix()).unwrap());
        let removal: &[&str] = if conditional {
            &["HEAD", "DELETE If-Match"]
        } else {
            &["HEAD", "PUT If-Match", "DELETE"]
        };
        both.push((if conditional { store.on_aws() } else { store }, double, removal));
    }
    both.try_into().unwrap_or_else(|_| unreachable!())
}

#[tokio::test]
async fn one_request_for_each_but_delete() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    for (store, double, _) in both(&url).await {
        let key = fresh_key();
        assert!(store.load(&key).await.unwrap().is_none());
        assert_eq!(double.take(), ["GET"], "load of nothing");
        let first = store.create(&key, b"one", within(3600)).await.unwrap().unwrap();
        assert_eq!(double.take(), ["PUT If-None-Match"], "create");
        let second = store.update(&key, b"two", within(3600), &first).await.unwrap().unwrap();
        assert_eq!(double.take(), ["PUT If-Match"], "update");
        assert!(store.update(&key, b"three", within(3600), &first).await.unwrap().is_none());
        assert_eq!(double.take(), ["PUT If-Match"], "update that is refused");
        assert_eq!(store.load(&key).await.unwrap().unwrap().revision(), &second);
        assert_eq!(double.take(), ["GET"], "load");
        store.ping().await.unwrap();
        assert_eq!(double.take(), ["GET"], "ping");
        assert_eq!(store.scan(None, 10).await.unwrap().entries().len(), 1);
        assert_eq!(double.take(), ["LIST", "GET"], "scan of one entry");
        assert!(store.delete(&key).await.unwrap());
        assert_eq!(double.take(), ["HEAD", "DELETE"], "delete");
    }
}

#[tokio::test]
async fn opening_takes_one_request_on_aws_and_ten_elsewhere() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    support::open(&url).await.unwrap();
    let double = Double::start(port(&url), |_| Reply::Pass).await;
    let elsewhere = support::open(&through(&url, double.port, None)).await.unwrap();
    let seen = "GET, PUT If-Match, PUT If-None-Match, PUT If-None-Match, PUT If-Match, \
                PUT If-Match, PUT If-Match, DELETE If-Match, HEAD, DELETE";
    assert_eq!(double.take().join(", "), seen);
    assert!(elsewhere.scan(None, 10).await.unwrap().entries().is_empty());
    let (client, bucket) = client(&url, Some(&format!("http://127.0.0.1:{}", double.port)));
    double.take();
    S3Store::new(client, bucket, KeySpace::new("s/").unwrap())
        .on_aws()
        .prepare(true)
        .await
        .unwrap();
    assert_eq!(double.take(), ["GET"]);
}

#[tokio::test]
async fn a_sweep_asks_for_nothing_that_cannot_have_expired() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    for (store, double, removal) in both(&url).await {
        for number in 0..12 {
            store.create(&fresh_key(), &vec![7; number * 30], within(3600)).await.unwrap().unwrap();
        }
        let expired = fresh_key();
        store.create(&expired, b"expired", within(0)).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        double.take();
        let report = store.sweep(SystemTime::now(), None, 1000).await.unwrap();
        assert_eq!((report.examined(), report.removed(), report.next()), (13, 1, None));
        assert_eq!(double.take(), [&["LIST"], removal].concat());
        // An hour later all are asked for, and removed.
        let report =
            store.sweep(SystemTime::now() + Duration::from_secs(3601), None, 1000).await.unwrap();
        assert_eq!((report.examined(), report.removed()), (12, 12));
        assert_eq!(double.take().len(), 1 + 12 * removal.len());
        assert!(store.scan(None, 10).await.unwrap().entries().is_empty());
    }
}

#[tokio::test]
async fn what_is_refreshed_between_the_look_and_the_removal_survives() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    support::open(&url).await.unwrap();
    for (conditional, held) in [(true, "DELETE If-Match"), (false, "PUT If-Match")] {
        let go = Arc::new(Notify::new());
        let waits = Arc::clone(&go);
        let double = Double::start(port(&url), move |request| {
            if request.kind() == held { Reply::PassAfter(Arc::clone(&waits)) } else { Reply::Pass }
        })
        .await;
        let space = KeySpace::new(&some_prefix()).unwrap();
        let (held_back, bucket) = client(&url, Some(&format!("http://127.0.0.1:{}", double.port)));
        let sweeper = S3Store::new(held_back, bucket.clone(), space.clone());
        let sweeper = if conditional { sweeper.on_aws() } else { sweeper };
        let store = S3Store::new(client(&url, None).0, bucket, space);

        let key = fresh_key();
        let old = store.create(&key, b"old", within(0)).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let sweep = tokio::spawn(async move { sweeper.sweep(SystemTime::now(), None, 100).await });
        double.until(held).await;
        let new = store.update(&key, b"new", within(3600), &old).await.unwrap().unwrap();
        go.notify_one();
        let report = sweep.await.unwrap().unwrap();
        assert_eq!((report.examined(), report.removed()), (1, 0));
        assert_eq!(store.load(&key).await.unwrap().unwrap().revision(), &new);
    }
}

#[tokio::test]
async fn two_prefixes_are_two_stores() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    support::open(&url).await.unwrap();
    let (client, bucket) = client(&url, None);
    let outer = some_prefix();
    let space = |prefix: &str| KeySpace::new(prefix).unwrap();
    let one = S3Store::new(client.clone(), bucket.clone(), space(&outer));
    let other = S3Store::new(client, bucket, space(&format!("{outer}inner/")));
    let key = fresh_key();
    one.create(&key, b"one", within(60)).await.unwrap().unwrap();
    other.create(&key, b"other", within(60)).await.unwrap().unwrap();
    let all = SystemTime::now() + Duration::from_hours(2);
    assert_eq!(one.sweep(all, None, 100).await.unwrap().removed(), 1);
    assert!(one.load(&key).await.unwrap().is_none());
    assert_eq!(other.load(&key).await.unwrap().unwrap().value(), &b"other"[..]);
}
