//! Stores, clients, and an HTTP server of the tests' own: it passes requests on, loses answers, or
//! answers by itself.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::http::request::Parts;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
pub(crate) use mocha_session_conformance::tools::fresh_key;
use mocha_session_core::store::{Expiry, SessionStore};
use mocha_session_core::{Registry, StoreUrl};
use mocha_session_s3::aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use mocha_session_s3::aws_sdk_s3::{Client, Config};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(crate) fn registry() -> Registry {
    Registry::new().register(mocha_session_s3::DRIVER)
}

pub(crate) async fn open(url: &str) -> Option<Arc<dyn SessionStore>> {
    let storage = registry().open(url).await;
    storage.expect("the store opens").store().cloned()
}

/// A client of the test's own for the server of a test URL, or for another endpoint, with the SDK's
/// own retries.
pub(crate) fn client(url: &str, endpoint: Option<&str>) -> (Client, String) {
    let mut url = StoreUrl::parse(url).unwrap();
    let own =
        url.take("endpoint").unwrap_or_else(|| format!("http://{}", url.hosts()[0].authority(80)));
    let region = url.take("region").unwrap_or_else(|| "us-east-1".to_owned());
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(Credentials::new(
            url.username().unwrap(),
            url.password().unwrap(),
            None,
            None,
            "test",
        ))
        .endpoint_url(endpoint.unwrap_or(&own))
        .force_path_style(true)
        .build();
    (Client::from_conf(config), url.split_path().0.to_owned())
}

/// The URL of the bucket of the tests' server that ignores these conditions.
pub(crate) fn ignoring(conditions: &str, url: &str) -> String {
    let bucket = StoreUrl::parse(url).unwrap().split_path().0.to_owned();
    url.replacen(&format!("/{bucket}"), &format!("/ignores-{conditions}"), 1)
}

/// The same URL with its requests sent to another server, and perhaps another bucket, prefix or
/// secret.
pub(crate) fn through(url: &str, port: u16, bucket: Option<&str>) -> String {
    let url = StoreUrl::parse(url).unwrap();
    let encode = |text: &str| {
        text.replace('%', "%25").replace('/', "%2F").replace('+', "%2B").replace('@', "%40")
    };
    let (key, secret) = (encode(url.username().unwrap()), encode(url.password().unwrap()));
    let bucket = bucket.unwrap_or(url.split_path().0).to_owned();
    format!("s3://{key}:{secret}@127.0.0.1:{port}/{bucket}?tls=false&prefix={}", some_prefix())
}

/// The port of a test URL's server.
pub(crate) fn port(url: &str) -> u16 {
    let mut url = StoreUrl::parse(url).unwrap();
    match url.take("endpoint") {
        Some(endpoint) => StoreUrl::parse(&endpoint).unwrap().hosts()[0].port().unwrap(),
        None => url.hosts()[0].port().unwrap(),
    }
}

pub(crate) fn some_prefix() -> String {
    format!("test-{:016x}/", fastrand::u64(..))
}

pub(crate) fn within(secs: u64) -> Expiry {
    Expiry::after(Duration::from_secs(secs), SystemTime::now())
}

/// A request as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    head: Parts,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn method(&self) -> &str {
        self.head.method.as_str()
    }

    /// Path and query.
    pub(crate) fn target(&self) -> String {
        self.head.uri.to_string()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// `PUT` with `If-Match`, `GET`, `LIST` …: what it costs and what it does, in a word.
    pub(crate) fn kind(&self) -> String {
        let list = self.method() == "GET" && self.target().contains("list-type=2");
        let kind = if list { "LIST" } else { self.method() };
        match (self.header("if-match"), self.header("if-none-match")) {
            (Some(_), _) => format!("{kind} If-Match"),
            (_, Some(_)) => format!("{kind} If-None-Match"),
            _ => kind.to_owned(),
        }
    }
}

/// The reply of a [`Double`] to a request.
pub(crate) enum Reply {
    /// Pass it on and give the answer back.
    Pass,
    /// Pass it on, wait for the answer, and break the connection instead of giving it.
    Lose,
    /// Pass it on once the test says so, and give the answer back.
    PassAfter(Arc<Notify>),
    /// Break the connection.
    Cut,
    /// Never answer.
    Hang,
    /// Answer: status, header lines, body.
    Answer(u16, String, Vec<u8>),
}

impl Reply {
    /// An error as S3 words it.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>no</Message>\
             <AWSAccessKeyId>AKIALEAK</AWSAccessKeyId><Resource>/bucket/leak</Resource></Error>"
        );
        Self::Answer(status, "content-type: application/xml\r\n".to_owned(), body.into_bytes())
    }
}

/// A server on a free port of 127.0.0.1 that does with each request what it is told, and remembers
/// them all.
pub(crate) struct Double {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Double {
    /// `upstream` is the port requests are passed on to.
    pub(crate) async fn start(
        upstream: u16,
        act: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (act, log) = (Arc::new(act), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (act, log) = (Arc::clone(&act), Arc::clone(&log));
                tokio::spawn(async move { serve(stream, upstream, &*act, &log).await });
            }
        });
        Self { port, seen, task }
    }

    /// Waits until a request of this kind was seen.
    pub(crate) async fn until(&self, kind: &str) {
        for _ in 0..1000 {
            if self.seen.lock().unwrap().iter().any(|request| request.kind() == kind) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {kind} came");
    }

    /// The kinds of the requests since the last time this was asked.
    pub(crate) fn take(&self) -> Vec<String> {
        self.seen.lock().unwrap().drain(..).map(|request| request.kind()).collect()
    }

    /// The requests since the last time this was asked.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().drain(..).collect()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    upstream: u16,
    act: &(dyn Fn(&Request) -> Reply + Send + Sync),
    log: &Mutex<Vec<Request>>,
) {
    let answer = service_fn(async |request: hyper::Request<Incoming>| {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let request = Request { head, body };
        let reply = act(&request);
        log.lock().unwrap().push(request.clone());
        match reply {
            Reply::Pass => pass(request, upstream).await,
            // An error ends the connection instead of an answer.
            Reply::Lose => pass(request, upstream).await.and(Err(io::Error::other("lost"))),
            Reply::PassAfter(go) => {
                go.notified().await;
                pass(request, upstream).await
            }
            Reply::Cut => Err(io::Error::other("cut")),
            Reply::Hang => std::future::pending().await,
            Reply::Answer(status, headers, body) => {
                let mut answer = hyper::Response::builder().status(status);
                for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
                    answer = answer.header(name, value);
                }
                answer.body(Full::from(body)).map_err(io::Error::other)
            }
        }
    });
    drop(server::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
}

async fn pass(request: Request, upstream: u16) -> io::Result<hyper::Response<Full<Bytes>>> {
    let stream = TcpStream::connect(("127.0.0.1", upstream)).await?;
    let connected = handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::from_parts(request.head, Full::new(request.body));
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let (mut head, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    head.headers.remove("transfer-encoding");
    Ok(hyper::Response::from_parts(head, Full::new(body)))
}
