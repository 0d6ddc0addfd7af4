//! What is Google's own: lanes, faults, buckets, credentials; against the test double.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::{hour, key, lanes, open, shown};
use mocha_session_core::store::{Durability, Expiry, Revision, SessionStore, Stored};
use mocha_session_core::{Error, ErrorKind};
use mocha_session_gcs::GcsStore;
use mocha_session_gcs_double::{BUCKET, Double, Fault, Operation};

fn value(stored: Option<Stored>) -> Vec<u8> {
    stored.expect("something is there").value().to_vec()
}

/// Every call of the contract, each with its name and its result if it is an error.
async fn every_call(store: &GcsStore, key_number: u8) -> Vec<(&'static str, Option<Error>)> {
    let key = key(key_number);
    vec![
        ("load", store.load(&key).await.err()),
        ("create", store.create(&key, b"v", hour()).await.err()),
        ("update", store.update(&key, b"v", hour(), &Revision::from(7)).await.err()),
        ("delete", store.delete(&key).await.err()),
        ("sweep", store.sweep(SystemTime::now(), None, 10).await.err()),
        ("scan", store.scan(None, 10).await.err()),
        ("ping", store.ping().await.err()),
    ]
}

#[tokio::test]
async fn both_lanes_read_what_the_other_wrote() {
    let double = Double::start().await;
    let official = open(&double.gs_url()).await.unwrap();
    let hmac = open(&double.hmac_url()).await.unwrap();
    let first = official.create(&key(1), b"one", hour()).await.unwrap().unwrap();
    let second = hmac.update(&key(1), b"two", hour(), &first).await.unwrap().unwrap();
    assert!(official.update(&key(1), b"late", hour(), &first).await.unwrap().is_none());
    assert_eq!(official.load(&key(1)).await.unwrap().unwrap(), Stored::new(&b"two"[..], second));
    assert_eq!(double.names(BUCKET), [format!("sessions/{}", key(1))]);
    let capabilities = hmac.capabilities();
    assert!(capabilities.listing() && !capabilities.native_expiry() && !capabilities.evicts());
    assert_eq!(capabilities.durability(), Durability::Replicated);
}

#[tokio::test]
async fn two_prefixes_one_emptied_the_other_intact() {
    let double = Double::start().await;
    for (lane, url) in lanes(&double) {
        let one = open(&format!("{url}&prefix=a:{{{lane}}}/")).await.unwrap();
        let other = open(&url.replace(&format!("{BUCKET}?"), &format!("{BUCKET}/b/{lane}?"))).await.unwrap();
        let soon = Expiry::after(Duration::from_millis(1), SystemTime::now());
        one.create(&key(1), b"one", soon).await.unwrap();
        other.create(&key(1), b"other", soon).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let report = one.sweep(SystemTime::now(), None, 100).await.unwrap();
        assert_eq!((report.examined(), report.removed()), (1, 1), "{lane}");
        assert!(one.load(&key(1)).await.unwrap().is_none());
        assert_eq!(value(other.load(&key(1)).await.unwrap()), b"other");
        assert!(double.names(BUCKET).contains(&format!("b/{lane}/{}", key(1))));
    }
}

