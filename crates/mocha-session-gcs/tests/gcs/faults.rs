//! Google Cloud Storage under faults: lost answers, refusals, a silent server, an endpoint that goes
//! away.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mocha_session_conformance::tools::{NO_SUCH_HOST, sweep_all};
use mocha_session_core::ErrorKind;
use mocha_session_core::store::{Expiry, KeySpace, SessionStore, Stored, SweepReport};
use mocha_session_gcs::GcsStore;
use mocha_session_gcs::google_cloud_storage::client::{Storage, StorageControl};
use mocha_session_gcs_double::{BUCKET, Double, Fault, Operation};

use crate::common::{apis, hour, key, open, shown};
use crate::{every_call, value};

#[tokio::test]
async fn acknowledgement_lost_after_the_write_is_ambiguous_and_not_repeated() {
    let double = Double::start().await;
    for (number, (api, url)) in (1..).zip(apis(&double)) {
        let (store, key) = (open(&url).await.unwrap(), key(number));
        for fault in [Fault::LostAnswer, Fault::Cut, Fault::Status(500), Fault::Status(503)] {
            let before = double.calls(Operation::Write);
            double.inject(Operation::Write, fault);
            let error = store.create(&key, b"one", hour()).await.unwrap_err();
            assert!(error.is_ambiguous() && error.is_unavailable(), "{api}: {fault:?}: {error}");
            shown(&error);
            assert_eq!(double.calls(Operation::Write), before + 1, "{api}: {fault:?} was repeated");
            let done = store.load(&key).await.unwrap().is_some();
            assert_eq!(done, fault == Fault::LostAnswer, "{api}: {fault:?}");
            assert_eq!(store.delete(&key).await.unwrap(), done);
        }
        let first = store.create(&key, b"one", hour()).await.unwrap().unwrap();
        double.inject(Operation::Write, Fault::LostAnswer);
        assert!(
            store.update(&key, b"two", hour(), &first).await.unwrap_err().is_ambiguous(),
            "{api}"
        );
        assert_eq!(value(store.load(&key).await.unwrap()), b"two", "{api}");
        // A repetition by something on the way: "does not match", and the value tells that it was
        // done.
        let second = store.load(&key).await.unwrap().unwrap().revision().clone();
        double.inject(Operation::Write, Fault::MismatchAfter);
        assert!(store.update(&key, b"three", hour(), &second).await.unwrap().is_none(), "{api}");
        assert_eq!(value(store.load(&key).await.unwrap()), b"three", "{api}");
    }
}

#[tokio::test]
async fn a_delete_whose_answer_is_lost_is_ambiguous_and_not_repeated() {
    let double = Double::start().await;
    for (number, (api, url)) in (1..).zip(apis(&double)) {
        let (store, key) = (open(&url).await.unwrap(), key(number));
        store.create(&key, b"one", hour()).await.unwrap();
        let before = double.calls(Operation::Delete);
        double.inject(Operation::Delete, Fault::LostAnswer);
        let error = store.delete(&key).await.unwrap_err();
        assert!(error.is_ambiguous(), "{api}: {error}");
        assert_eq!(double.calls(Operation::Delete), before + 1, "{api}");
        assert!(store.load(&key).await.unwrap().is_none(), "{api}");
        assert!(!store.delete(&key).await.unwrap(), "{api}");
    }
}

