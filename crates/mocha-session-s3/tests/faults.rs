//! What the app sees when the endpoint, the network, the credentials or the configuration are not
//! in order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use mocha_session_conformance::engine_url;
use mocha_session_core::store::{KeySpace, SessionStore};
use mocha_session_core::{Error, ErrorKind, Registry};
use mocha_session_s3::aws_sdk_s3::Client;
use mocha_session_s3::aws_sdk_s3::config::ProvideCredentials;
use mocha_session_s3::{DRIVER, S3Store};
use support::{
    Double, Reply, Request, client, ignoring, port, some_key, some_prefix, through, within,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn registry() -> Registry {
    Registry::new().register(DRIVER)
}

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
    let key = some_key();
    let error = store.create(&key, b"value", within(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
    assert_eq!(double.take(), ["PUT If-None-Match"]);
    assert_eq!(store.load(&key).await.unwrap().unwrap().value(), &b"value"[..]);
}

#[tokio::test]
async fn acknowledgement_lost_after_an_update_is_ambiguous_and_sent_once() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let (store, double) = store_through(&url, first("PUT If-Match", || Reply::Lose)).await;
    let key = some_key();
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
    let key = some_key();
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
    let key = some_key();
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
    let key = some_key();
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
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("is it up?"), "{error}");

    let (client, bucket) = client(&url, None);
    let store = S3Store::new(client, bucket, KeySpace::new("sessions/").unwrap());
    let key = some_key();
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
    let (client, bucket) = client(&format!("s3://k:s@127.0.0.1:{}/bucket", double.port), None);
    let store = S3Store::new(client, bucket, KeySpace::new("").unwrap());
    let store = store.with_deadline(Duration::from_millis(500));
    let start = Instant::now();
    let error = store.create(&some_key(), b"value", within(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(double.take(), ["PUT If-None-Match"]);
    assert_eq!(store.load(&some_key()).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(double.take().len() >= 2, "an attempt leaves time for another");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
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
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("create the bucket"), "{error}");
    assert_eq!(double.take(), ["GET"]);
    // A bucket that goes while the app runs is no "absent session" either.
    let (client, _) = client(&url, None);
    let store = S3Store::new(client, bucket, KeySpace::new("").unwrap());
    assert_eq!(store.load(&some_key()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(
        store.create(&some_key(), b"", within(60)).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    assert_eq!(store.delete(&some_key()).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn a_misspelt_option_is_refused_offline() {
    let error =
        registry().check("s3://key:hunter2@s3.aws.amazon.com/bucket?regoin=eu-west-1").unwrap_err();
    assert!(error.is_invalid_config() && error.to_string().contains("`regoin`"), "{error}");
    let options = "create, endpoint, prefix, region, session_token, timeout, tls";
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
    let (client, _) = client(&format!("s3://k:s@127.0.0.1:{}/bucket", double.port), None);
    let store = S3Store::new(client, "bucket", KeySpace::new("").unwrap()).on_aws();
    let store = store.with_deadline(Duration::from_secs(1));
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
        let key = some_key();
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
        is(
            store
                .update(&key, b"", within(60), &"\"e\"".to_owned().into())
                .await
                .expect_err("update"),
            write,
        );
    }
    for (status, code) in
        [(412, "PreconditionFailed"), (412, ""), (409, "ConditionalRequestConflict")]
    {
        *answer.lock().unwrap() = (status, code);
        assert!(
            store.create(&some_key(), b"", within(60)).await.unwrap().is_none(),
            "{status} {code}"
        );
        let update = store.update(&some_key(), b"", within(60), &"\"e\"".to_owned().into()).await;
        assert!(update.unwrap().is_none(), "{status} {code}");
    }
    *answer.lock().unwrap() = (404, "NoSuchKey");
    assert!(store.load(&some_key()).await.unwrap().is_none());
    assert!(
        store
            .update(&some_key(), b"", within(60), &"\"e\"".to_owned().into())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_right_region_is_named() {
    let double = Double::start(0, |_| {
        Reply::Answer(301, "x-amz-bucket-region: eu-central-1\r\n".to_owned(), Vec::new())
    })
    .await;
    let url = format!("s3://k:s@127.0.0.1:{}/bucket?tls=false", double.port);
    let error = registry().open(&url).await.unwrap_err();
    assert!(
        error.is_invalid_config() && error.to_string().contains("?region=eu-central-1"),
        "{error}"
    );
}

/// An S3-like endpoint in memory, which ignores what it is told to ignore.
fn careless(ignores: &'static str) -> impl Fn(&Request) -> Reply + Send + Sync {
    let objects: Mutex<HashMap<String, (String, Vec<u8>)>> = Mutex::default();
    let writes = AtomicUsize::new(0);
    move |request| {
        let mut objects = objects.lock().unwrap();
        let name = request.target.split('?').next().unwrap().to_owned();
        let there = objects.get(&name).cloned();
        let etag = there.as_ref().map(|(etag, _)| etag.as_str());
        let kind = request.kind();
        let honoured = !ignores.split(',').any(|ignored| ignored == kind);
        if honoured && request.header("if-none-match").is_some() && etag.is_some() {
            return Reply::error(412, "PreconditionFailed");
        }
        if let Some(expected) = request.header("if-match").filter(|_| honoured) {
            if ignores == "absence" && etag.is_none() {
                // Falls through: a condition on what is not there counts as met.
            } else if etag != Some(expected) {
                return Reply::error(412, "PreconditionFailed");
            }
        }
        match request.method.as_str() {
            "PUT" => {
                let etag = format!("\"{}\"", writes.fetch_add(1, Ordering::SeqCst));
                objects.insert(name, (etag.clone(), request.body.clone()));
                Reply::Answer(200, format!("etag: {etag}\r\n"), Vec::new())
            }
            "DELETE" => {
                objects.remove(&name);
                Reply::Answer(204, String::new(), Vec::new())
            }
            _ => match there {
                Some((etag, body)) => Reply::Answer(200, format!("etag: {etag}\r\n"), body),
                None => Reply::error(404, "NoSuchKey"),
            },
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_ignores_conditions_is_refused() {
    for (ignores, word) in [
        ("PUT If-None-Match", "If-None-Match"),
        ("PUT If-Match", "If-Match"),
        ("PUT If-Match,PUT If-None-Match,DELETE If-Match", "If-Match"),
        ("absence", "If-Match"),
    ] {
        let double = Double::start(0, careless(ignores)).await;
        let url = format!("s3://k:s@127.0.0.1:{}/bucket?tls=false", double.port);
        let error = registry().open(&url).await.expect_err(ignores);
        assert!(error.is_unsupported(), "{ignores}: {error}");
        assert!(
            error.to_string().contains("does not honour") && error.to_string().contains(word),
            "{ignores}: {error}"
        );
        assert_eq!(
            double.take().last().map(String::as_str),
            Some("DELETE"),
            "{ignores}: it cleans up behind itself"
        );
    }
}

#[tokio::test]
async fn a_server_that_ignores_all_conditions_is_refused() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let error = registry().open(&ignoring("conditions", &url)).await.unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("s3: open: "), "{error}");
    let careful = support::open(&ignoring("conditional-deletes", &url)).await.unwrap();
    assert!(format!("{careful:?}").contains("conditional_delete: false"), "{careful:?}");
}

#[tokio::test]
async fn an_endpoint_without_conditional_deletes_is_found_out_and_used_with_care() {
    for (ignores, conditional) in
        [("nothing", "conditional_delete: true"), ("DELETE If-Match", "conditional_delete: false")]
    {
        let double = Double::start(0, careless(ignores)).await;
        let store = support::open(&format!("s3://k:s@127.0.0.1:{}/bucket?tls=false", double.port))
            .await
            .unwrap();
        assert!(format!("{store:?}").contains(conditional), "{ignores}: {store:?}");
    }
}

#[tokio::test]
async fn a_stranger_s_object_is_an_error_and_stays() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    support::open(&url).await.unwrap();
    let (client, bucket) = client(&url, None);
    let prefix = some_prefix();
    let store = S3Store::new(client.clone(), bucket.clone(), KeySpace::new(&prefix).unwrap());
    let key = some_key();
    let names =
        [format!("{prefix}{key}"), format!("{prefix}notes.txt"), format!("{prefix}{key}.bak")];
    for name in &names {
        client
            .put_object()
            .bucket(&bucket)
            .key(name)
            .body(b"not ours".map(|c| c ^ 1)[..5].to_vec().into())
            .send()
            .await
            .unwrap();
    }
    assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(store.create(&key, b"", within(60)).await.unwrap().is_none());
    let report = store
        .sweep(std::time::SystemTime::now() + Duration::from_secs(1 << 40), None, 1000)
        .await
        .unwrap();
    assert_eq!((report.examined(), report.removed()), (1, 0));
    for name in &names {
        client.head_object().bucket(&bucket).key(name).send().await.unwrap();
    }
}

/// A server that sends 64 MiB under every name, and counts what it got rid of.
async fn foreign_server(head: &'static str, sent: Arc<AtomicUsize>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let _ = stream.read(&mut request).await;
            let chunk = [&b"10000\r\n"[..], &vec![7; 65536], b"\r\n"].concat();
            let _ = stream.write_all(head.as_bytes()).await;
            for _ in 0..1024 {
                if stream.write_all(&chunk).await.is_err() {
                    break;
                }
                sent.fetch_add(chunk.len(), Ordering::SeqCst);
            }
        }
    });
    port
}

#[tokio::test]
async fn a_foreign_object_of_64_mib_is_not_read_whole() {
    for head in [
        "HTTP/1.1 200 OK\r\netag: \"x\"\r\ncontent-length: 67108864\r\n\r\n",
        "HTTP/1.1 200 OK\r\netag: \"x\"\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        let sent = Arc::new(AtomicUsize::new(0));
        let port = foreign_server(head, Arc::clone(&sent)).await;
        let (client, bucket) = client(&format!("s3://k:s@127.0.0.1:{port}/bucket"), None);
        let store = S3Store::new(client, bucket, KeySpace::new("").unwrap());
        let error = store.load(&some_key()).await.unwrap_err();
        assert!(error.is_corrupt() && error.to_string().contains("prefix of their own"), "{error}");
        assert!(sent.load(Ordering::SeqCst) < 32 << 20, "{sent:?} bytes");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unavailable_and_nothing_was_sent() {
    let url = "s3://key:hunter2@no-such-host.invalid:9000/bucket?tls=false&timeout=2s";
    let error = registry().open(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let (client, bucket) = client("s3://k:s@no-such-host.invalid:9000/bucket", None);
    let store = S3Store::new(client, bucket, KeySpace::new("").unwrap());
    let error = store.create(&some_key(), b"", within(60)).await.unwrap_err();
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
            store.create(&some_key(), b"", within(60)).await.unwrap_err(),
            store.load(&some_key()).await.unwrap_err(),
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

#[tokio::test]
async fn a_session_token_goes_with_every_request() {
    let double = Double::start(0, careless("nothing")).await;
    let url =
        format!("s3://k:s@127.0.0.1:{}/bucket?tls=false&session_token=a%2Fhunter2", double.port);
    let store = support::open(&url).await.unwrap();
    store.create(&some_key(), b"value", within(60)).await.unwrap().unwrap();
    let requests = double.take_requests();
    assert!(requests.len() > 10);
    for request in requests {
        assert_eq!(request.header("x-amz-security-token"), Some("a/hunter2"));
        assert!(request.header("authorization").unwrap().contains("x-amz-security-token"));
    }
    assert!(!format!("{store:?}").contains("hunter2"));
}
