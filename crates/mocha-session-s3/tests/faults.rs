//! S3 under faults: of the endpoint, the network, the credentials or the configuration.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use mocha_session_conformance::engine_url;
use mocha_session_conformance::tools::{NO_SUCH_HOST, assert_says};
use mocha_session_core::store::{KeySpace, SessionStore};
use mocha_session_core::{Error, ErrorKind};
use mocha_session_s3::S3Store;
use mocha_session_s3::aws_sdk_s3::Client;
use mocha_session_s3::aws_sdk_s3::config::ProvideCredentials;
use support::{Double, Reply, Request, client, fresh_key, port, registry, through, within};

/// A store whose requests pass through a double, which does what `act` says once it is open.
async fn store_through(
    url: &str,
    act: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (Arc<dyn SessionStore>, Double) {
    let ready = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&ready);
    let double =
        Double::start(
            port(url),
            move |it| if open.load(Ordering::SeqCst) { act(it) } else { Reply::Pass },
        )
        .await;
    let store = support::open(&through(url, double.port, None)).await.unwrap();
    ready.store(true, Ordering::SeqCst);
    double.take();
    (store, double)
}

/// A store whose endpoint is the double, and which is not open yet.
fn store_on(double: &Double) -> S3Store {
    let (client, bucket) = client(&format!("s3://k:s@127.0.0.1:{}/bucket", double.port), None);
    S3Store::new(client, bucket, KeySpace::new("").unwrap())
}

/// Does this with the first request of a kind, and passes all else on.
fn first(kind: &'static str, act: fn() -> Reply) -> impl Fn(&Request) -> Reply + Send + Sync {
    let done = AtomicBool::new(false);
    move |request| {
        if request.kind() == kind && !done.swap(true, Ordering::SeqCst) {
            act()
        } else {
            Reply::Pass
        }
    }
}

#[tokio::test]
async fn acknowledgement_lost_after_a_create_is_ambiguous_and_sent_once() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let (store, double) = store_through(&url, first("PUT If-None-Match", || Reply::Lose)).await;
    let key = fresh_key();
    let error = store.create(&key, b"value", within(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
    assert_eq!(double.take(), ["PUT If-None-Match"]);
    assert_eq!(store.load(&key).await.unwrap().unwrap().value(), &b"value"[..]);
}

#[tokio::test]
async fn acknowledgement_lost_after_an_update_is_ambiguous_and_sent_once() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let (store, double) = store_through(&url, first("PUT If-Match", || Reply::Lose)).await;
    let key = fresh_key();
    let old = store.create(&key, b"old", within(60)).await.unwrap().unwrap();
    double.take();
    let error = store.update(&key, b"new", within(60), &old).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
    assert_eq!(double.take(), ["PUT If-Match"]);
    let found = store.load(&key).await.unwrap().unwrap();
    assert_eq!(found.value(), &b"new"[..]);
    assert!(store.update(&key, b"newer", within(60), found.revision()).await.unwrap().is_some());
}

