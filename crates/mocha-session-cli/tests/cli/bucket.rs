//! A bucket in memory that answers as S3 does, after the time that S3 takes.
//!
//! It keeps the conditions of writes, but verifies no signature. The tests' S3 server cannot show
//! how many calls a copy makes, and how many of them at the same time, and is too slow for a copy
//! of many sessions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const DEADLINE: &str = "x-amz-meta-session-deadline";

type Answer = Response<Full<Bytes>>;

struct Object {
    body: Bytes,
    tag: String,
    deadline: String,
}

/// The bucket. Its server ends with the test's runtime.
pub(crate) struct Bucket {
    objects: Mutex<BTreeMap<String, Object>>,
    takes: Duration,
    writes: AtomicUsize,
    calls: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Bucket {
    /// Starts a server whose every answer takes this long. Returns the URL of its bucket.
    pub(crate) async fn start(takes: Duration) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bucket = Arc::new(Self {
            objects: Mutex::default(),
            takes,
            writes: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        });
        let served = Arc::clone(&bucket);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let bucket = Arc::clone(&served);
                let service = service_fn(move |request| Arc::clone(&bucket).answer(request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        (bucket, format!("s3://key:secret@127.0.0.1:{port}/sessions?tls=false&region=us-east-1"))
    }

    /// The number of objects.
    pub(crate) fn len(&self) -> usize {
        self.objects.lock().unwrap().len()
    }

    /// The number of calls since the last time this was asked, and the largest number of them that
    /// were under way at the same time.
    pub(crate) fn take_calls(&self) -> (usize, usize) {
        let most = self.most_under_way.swap(0, Ordering::SeqCst);
        (self.calls.swap(0, Ordering::SeqCst), most)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_or_else(|_| Bytes::new(), Collected::to_bytes);
        self.calls.fetch_add(1, Ordering::SeqCst);
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        let name = head.uri.path().splitn(3, '/').nth(2).unwrap_or_default();
        let answer = match head.method {
            Method::GET if name.is_empty() => self.list(head.uri.query().unwrap_or_default()),
            Method::GET | Method::HEAD => self.read(name),
            Method::PUT => self.write(name, &head.headers, body),
            Method::DELETE => self.delete(name, &head.headers),
            _ => error(501, "NotImplemented"),
        };
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(answer)
    }

    fn read(&self, name: &str) -> Answer {
        match self.objects.lock().unwrap().get(name) {
            None => error(404, "NoSuchKey"),
            Some(object) => Response::builder()
                .header("etag", &object.tag)
                .header(DEADLINE, &object.deadline)
                .body(object.body.clone().into())
                .unwrap(),
        }
    }

    fn write(&self, name: &str, headers: &HeaderMap, body: Bytes) -> Answer {
        let mut objects = self.objects.lock().unwrap();
        if let Some(refusal) = refusal(objects.get(name), headers) {
            return refusal;
        }
        let write = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let tag = format!("\"{write:032x}\"");
        let deadline = headers[DEADLINE].to_str().unwrap().to_owned();
        objects.insert(name.to_owned(), Object { body, tag: tag.clone(), deadline });
        Response::builder().header("etag", tag).body(Full::default()).unwrap()
    }

    fn delete(&self, name: &str, headers: &HeaderMap) -> Answer {
        let mut objects = self.objects.lock().unwrap();
        if let Some(refusal) = refusal(objects.get(name), headers) {
            return refusal;
        }
        objects.remove(name);
        Response::builder().status(204).body(Full::default()).unwrap()
    }

    /// A page of names. The name of the last is the token of the next page.
    fn list(&self, query: &str) -> Answer {
        let option = |name: &str| {
            let pair = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pair.into_iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.replace("%2F", "/"))
        };
        let prefix = option("prefix").unwrap_or_default();
        let limit: usize = option("max-keys").map_or(1_000, |keys| keys.parse().unwrap());
        let from =
            option("continuation-token").map_or(Bound::Included(prefix.clone()), Bound::Excluded);
        let objects = self.objects.lock().unwrap();
        let mut rest = objects
            .range((from, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(&prefix))
            .peekable();
        let (mut page, mut last) = (String::new(), "");
        for (name, object) in rest.by_ref().take(limit) {
            let size = object.body.len();
            write!(
                page,
                "<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <Size>{size}</Size></Contents>"
            )
            .unwrap();
            last = name;
        }
        let next = if rest.peek().is_some() {
            format!("<NextContinuationToken>{last}</NextContinuationToken>")
        } else {
            String::new()
        };
        xml(200, &format!("<ListBucketResult>{page}{next}</ListBucketResult>"))
    }
}

/// The answer where the condition of a request does not hold.
fn refusal(found: Option<&Object>, headers: &HeaderMap) -> Option<Answer> {
    let tag = found.map(|object| object.tag.as_str());
    match (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH)) {
        (Some(_), _) if tag.is_none() => Some(error(404, "NoSuchKey")),
        (Some(expected), _) if tag.is_some_and(|tag| *expected != tag) => {
            Some(error(412, "PreconditionFailed"))
        }
        (_, Some(_)) if tag.is_some() => Some(error(412, "PreconditionFailed")),
        _ => None,
    }
}

fn error(status: u16, code: &str) -> Answer {
    xml(status, &format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
}

fn xml(status: u16, text: &str) -> Answer {
    let answer = Response::builder().status(status).header("content-type", "application/xml");
    answer.body(text.to_owned().into()).unwrap()
}
