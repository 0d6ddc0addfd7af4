//! Endpoints that are not Amazon's: some ignore conditions, some hold other objects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mocha_session_conformance::engine_url;
use mocha_session_core::ErrorKind;
use mocha_session_core::store::{KeySpace, SessionStore};
use mocha_session_s3::S3Store;
use support::{Double, Reply, Request, client, fresh_key, ignoring, registry, some_prefix, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An S3-like endpoint in memory, which ignores what it is told to ignore.
fn careless(ignores: &'static str) -> impl Fn(&Request) -> Reply + Send + Sync {
    let objects: Mutex<HashMap<String, (String, Vec<u8>)>> = Mutex::default();
    let writes = AtomicUsize::new(0);
    move |request| {
        let mut objects = objects.lock().unwrap();
        let name = request.target().split('?').next().unwrap().to_owned();
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
        match request.method() {
            "PUT" => {
                let etag = format!("\"{}\"", writes.fetch_add(1, Ordering::SeqCst));
                objects.insert(name, (etag.clone(), request.body.to_vec()));
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
    let key = fresh_key();
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
        let error = store.load(&fresh_key()).await.unwrap_err();
        assert!(error.is_corrupt() && error.to_string().contains("prefix of their own"), "{error}");
        assert!(sent.load(Ordering::SeqCst) < 32 << 20, "{sent:?} bytes");
    }
}

#[tokio::test]
async fn a_session_token_goes_with_every_request() {
    let double = Double::start(0, careless("nothing")).await;
    let url =
        format!("s3://k:s@127.0.0.1:{}/bucket?tls=false&session_token=a%2Fhunter2", double.port);
    let store = support::open(&url).await.unwrap();
    store.create(&fresh_key(), b"value", within(60)).await.unwrap().unwrap();
    let requests = double.take_requests();
    assert!(requests.len() > 10);
    for request in requests {
        assert_eq!(request.header("x-amz-security-token"), Some("a/hunter2"));
        assert!(request.header("authorization").unwrap().contains("x-amz-security-token"));
    }
    assert!(!format!("{store:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_examination_compares_the_endpoints_clock_by_the_date_of_an_answer() {
    for (date, danger) in [("", false), ("date: Wed, 21 Oct 2015 07:28:00 GMT\r\n", true)] {
        let double =
            Double::start(0, move |_| Reply::Answer(404, date.to_owned(), Vec::new())).await;
        let endpoint = format!("http://127.0.0.1:{}", double.port);
        let (client, bucket) = client("s3://key:secret@127.0.0.1/bucket", Some(&endpoint));
        let store = S3Store::new(client, bucket, KeySpace::new("sessions/").unwrap());
        let found = store.examine().await.unwrap();
        let clock: Vec<_> =
            found.iter().filter(|finding| finding.to_string().contains("clock is")).collect();
        assert_eq!(clock.len(), 1, "{found:?}");
        assert_eq!(clock[0].is_danger(), danger, "{clock:?}");
    }
}