#[tokio::test]
async fn refused_credentials_are_denied_and_no_secret_is_shown() {
    let double = Double::start().await;
    let good = double.hmac_url();
    for (bad, word) in [
        (good.replace("GOOG1DOUBLE:", "GOOG1DOUBLE:hunter2"), "SignatureDoesNotMatch"),
        (good.replace("GOOG1DOUBLE:", "GOOG1NOBODY:"), "InvalidAccessKeyId"),
    ] {
        let error = open(&bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let text = shown(&error);
        assert!(text.contains(word) && text.contains("gcs: open"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("GOOG1"), "{text}");
    }
    for (lane, url) in lanes(&double) {
        let store = open(&url).await.unwrap();
        for status in [401, 403] {
            double.inject(Operation::Read, Fault::Status(status));
            assert_eq!(store.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Denied, "{lane}");
            double.inject(Operation::Delete, Fault::Status(status));
            assert_eq!(store.delete(&key(1)).await.unwrap_err().kind(), ErrorKind::Denied, "{lane}");
        }
        assert!(!format!("{store:?}").contains("GOOG1"), "{store:?}");
    }
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_and_never_absent() {
    let double = Double::start().await;
    for (lane, url) in lanes(&double) {
        let error = open(&url.replace(BUCKET, "no-such-bucket")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{lane}");
        assert!(shown(&error).contains("does not exist"), "{lane}: {error}");

        double.create_bucket("doomed");
        let store = open(&url.replace(BUCKET, "doomed")).await.unwrap();
        store.create(&key(1), b"one", hour()).await.unwrap();
        double.remove_bucket("doomed");
        for (call, error) in every_call(&store, 1).await {
            let error =
                error.unwrap_or_else(|| panic!("{lane}: {call} took a missing bucket for something else"));
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{lane}: {call}");
            assert!(shown(&error).contains("does not exist"), "{lane}: {call}: {error}");
        }
    }
}

#[tokio::test]
async fn a_bare_404_is_absent_only_where_the_bucket_is_known_to_be_there() {
    let double = Double::start().await;
    double.create_bucket("bare");
    let url = double.gs_url().replace(BUCKET, "bare");
    let official = open(&url).await.unwrap();
    double.inject(Operation::Read, Fault::BareNotFound);
    assert!(official.load(&key(1)).await.unwrap().is_none());
    double.inject(Operation::Delete, Fault::BareNotFound);
    assert!(!official.delete(&key(1)).await.unwrap());
    double.remove_bucket("bare");
    double.inject(Operation::Read, Fault::BareNotFound);
    assert!(official.load(&key(1)).await.is_err());

    // The XML API always says which: a 404 that doesn't is somebody else's.
    let hmac = open(&double.hmac_url()).await.unwrap();
    double.inject(Operation::Read, Fault::BareNotFound);
    assert!(hmac.load(&key(1)).await.is_err());
}

#[tokio::test]
async fn the_bucket_is_made_where_a_project_is_named_also_by_ten_at_once() {
    let double = Double::start().await;
    for (lane, url) in lanes(&double) {
        let name = format!("fresh-{lane}");
        let url = format!("{}&project=my-project&location=EU", url.replace(BUCKET, &name));
        assert!(open(&format!("{url}&create=false")).await.is_err(), "{lane}");
        let openings = (0..10).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { open(&url).await })
        });
        for opening in openings.collect::<Vec<_>>() {
            let store = opening.await.unwrap().unwrap_or_else(|error| panic!("{lane}: {error}"));
            store.ping().await.unwrap();
        }
    }
}

#[tokio::test]
async fn acknowledgement_lost_after_the_write_is_ambiguous_and_not_repeated() {
    let double = Double::start().await;
    for (number, (lane, url)) in (1..).zip(lanes(&double)) {
        let (store, key) = (open(&url).await.unwrap(), key(number));
        for fault in [Fault::LostAnswer, Fault::Cut, Fault::Status(500), Fault::Status(503)] {
            let before = double.calls(Operation::Write);
            double.inject(Operation::Write, fault);
            let error = store.create(&key, b"one", hour()).await.unwrap_err();
            assert!(error.is_ambiguous() && error.is_unavailable(), "{lane}: {fault:?}: {error}");
            shown(&error);
            assert_eq!(double.calls(Operation::Write), before + 1, "{lane}: {fault:?} was repeated");
            let done = store.load(&key).await.unwrap().is_some();
            assert_eq!(done, fault == Fault::LostAnswer, "{lane}: {fault:?}");
            assert_eq!(store.delete(&key).await.unwrap(), done);
        }
        let first = store.create(&key, b"one", hour()).await.unwrap().unwrap();
        double.inject(Operation::Write, Fault::LostAnswer);
        assert!(store.update(&key, b"two", hour(), &first).await.unwrap_err().is_ambiguous(), "{lane}");
        assert_eq!(value(store.load(&key).await.unwrap()), b"two", "{lane}");
        // A repetition by something on the way: "does not match", and the value tells that it was done.
        let second = store.load(&key).await.unwrap().unwrap().revision().clone();
        double.inject(Operation::Write, Fault::MismatchAfter);
        assert!(store.update(&key, b"three", hour(), &second).await.unwrap().is_none(), "{lane}");
        assert_eq!(value(store.load(&key).await.unwrap()), b"three", "{lane}");
    }
}

#[tokio::test]
async fn a_delete_whose_answer_is_lost_is_ambiguous_and_not_repeated() {
    let double = Double::start().await;
    for (number, (lane, url)) in (1..).zip(lanes(&double)) {
        let (store, key) = (open(&url).await.unwrap(), key(number));
        store.create(&key, b"one", hour()).await.unwrap();
        let before = double.calls(Operation::Delete);
        double.inject(Operation::Delete, Fault::LostAnswer);
        let error = store.delete(&key).await.unwrap_err();
        assert!(error.is_ambiguous(), "{lane}: {error}");
        assert_eq!(double.calls(Operation::Delete), before + 1, "{lane}");
        assert!(store.load(&key).await.unwrap().is_none(), "{lane}");
        assert!(!store.delete(&key).await.unwrap(), "{lane}");
    }
}

#[tokio::test]
async fn reads_are_tried_three_times_and_then_an_error() {
    let double = Double::start().await;
    for (number, (lane, url)) in (1..).zip(lanes(&double)) {
        let (store, key) = (open(&url).await.unwrap(), key(number));
        store.create(&key, b"one", hour()).await.unwrap();
        for faults in [[Fault::Status(503), Fault::Cut], [Fault::LostAnswer, Fault::Status(429)]] {
            let before = double.calls(Operation::Read);
            faults.into_iter().for_each(|fault| double.inject(Operation::Read, fault));
            assert_eq!(value(store.load(&key).await.unwrap()), b"one", "{lane}");
            assert_eq!(double.calls(Operation::Read), before + 3, "{lane}");
        }
        for _ in 0..3 {
            double.inject(Operation::Read, Fault::Status(503));
        }
        let error = store.load(&key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{lane}: {error}");
        assert!(shown(&error).starts_with("gcs: load: "), "{error}");
    }
}

#[tokio::test]
async fn refused_for_now_is_unavailable_and_nothing_was_done() {
    let double = Double::start().await;
    for (number, (lane, url)) in (1..).zip(lanes(&double)) {
        let (store, key) = (open(&url).await.unwrap(), key(number));
        double.inject(Operation::Write, Fault::Status(429));
        let error = store.create(&key, b"one", hour()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{lane}");
        assert!(!error.is_ambiguous() && error.to_string().contains("429"), "{lane}: {error}");
        assert!(store.load(&key).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn hanging_is_bounded() {
    let double = Double::start().await;
    for (number, (lane, url)) in (1..).zip(lanes(&double)) {
        let store = open(&url).await.unwrap().with_deadline(Duration::from_millis(300));
        let operations = [
            Operation::Read,
            Operation::Write,
            Operation::Write,
            Operation::Delete,
            Operation::List,
            Operation::List,
        ];
        operations.into_iter().for_each(|operation| double.inject(operation, Fault::Hang));
        let start = Instant::now();
        for (call, error) in every_call(&store, number).await {
            let Some(error) = error else {
                assert_eq!(call, "ping", "{lane}");
                continue;
            };
            assert_eq!(error.kind(), ErrorKind::Timeout, "{lane}: {call}: {error}");
            assert!(error.is_ambiguous(), "{lane}: {call}");
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{lane}: {:?}", start.elapsed());
        // Done, though nobody said so.
        double.inject(Operation::Write, Fault::HangAfter);
        assert!(store.create(&key(number), b"late", hour()).await.unwrap_err().is_ambiguous(), "{lane}");
        assert_eq!(value(store.load(&key(number)).await.unwrap()), b"late", "{lane}");
    }
}

#[tokio::test]
async fn engine_down_is_an_error_and_restarted_it_works_again() {
    let double = Double::start().await;
    let mut stores = Vec::new();
    for (number, (lane, url)) in (1..).zip(lanes(&double)) {
        let store = open(&url).await.unwrap();
        store.create(&key(number), b"one", hour()).await.unwrap();
        stores.push((number, lane, url, store));
    }
    double.stop().await;
    for (number, lane, url, store) in &stores {
        for (call, error) in every_call(store, *number).await {
            let error = error.unwrap_or_else(|| panic!("{lane}: {call} without an engine"));
            assert!(error.is_unavailable(), "{lane}: {call}: {error}");
            shown(&error);
        }
        // Nobody took the connection, so nothing was done, and that is said.
        for error in [
            store.create(&key(99), b"one", hour()).await.unwrap_err(),
            store.delete(&key(*number)).await.unwrap_err(),
        ] {
            assert!(!error.is_ambiguous(), "{lane}: {error}");
        }
        assert!(open(url).await.unwrap_err().is_unavailable(), "{lane}");
    }
    double.resume().await;
    for (number, lane, _, store) in &stores {
        let start = Instant::now();
        while let Err(error) = store.ping().await {
            assert!(start.elapsed() < Duration::from_secs(10), "{lane}: {error}");
        }
        let Stored { .. } = store.load(&key(*number)).await.unwrap().expect("what was acknowledged is there");
        while let Err(error) = store.scan(None, 10).await {
            assert!(start.elapsed() < Duration::from_secs(10), "{lane}: {error}");
        }
        assert!(store.delete(&key(*number)).await.unwrap(), "{lane}");
    }
}

#[tokio::test]
async fn what_is_refreshed_between_examination_and_removal_survives_the_sweep() {
    let double = Double::start().await;
    for (number, (lane, url)) in (1..).zip(lanes(&double)) {
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
        assert_eq!(report.removed(), 0, "{lane}");
        assert_eq!(value(store.load(&key).await.unwrap()), b"refreshed", "{lane}");
        store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn a_sweep_reads_no_body_and_leaves_foreign_objects_alone() {
    let double = Double::start().await;
    for (lane, url) in lanes(&double) {
        double.create_bucket(BUCKET);
        let store = open(&url).await.unwrap();
        let soon = Expiry::after(Duration::from_millis(1), SystemTime::now());
        for number in 0..40 {
            let expiry = if number % 2 == 0 { soon } else { hour() };
            store.create(&key(number), b"one", expiry).await.unwrap();
        }
        let key_without_expiry = format!("sessions/{}", key(0xff));
        for name in ["sessions/readme.txt", "sessions/", "other/thing", &key_without_expiry] {
            double.put_foreign(BUCKET, name, b"not ours");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let (reads, looks) = (double.calls(Operation::Read), double.calls(Operation::Look));
        let (mut cursor, mut examined, mut removed) = (None, 0, 0);
        loop {
            let report = store.sweep(SystemTime::now(), cursor, 7).await.unwrap();
            examined += report.examined();
            removed += report.removed();
            cursor = report.next().cloned();
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((examined, removed), (41, 20), "{lane}");
        assert_eq!(double.calls(Operation::Read), reads, "{lane}");
        let expected = if lane == "hmac" { 41 } else { 0 };
        assert_eq!(double.calls(Operation::Look) - looks, expected, "{lane}");
        assert_eq!(double.names(BUCKET).len(), 24, "{lane}");
        assert_eq!(store.scan(None, 1000).await.unwrap().entries().len(), 21, "{lane}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let double = Double::start().await;
    for (lane, url) in lanes(&double) {
        let store = open(&url).await.unwrap();
        let largest = store.capabilities().max_value().unwrap();
        let mut bytes = vec![7; largest];
        let first = store.create(&key(1), &bytes, hour()).await.unwrap().unwrap();
        assert_eq!(value(store.load(&key(1)).await.unwrap()).len(), largest, "{lane}");
        bytes.push(7);
        let before = double.calls(Operation::Write);
        assert!(store.create(&key(2), &bytes, hour()).await.unwrap_err().is_too_large(), "{lane}");
        assert!(store.update(&key(1), &bytes, hour(), &first).await.unwrap_err().is_too_large(), "{lane}");
        assert_eq!(double.calls(Operation::Write), before, "{lane}");
        // Nor is memory given to an object that this store cannot have written.
        double.put_foreign(BUCKET, &format!("sessions/{}", key(3)), &bytes);
        assert!(store.load(&key(3)).await.unwrap_err().is_corrupt(), "{lane}");
        assert!(store.delete(&key(1)).await.unwrap());
    }
}

#[tokio::test]
async fn a_key_file_that_is_none_is_refused_and_not_shown() {
    let folder = std::env::temp_dir().join(format!("mocha-gcs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, content, word) in [
        ("missing.json", None, "cannot be read"),
        ("text.json", Some("hunter2"), "not JSON"),
        (
            "user.json",
            Some(r#"{"type":"authorized_user","refresh_token":"hunter2"}"#),
            "no key of a service account",
        ),
        ("partial.json", Some(r#"{"type":"service_account","private_key":"hunter2"}"#), "not a complete key"),
    ] {
        let path = folder.join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let url = format!("gs://bucket?credentials={}", path.display());
        let error = open(&url).await.unwrap_err();
        assert!(error.is_invalid_config(), "{name}: {error}");
        let text = shown(&error);
        assert!(text.contains(word) && !text.contains("hunter2"), "{name}: {text}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