#[tokio::test]
async fn a_delete_refused_under_a_condition_is_an_error() {
    let double = Double::start().await;
    for (number, (api, url)) in (1..).zip(apis(&double)) {
        let (store, key) = (open(&url).await.unwrap(), key(number));
        store.create(&key, b"one", hour()).await.unwrap();
        double.inject(Operation::Delete, Fault::Status(412));
        let error = store.delete(&key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{api}: {error}");
        assert!(store.load(&key).await.unwrap().is_some(), "{api}");
    }
}

#[tokio::test]
async fn reads_are_tried_three_times_and_then_an_error() {
    let double = Double::start().await;
    for (number, (api, url)) in (1..).zip(apis(&double)) {
        let (store, key) = (open(&url).await.unwrap(), key(number));
        store.create(&key, b"one", hour()).await.unwrap();
        for faults in [[Fault::Status(503), Fault::Cut], [Fault::LostAnswer, Fault::Status(429)]] {
            let before = double.calls(Operation::Read);
            faults.into_iter().for_each(|fault| double.inject(Operation::Read, fault));
            assert_eq!(value(store.load(&key).await.unwrap()), b"one", "{api}");
            assert_eq!(double.calls(Operation::Read), before + 3, "{api}");
        }
        for _ in 0..3 {
            double.inject(Operation::Read, Fault::Status(503));
        }
        let error = store.load(&key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{api}: {error}");
        shown(&error);
    }
}

#[tokio::test]
async fn a_write_that_is_refused_for_now_is_repeated_within_the_deadline() {
    let double = Double::start().await;
    for (number, (api, url)) in (1..).zip(apis(&double)) {
        let (store, key) = (open(&url).await.unwrap(), key(number));
        let before = double.calls(Operation::Write);
        for _ in 0..2 {
            double.inject(Operation::Write, Fault::Status(429));
        }
        let first = store.create(&key, b"one", hour()).await.unwrap().unwrap();
        assert_eq!(double.calls(Operation::Write), before + 3, "{api}");
        double.inject(Operation::Write, Fault::Status(429));
        assert!(store.update(&key, b"two", hour(), &first).await.unwrap().is_some(), "{api}");
        double.inject(Operation::Delete, Fault::Status(429));
        assert!(store.delete(&key).await.unwrap(), "{api}");
    }
}

#[tokio::test]
async fn refused_for_longer_than_the_deadline_is_unavailable_and_nothing_was_done() {
    for number in [0, 1] {
        let double = Double::start().await;
        let (api, url) = apis(&double)[number].clone();
        let store = open(&url).await.unwrap().with_deadline(Duration::from_secs(1));
        for _ in 0..100 {
            double.inject(Operation::Write, Fault::Status(429));
        }
        let error = store.create(&key(1), b"one", hour()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{api}");
        assert!(!error.is_ambiguous() && error.to_string().contains("429"), "{api}: {error}");
        assert!(double.calls(Operation::Write) < 20, "{api}: with pauses between them");
        assert!(store.load(&key(1)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn hanging_is_bounded() {
    for number in [0, 1] {
        let double = Double::start().await;
        let (api, url) = apis(&double)[number].clone();
        let store = open(&url).await.unwrap().with_deadline(Duration::from_millis(500));
        for operation in [Operation::Read, Operation::Write, Operation::Delete, Operation::List] {
            for _ in 0..6 {
                double.inject(operation, Fault::Hang);
            }
        }
        let start = Instant::now();
        for (call, error) in every_call(&store, 1).await {
            let error = error.unwrap_or_else(|| panic!("{api}: {call} had an answer"));
            assert_eq!(error.kind(), ErrorKind::Timeout, "{api}: {call}: {error}");
            assert!(error.is_ambiguous(), "{api}: {call}");
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{api}: {:?}", start.elapsed());
        assert_eq!(double.calls(Operation::Write), 2, "{api}: no write is repeated");
    }
    let double = Double::start().await;
    for (number, (api, url)) in (1..).zip(apis(&double)) {
        let store = open(&url).await.unwrap().with_deadline(Duration::from_secs(1));
        // Done, though nobody said so.
        double.inject(Operation::Write, Fault::HangAfter);
        assert!(
            store.create(&key(number), b"late", hour()).await.unwrap_err().is_ambiguous(),
            "{api}"
        );
        assert_eq!(value(store.load(&key(number)).await.unwrap()), b"late", "{api}");
        // A read that hangs leaves time for another.
        double.inject(Operation::Read, Fault::Hang);
        assert_eq!(value(store.load(&key(number)).await.unwrap()), b"late", "{api}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unavailable_and_nothing_was_sent() {
    let nowhere = &format!("http://{NO_SUCH_HOST}:9000");
    for url in [
        format!("gs://bucket?endpoint={nowhere}&anonymous=true"),
        format!("google_storage://key:hunter2@cloud.google.com/bucket?endpoint={nowhere}"),
    ] {
        let error = open(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let nobody = || google_cloud_auth::credentials::anonymous::Builder::new().build();
    let objects = Storage::builder().with_endpoint(nowhere).with_credentials(nobody());
    let control = StorageControl::builder().with_endpoint(nowhere).with_credentials(nobody());
    let (objects, control) = (objects.build().await.unwrap(), control.build().await.unwrap());
    let store = GcsStore::new(objects, control, "bucket", KeySpace::new("").unwrap());
    for error in [
        store.create(&key(1), b"one", hour()).await.unwrap_err(),
        store.delete(&key(1)).await.unwrap_err(),
    ] {
        assert!(error.kind() == ErrorKind::Unavailable && !error.is_ambiguous(), "{error:?}");
        shown(&error);
    }
}

#[tokio::test]
async fn one_object_that_cannot_be_deleted_does_not_end_the_sweep() {
    let double = Double::start().await;
    for (api, url) in apis(&double) {
        double.create_bucket(BUCKET);
        let store = open(&url).await.unwrap();
        let soon = Expiry::after(Duration::from_millis(1), SystemTime::now());
        for number in 0..7 {
            store.create(&key(number), b"old", soon).await.unwrap().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        double.inject(Operation::Delete, Fault::Status(403));
        let reports = sweep_all(&store, SystemTime::now(), 2).await.unwrap();
        for report in &reports {
            assert_eq!(report.failure().is_some(), report.failed() > 0, "{api}: {report:?}");
        }
        let sum = |count: fn(&SweepReport) -> u64| reports.iter().map(count).sum::<u64>();
        assert_eq!((sum(SweepReport::removed), sum(SweepReport::failed)), (6, 1), "{api}");
        // A retention policy is over: the next sweep removes it.
        let report = store.sweep(SystemTime::now(), None, 100).await.unwrap();
        assert_eq!((report.removed(), report.failed()), (1, 0), "{api}");
    }
}

#[tokio::test]
async fn engine_down_is_an_error_and_restarted_it_works_again() {
    let double = Double::start().await;
    let mut stores = Vec::new();
    for (number, (api, url)) in (1..).zip(apis(&double)) {
        let store = open(&url).await.unwrap();
        store.create(&key(number), b"one", hour()).await.unwrap();
        stores.push((number, api, url, store));
    }
    double.stop().await;
    for (number, api, url, store) in &stores {
        for (call, error) in every_call(store, *number).await {
            let error = error.unwrap_or_else(|| panic!("{api}: {call} without an engine"));
            assert!(error.is_unavailable(), "{api}: {call}: {error}");
            shown(&error);
        }
        // Nobody took the connection, so nothing was done, and that is said.
        for error in [
            store.create(&key(99), b"one", hour()).await.unwrap_err(),
            store.delete(&key(*number)).await.unwrap_err(),
        ] {
            assert!(!error.is_ambiguous(), "{api}: {error}");
        }
        assert!(open(url).await.unwrap_err().is_unavailable(), "{api}");
    }
    double.resume().await;
    for (number, api, _, store) in &stores {
        let start = Instant::now();
        while let Err(error) = store.ping().await {
            assert!(start.elapsed() < Duration::from_secs(10), "{api}: {error}");
        }
        let Stored { .. } =
            store.load(&key(*number)).await.unwrap().expect("what was acknowledged is there");
        while let Err(error) = store.scan(None, 10).await {
            assert!(start.elapsed() < Duration::from_secs(10), "{api}: {error}");
        }
        assert!(store.delete(&key(*number)).await.unwrap(), "{api}");
    }
}

#[tokio::test]
async fn what_is_refreshed_between_examination_and_removal_survives_the_sweep() {
    let double = Double::start().await;
    for (number, (api, url)) in (1..).zip(apis(&double)) {
        let store = Arc::new(open(&url).await.unwrap());
        let key = key(number);
        let soon = Expiry::after(Duration::from_millis(1), SystemTime::now());
        let first = store.create(&key, b"old", soon).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let before = double.calls(Operation::Delete);
        double.inject(Operation::Delete, Fault::Late(Duration::from_millis(500)));
        let sweeper = Arc::clone(&store);
        let sweep = tokio::spawn(async move { sweeper.sweep(SystemTime::now(), None, 100).await });
        while double.calls(Operation::Delete) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        store.update(&key, b"refreshed", hour(), &first).await.unwrap().unwrap();
        let report = sweep.await.unwrap().unwrap();
        assert_eq!(report.removed(), 0, "{api}");
        assert_eq!(value(store.load(&key).await.unwrap()), b"refreshed", "{api}");
        store.delete(&key).await.unwrap();
    }
}