#[tokio::test]
async fn acknowledgement_lost_after_a_delete_is_an_error_and_sent_once() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let (store, double) = store_through(&url, first("DELETE", || Reply::Lose)).await;
    let key = fresh_key();
    store.create(&key, b"value", within(60)).await.unwrap().unwrap();
    double.take();
    assert!(store.delete(&key).await.unwrap_err().is_ambiguous());
    assert_eq!(double.take(), ["HEAD", "DELETE"]);
    assert!(store.load(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn a_read_is_tried_again() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let (store, double) = store_through(&url, first("GET", || Reply::Cut)).await;
    let key = fresh_key();
    store.create(&key, b"value", within(60)).await.unwrap().unwrap();
    double.take();
    assert!(store.load(&key).await.unwrap().is_some());
    assert_eq!(double.take(), ["GET", "GET"]);
}

#[tokio::test]
async fn connection_cut_is_an_error_and_never_absence_and_heals_by_itself() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let (store, _double) =
        store_through(
            &url,
            move |_| if is_down.load(Ordering::SeqCst) { Reply::Cut } else { Reply::Pass },
        )
        .await;
    let key = fresh_key();
    assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(
        store.create(&key, b"value", within(60)).await.unwrap_err().kind(),
        ErrorKind::Ambiguous
    );
    assert_eq!(store.ping().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(store.scan(None, 10).await.unwrap_err().is_unavailable());
    assert!(store.delete(&key).await.unwrap_err().is_unavailable());
    down.store(false, Ordering::SeqCst);
    assert!(store.create(&key, b"value", within(60)).await.unwrap().is_some());
    assert!(store.load(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn endpoint_down_is_unavailable() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("s3://key:hunter2@127.0.0.1:{nobody}/bucket?tls=false");
    let error = registry().open(&url).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["is it right and running?"]);

    let (client, bucket) = client(&url, None);
    let store = S3Store::new(client, bucket, KeySpace::new("sessions/").unwrap());
    let key = fresh_key();
    for error in [
        store.load(&key).await.unwrap_err(),
        store.create(&key, b"value", within(60)).await.unwrap_err(),
        store.ping().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(!error.is_ambiguous() && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn hanging_is_bounded() {
    let double = Double::start(0, |_| Reply::Hang).await;
    let store = store_on(&double).with_deadline(Duration::from_millis(500));
    let start = Instant::now();
    let error = store.create(&fresh_key(), b"value", within(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(double.take(), ["PUT If-None-Match"]);
    assert_eq!(store.load(&fresh_key()).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(double.take().len() >= 2, "an attempt leaves time for another");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn preparing_and_examining_a_bucket_that_never_answers_is_bounded() {
    let double = Double::start(0, |_| Reply::Hang).await;
    let store = store_on(&double).with_deadline(Duration::from_millis(300));
    let start = Instant::now();
    let found = store.examine().await.unwrap();
    assert!(found.iter().all(|it| !it.is_danger()), "{found:?}");
    assert_eq!(store.prepare(true).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_longest_deadline_works() {
    let double = Double::start(0, |_| Reply::error(404, "NoSuchKey")).await;
    let store = store_on(&double).with_deadline(Duration::MAX);
    assert!(store.load(&fresh_key()).await.unwrap().is_none());
    assert!(store.update(&fresh_key(), b"", within(60), &1.into()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_acknowledged_write_without_an_etag_may_have_been_done() {
    let double = Double::start(0, |_| Reply::Answer(200, String::new(), Vec::new())).await;
    let store = store_on(&double).on_aws();
    let error = store.create(&fresh_key(), b"value", within(60)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Ambiguous && error.to_string().contains("ETag"), "{error}");
}

#[tokio::test]
async fn refused_credentials_are_denied_and_not_shown() {
    let Some(url) = engine_url("MOCHA_TEST_S3_SIGNED_URL") else { return };
    let wrong_secret = url.replacen('@', "hunter2@", 1);
    let wrong_key = url.replacen("s3://", "s3://HUNTER2", 1);
    for wrong in [wrong_secret, wrong_key] {
        let error = registry().open(&wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        let shown =
            format!("{error} {error:?} {:?}", mocha_session_core::StoreUrl::parse(&wrong).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!format!("{error} {error:?}").contains("HUNTER2"), "{error:?}");
    }
    assert!(!format!("{:?}", support::open(&url).await.unwrap()).contains("Credentials"));
}

#[tokio::test]
async fn ten_openers_of_a_fresh_bucket_all_succeed() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let bucket = format!("fresh-{:016x}", fastrand::u64(..));
    let urls: Vec<_> = (0..10)
        .map(|_| format!("{}&region=eu-central-1", through(&url, port(&url), Some(&bucket))))
        .collect();
    let tasks: Vec<_> = urls
        .into_iter()
        .map(|url| tokio::spawn(async move { registry().open(&url).await }))
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap().ping().await.unwrap();
    }
}

#[tokio::test]
async fn create_false_makes_no_bucket() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let bucket = format!("absent-{:016x}", fastrand::u64(..));
    let double = Double::start(port(&url), |_| Reply::Pass).await;
    let error = registry()
        .open(&format!("{}&create=false", through(&url, double.port, Some(&bucket))))
        .await;
    let error = error.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["create the bucket"]);
    assert_eq!(double.take(), ["GET"]);
    // A bucket that goes while the app runs is no "absent session" either.
    let (client, _) = client(&url, None);
    let store = S3Store::new(client, bucket, KeySpace::new("").unwrap());
    assert_eq!(store.load(&fresh_key()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(
        store.create(&fresh_key(), b"", within(60)).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert_eq!(store.delete(&fresh_key()).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn a_misspelt_option_is_refused_offline() {
    let error =
        registry().check("s3://key:hunter2@s3.aws.amazon.com/bucket?regoin=eu-west-1").unwrap_err();
    assert_says(&error, ErrorKind::InvalidConfig, &["`regoin`"]);
    let options = "create, endpoint, near, prefix, region, session_token, timeout, tls";
    assert!(error.to_string().contains(options), "{error}");
    registry()
        .check("s3://username:password@s3.aws.amazon.com/bucket?region=eu-west-1&timeout=2s")
        .unwrap();
}

/// Every answer that is no success, and what it means for a read and for a write.
#[tokio::test]
async fn answers_mean_what_they_say() {
    use ErrorKind::{
        Ambiguous, Denied, Full, Internal, InvalidConfig, TooLarge, Unavailable, Unsupported,
    };
    let answer = Arc::new(Mutex::new((0, "")));
    let told = Arc::clone(&answer);
    let double = Double::start(0, move |_| match *told.lock().unwrap() {
        (status, "") => Reply::Answer(status, String::new(), b"<html>leak</html>".to_vec()),
        (status, code) => Reply::error(status, code),
    })
    .await;
    let store = store_on(&double).on_aws().with_deadline(Duration::from_secs(1));
    let etag = "\"e\"".to_owned().into();
    for (status, code, read, write) in [
        (404, "", Unavailable, Unavailable),
        (404, "NoSuchBucket", Unavailable, Unavailable),
        (403, "AccessDenied", Denied, Denied),
        (403, "SignatureDoesNotMatch", Denied, Denied),
        (403, "InvalidAccessKeyId", Denied, Denied),
        (403, "RequestTimeTooSkewed", Denied, Denied),
        (400, "ExpiredToken", Denied, Denied),
        (401, "", Denied, Denied),
        (301, "PermanentRedirect", InvalidConfig, InvalidConfig),
        (400, "AuthorizationHeaderMalformed", InvalidConfig, InvalidConfig),
        (400, "EntityTooLarge", TooLarge, TooLarge),
        (507, "XMinioStorageFull", Full, Full),
        (403, "QuotaExceeded", Full, Full),
        (503, "SlowDown", Unavailable, Unavailable),
        (503, "ServiceUnavailable", Unavailable, Unavailable),
        (429, "", Unavailable, Unavailable),
        (409, "OperationAborted", Unavailable, Unavailable),
        (500, "InternalError", Unavailable, Ambiguous),
        (502, "", Unavailable, Ambiguous),
        (503, "", Unavailable, Ambiguous),
        (501, "NotImplemented", Unsupported, Unsupported),
        (400, "InvalidArgument", Internal, Internal),
    ] {
        *answer.lock().unwrap() = (status, code);
        let key = fresh_key();
        let is = |error: Error, kind: ErrorKind| {
            assert_eq!(error.kind(), kind, "{status} {code}: {error}");
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(&status.to_string()) && shown.contains(code), "{shown}");
            assert!(
                !shown.to_lowercase().contains("leak") && !shown.contains(&key.to_string()),
                "{shown}"
            );
        };
        is(store.load(&key).await.expect_err("load"), read);
        is(store.ping().await.expect_err("ping"), read);
        is(store.scan(None, 1).await.expect_err("scan"), read);
        is(store.create(&key, b"", within(60)).await.expect_err("create"), write);
        is(store.update(&key, b"", within(60), &etag).await.expect_err("update"), write);
    }
    for (status, code) in
        [(412, "PreconditionFailed"), (412, ""), (409, "ConditionalRequestConflict")]
    {
        *answer.lock().unwrap() = (status, code);
        let created = store.create(&fresh_key(), b"", within(60)).await.unwrap();
        assert_eq!(created, None, "{status} {code}");
        let updated = store.update(&fresh_key(), b"", within(60), &etag).await.unwrap();
        assert_eq!(updated, None, "{status} {code}");
    }
    *answer.lock().unwrap() = (404, "NoSuchKey");
    assert!(store.load(&fresh_key()).await.unwrap().is_none());
    assert!(store.update(&fresh_key(), b"", within(60), &etag).await.unwrap().is_none());
}

#[tokio::test]
async fn the_right_region_is_named() {
    let double = Double::start(0, |_| {
        Reply::Answer(301, "x-amz-bucket-region: eu-central-1\r\n".to_owned(), Vec::new())
    })
    .await;
    let url = format!("s3://k:s@127.0.0.1:{}/bucket?tls=false", double.port);
    let error = registry().open(&url).await.unwrap_err();
    assert_says(&error, ErrorKind::InvalidConfig, &["?region=eu-central-1"]);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unavailable_and_nothing_was_sent() {
    let url = format!("s3://key:hunter2@{NO_SUCH_HOST}:9000/bucket?tls=false&timeout=2s");
    let error = registry().open(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let (client, bucket) = client(&format!("s3://k:s@{NO_SUCH_HOST}:9000/bucket"), None);
    let store = S3Store::new(client, bucket, KeySpace::new("").unwrap());
    let error = store.create(&fresh_key(), b"", within(60)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && !error.is_ambiguous(), "{error:?}");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

/// Credentials that cannot be had.
#[derive(Debug)]
struct Lacking(fn() -> CredentialsError);

impl ProvideCredentials for Lacking {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_nothing_unknown() {
    let double = Double::start(0, |_| Reply::error(500, "InternalError")).await;
    let (client, _) = client(&format!("s3://k:s@127.0.0.1:{}/bucket", double.port), None);
    let config = || client.config().to_builder();
    let absent: fn() -> CredentialsError = || CredentialsError::not_loaded("none");
    let out_of_reach: fn() -> CredentialsError = || CredentialsError::provider_error("hunter2");
    for (config, kind) in [
        (config().credentials_provider(Lacking(absent)), ErrorKind::Denied),
        (config().credentials_provider(Lacking(out_of_reach)), ErrorKind::Unavailable),
    ] {
        let store =
            S3Store::new(Client::from_conf(config.build()), "bucket", KeySpace::new("").unwrap());
        for error in [
            store.create(&fresh_key(), b"", within(60)).await.unwrap_err(),
            store.load(&fresh_key()).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), kind, "{error:?}");
            assert!(
                error.to_string().contains("credentials")
                    && !format!("{error:?}").contains("hunter2")
            );
        }
    }
    assert!(double.take().is_empty());
}
