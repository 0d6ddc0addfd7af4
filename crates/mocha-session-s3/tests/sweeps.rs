//! Sweeps where deletes have no conditions, and where a delete fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use mocha_session_conformance::engine_url;
use mocha_session_conformance::tools::sweep_all;
use mocha_session_core::store::{Expiry, KeySpace, SessionStore, StorageKey, SweepReport};
use mocha_session_core::{SessionManager, Storage};
use mocha_session_s3::S3Store;
use support::{Double, Reply, Request, client, fresh_key, open, port, some_prefix, within};

/// A store whose requests pass through a double, and one beside it that reaches the server
/// directly.
async fn pair(
    url: &str,
    act: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (S3Store, S3Store, Double) {
    open(url).await.unwrap();
    let double = Double::start(port(url), act).await;
    let space = KeySpace::new(&some_prefix()).unwrap();
    let (through, bucket) = client(url, Some(&format!("http://127.0.0.1:{}", double.port)));
    let sweeper = S3Store::new(through, bucket.clone(), space.clone());
    (sweeper, S3Store::new(client(url, None).0, bucket, space), double)
}

fn deletes(request: &Request) -> bool {
    request.kind().starts_with("DELETE")
}

/// An entry that expired two minutes ago.
async fn expired(store: &S3Store, key: &StorageKey) {
    let past = SystemTime::now() - Duration::from_secs(120);
    store.create(key, b"old", Expiry::after(Duration::from_secs(1), past)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_grave_whose_delete_is_refused_gives_way_at_once() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let refuse =
        |it: &Request| if deletes(it) { Reply::error(403, "AccessDenied") } else { Reply::Pass };
    let (sweeper, store, double) = pair(&url, refuse).await;
    let key = fresh_key();
    expired(&store, &key).await;
    let report = sweeper.sweep(SystemTime::now(), None, 100).await.unwrap();
    assert_eq!((report.examined(), report.removed(), report.failed()), (1, 0, 1));
    assert!(report.failure().unwrap().contains("s3:DeleteObject"), "{report:?}");
    assert_eq!(double.take(), ["LIST", "HEAD", "PUT If-Match", "DELETE", "PUT If-Match"]);
    assert!(store.load(&key).await.unwrap().is_none());
    store.create(&key, b"new", within(60)).await.unwrap().expect("the owner can log in");
    assert_eq!(store.load(&key).await.unwrap().unwrap().value(), &b"new"[..]);
    assert!(
        store.create(&key, b"other", within(60)).await.unwrap().is_none(),
        "it is no grave now"
    );
}

#[tokio::test]
async fn a_grave_whose_delete_is_unknown_is_nothing_and_gives_way_after_a_rest() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let cut = AtomicBool::new(false);
    let first = move |it: &Request| {
        if deletes(it) && !cut.swap(true, Ordering::SeqCst) { Reply::Cut } else { Reply::Pass }
    };
    let (sweeper, store, double) = pair(&url, first).await;
    let (taken, swept) = (fresh_key(), fresh_key());
    expired(&store, &taken).await;
    let report = sweeper.sweep(SystemTime::now(), None, 100).await.unwrap();
    assert_eq!((report.removed(), report.failed()), (0, 1));
    // The delete may still be carried out: a grave rests for longer than a kernel keeps a request,
    // and than clocks differ, whatever the deadline of a call is.
    let (raw, bucket) = client(&url, None);
    let grave = double.take_requests().into_iter().find(|it| it.kind() == "PUT If-Match").unwrap();
    let rests = grave.header("x-amz-meta-session-deadline").unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let rests = Duration::from_millis(rests).checked_sub(now).unwrap();
    assert!((170..=186).contains(&rests.as_secs()), "{rests:?}");

    assert!(store.load(&taken).await.unwrap().is_none());
    assert!(store.create(&taken, b"early", within(60)).await.unwrap().is_none());
    assert!(!store.delete(&swept).await.unwrap());
    assert!(store.scan(None, 10).await.unwrap().entries().is_empty());
    let report = sweeper.sweep(SystemTime::now(), None, 100).await.unwrap();
    assert_eq!((report.examined(), report.removed(), report.failed()), (1, 0, 0));

    // The same grave, once its rest is over.
    let target = grave.target();
    let name = target.split('?').next().unwrap().strip_prefix(&format!("/{bucket}/")).unwrap();
    let over = raw.put_object().bucket(&bucket).key(name).metadata("session-deadline", "1");
    over.body(grave.body.to_vec().into()).send().await.unwrap();
    store.create(&taken, b"new", within(60)).await.unwrap().expect("the owner can log in");
    let report = sweeper.sweep(SystemTime::now(), None, 100).await.unwrap();
    assert_eq!((report.examined(), report.removed()), (1, 0));
    assert_eq!(store.load(&taken).await.unwrap().unwrap().value(), &b"new"[..]);
}

#[tokio::test]
async fn a_grave_that_a_sweep_left_is_removed_by_a_later_one() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let cut = AtomicBool::new(false);
    let first = move |it: &Request| {
        if deletes(it) && !cut.swap(true, Ordering::SeqCst) { Reply::Cut } else { Reply::Pass }
    };
    let (sweeper, store, double) = pair(&url, first).await;
    let key = fresh_key();
    expired(&store, &key).await;
    assert_eq!(sweeper.sweep(SystemTime::now(), None, 100).await.unwrap().failed(), 1);
    double.take();
    let later = SystemTime::now() + Duration::from_secs(240);
    assert_eq!(sweeper.sweep(later, None, 100).await.unwrap().removed(), 1);
    assert_eq!(double.take(), ["LIST", "HEAD", "PUT If-Match", "DELETE"]);
    assert!(store.create(&key, b"new", within(60)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_delete_that_is_refused_for_now_is_repeated() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let refused = AtomicBool::new(false);
    let first = move |it: &Request| {
        let busy = deletes(it) && !refused.swap(true, Ordering::SeqCst);
        if busy { Reply::error(503, "SlowDown") } else { Reply::Pass }
    };
    let (sweeper, store, double) = pair(&url, first).await;
    let key = fresh_key();
    expired(&store, &key).await;
    let report = sweeper.sweep(SystemTime::now(), None, 100).await.unwrap();
    assert_eq!((report.removed(), report.failed()), (1, 0));
    assert_eq!(double.take(), ["LIST", "HEAD", "PUT If-Match", "DELETE", "DELETE"]);
    assert!(store.create(&key, b"new", within(60)).await.unwrap().is_some());
}

#[tokio::test]
async fn one_object_that_cannot_be_deleted_does_not_end_the_sweep() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    for conditional in [true, false] {
        // The first in the order of the listing.
        let (held, mut others) = (StorageKey::from_bytes([0; 20]), Vec::new());
        let refuse = move |it: &Request| {
            let refused = deletes(it) && it.target().contains(&held.to_string());
            if refused { Reply::error(403, "AccessDenied") } else { Reply::Pass }
        };
        let (sweeper, store, _double) = pair(&url, refuse).await;
        let sweeper = if conditional { sweeper.on_aws() } else { sweeper };
        expired(&store, &held).await;
        for _ in 0..6 {
            let key = fresh_key();
            expired(&store, &key).await;
            others.push(key);
        }
        let reports = sweep_all(&sweeper, SystemTime::now(), 2).await.unwrap();
        assert!(!format!("{reports:?}").contains(&held.to_string()), "{reports:?}");
        let sum = |count: fn(&SweepReport) -> u64| reports.iter().map(count).sum::<u64>();
        let sums = (sum(SweepReport::removed), sum(SweepReport::failed));
        assert_eq!(sums, (6, 1), "conditional: {conditional}");

        // And so the manager, which sweeps what expired more than a minute ago.
        expired(&store, &others[0]).await;
        let manager = SessionManager::builder(Storage::from(sweeper));
        let total = manager.build().unwrap().sweep().await.unwrap();
        // Its grave is too young for that.
        assert_eq!((total.removed(), total.failed()), (1, u64::from(conditional)));
    }
}
