//! Google Cloud Storage's own: APIs, faults, buckets, credentials; on the test double.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod examined;
mod faults;

use std::time::{Duration, SystemTime};

use common::{apis, hour, key, open, shown};
use mocha_session_conformance::tools::sweep_all;
use mocha_session_core::store::{Durability, Expiry, Revision, SessionStore, Stored, SweepReport};
use mocha_session_core::{Error, ErrorKind, Registry};
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
async fn the_registry_opens_both_apis_and_refuses_options_that_nobody_knows() {
    let double = Double::start().await;
    let registry = Registry::new().register(mocha_session_gcs::DRIVER);
    for (api, url) in apis(&double) {
        registry
            .open(&format!("{url}&timeout=2s&prefix=a/"))
            .await
            .unwrap_or_else(|error| panic!("{api}: {error}"));
        let error = registry.open(&format!("{url}&projekt=x")).await.unwrap_err();
        assert!(error.is_invalid_config() && shown(&error).contains("`projekt`"), "{api}: {error}");
    }
}

#[tokio::test]
async fn both_apis_read_what_the_other_wrote() {
    let double = Double::start().await;
    let official = open(&double.gs_url()).await.unwrap();
    let hmac = open(&double.hmac_url()).await.unwrap();
    let first = official.create(&key(1), b"one", hour()).await.unwrap().unwrap();
    let second = hmac.update(&key(1), b"two", hour(), &first).await.unwrap().unwrap();
    assert!(official.update(&key(1), b"late", hour(), &first).await.unwrap().is_none());
    assert_eq!(official.load(&key(1)).await.unwrap().unwrap(), Stored::new(&b"two"[..], second));
    assert_eq!(double.names(BUCKET), [format!("sessions/{}", key(1))]);
    // Each sweeps what the other wrote.
    let soon = Expiry::after(Duration::from_millis(1), SystemTime::now());
    for (writer, sweeper) in [(&official, &hmac), (&hmac, &official)] {
        writer.create(&key(2), b"short", soon).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(sweeper.sweep(SystemTime::now(), None, 100).await.unwrap().removed(), 1);
        assert!(writer.load(&key(2)).await.unwrap().is_none());
    }
    let capabilities = hmac.capabilities();
    assert!(capabilities.listing() && !capabilities.native_expiry() && !capabilities.evicts());
    assert_eq!(capabilities.durability(), Durability::Replicated);
}

#[tokio::test]
async fn two_prefixes_one_emptied_the_other_intact() {
    let double = Double::start().await;
    for (api, url) in apis(&double) {
        let one = open(&format!("{url}&prefix=a:{{{api}}}/")).await.unwrap();
        let other =
            open(&url.replace(&format!("{BUCKET}?"), &format!("{BUCKET}/b/{api}?"))).await.unwrap();
        let soon = Expiry::after(Duration::from_millis(1), SystemTime::now());
        one.create(&key(1), b"one", soon).await.unwrap();
        other.create(&key(1), b"other", soon).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let report = one.sweep(SystemTime::now(), None, 100).await.unwrap();
        assert_eq!((report.examined(), report.removed()), (1, 1), "{api}");
        assert!(one.load(&key(1)).await.unwrap().is_none());
        assert_eq!(value(other.load(&key(1)).await.unwrap()), b"other");
        assert!(double.names(BUCKET).contains(&format!("b/{api}/{}", key(1))));
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
    for (api, url) in apis(&double) {
        let store = open(&url).await.unwrap();
        for status in [401, 403] {
            double.inject(Operation::Read, Fault::Status(status));
            assert_eq!(store.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Denied, "{api}");
            double.inject(Operation::Delete, Fault::Status(status));
            assert_eq!(store.delete(&key(1)).await.unwrap_err().kind(), ErrorKind::Denied, "{api}");
        }
        assert!(!format!("{store:?}").contains("GOOG1"), "{store:?}");
    }
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_and_never_absent() {
    let double = Double::start().await;
    for (api, url) in apis(&double) {
        let error = open(&url.replace(BUCKET, "no-such-bucket")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{api}");
        assert!(shown(&error).contains("does not exist"), "{api}: {error}");

        double.create_bucket("doomed");
        let store = open(&url.replace(BUCKET, "doomed")).await.unwrap();
        store.create(&key(1), b"one", hour()).await.unwrap();
        double.remove_bucket("doomed");
        for (call, error) in every_call(&store, 1).await {
            let error = error.unwrap_or_else(|| {
                panic!("{api}: {call} took a missing bucket for something else")
            });
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{api}: {call}");
            assert!(shown(&error).contains("does not exist"), "{api}: {call}: {error}");
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
    for _ in 0..3 {
        double.inject(Operation::Read, Fault::BareNotFound);
    }
    assert!(hmac.load(&key(1)).await.is_err());
}

#[tokio::test]
async fn the_bucket_is_made_where_a_project_is_named_also_by_ten_at_once() {
    let double = Double::start().await;
    for (api, url) in apis(&double) {
        let name = format!("fresh-{api}");
        let url = format!("{}&project=my-project&location=EU", url.replace(BUCKET, &name));
        assert!(open(&format!("{url}&create=false")).await.is_err(), "{api}");
        let openings = (0..10).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { open(&url).await })
        });
        for opening in openings.collect::<Vec<_>>() {
            let store = opening.await.unwrap().unwrap_or_else(|error| panic!("{api}: {error}"));
            store.ping().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_sweep_asks_for_no_live_object_reads_no_body_and_leaves_foreign_objects_alone() {
    let double = Double::start().await;
    for (api, url) in apis(&double) {
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
        let reports = sweep_all(&store, SystemTime::now(), 7).await.unwrap();
        let sum = |count: fn(&SweepReport) -> u64| reports.iter().map(count).sum::<u64>();
        assert_eq!((sum(SweepReport::examined), sum(SweepReport::removed)), (41, 20), "{api}");
        assert_eq!(double.calls(Operation::Read), reads, "{api}");
        // Only what may have expired, where the listing does not show the deadline.
        let expected = if api == "hmac" { 20 } else { 0 };
        assert_eq!(double.calls(Operation::Look) - looks, expected, "{api}");
        assert_eq!(double.names(BUCKET).len(), 24, "{api}");
        assert_eq!(store.scan(None, 1000).await.unwrap().entries().len(), 20, "{api}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let double = Double::start().await;
    for (api, url) in apis(&double) {
        let store = open(&url).await.unwrap();
        let largest = store.capabilities().max_value().unwrap();
        let mut bytes = vec![7; largest];
        let first = store.create(&key(1), &bytes, hour()).await.unwrap().unwrap();
        assert_eq!(value(store.load(&key(1)).await.unwrap()).len(), largest, "{api}");
        bytes.push(7);
        let before = double.calls(Operation::Write);
        assert!(store.create(&key(2), &bytes, hour()).await.unwrap_err().is_too_large(), "{api}");
        assert!(
            store.update(&key(1), &bytes, hour(), &first).await.unwrap_err().is_too_large(),
            "{api}"
        );
        assert_eq!(double.calls(Operation::Write), before, "{api}");
        // Nor is memory given to an object that this store cannot have written.
        double.put_foreign(BUCKET, &format!("sessions/{}", key(3)), &vec![7; 64 << 20]);
        assert!(store.load(&key(3)).await.unwrap_err().is_corrupt(), "{api}");
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
        ("user.json", Some(r#"{"type":"authorized_user","token":"hunter2"}"#), "not the key of"),
        ("partial.json", Some(r#"{"type":"service_account","private_key":"hunter2"}"#), "complete"),
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
