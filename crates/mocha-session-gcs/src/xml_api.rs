//! The XML API, the only one that accepts HMAC keys.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use google_cloud_wkt::Timestamp;
use mocha_session_core::backend::objects::{
    Condition, Content, Head, Listed, Object, ObjectClient, Outcome, Page, too_large,
};
use mocha_session_core::store::{Bytes, Effect, Revision};
use mocha_session_core::{Error, ErrorKind, Result};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Url};

use crate::bucket::{
    Bucket, CACHE_CONTROL, CONTENT_TYPE, EXPIRES, acknowledged, custom_time, no_generation,
};
use crate::error::{self, Answer};
use crate::examine::{self, Access, Rules, Told};
use crate::markup::{each_text, error_code};
use crate::signature::{HmacKey, Unsigned, path, query};
use crate::url::Creation;

const IF_GENERATION: &str = "x-goog-if-generation-match";
/// Larger than any listing or error.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// A bucket behind the XML API.
#[derive(Debug)]
pub(crate) struct XmlApi {
    http: RwLock<Client>,
    /// The limit of connecting.
    connect: Duration,
    endpoint: String,
    host: String,
    bucket: String,
    key: HmacKey,
}

/// A request without its endpoint and signature.
struct Request<'a> {
    method: Method,
    /// The object; `None` for the bucket.
    name: Option<&'a str>,
    query: &'a [(&'a str, &'a str)],
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    effect: Effect,
    /// The maximum number of bytes to read of the answer.
    most: usize,
}

impl<'a> Request<'a> {
    fn read(method: Method, name: Option<&'a str>) -> Self {
        let (headers, body) = (Vec::new(), Bytes::new());
        Self { method, name, query: &[], headers, body, effect: Effect::Read, most: MAX_ANSWER }
    }

    fn write(method: Method, name: Option<&'a str>) -> Self {
        Self { effect: Effect::Write, ..Self::read(method, name) }
    }
}

impl XmlApi {
    pub(crate) fn new(
        endpoint: &str,
        bucket: &str,
        key: HmacKey,
        connect: Duration,
    ) -> Result<Self> {
        let url = Url::parse(endpoint)
            .map_err(|_| Error::new(ErrorKind::InvalidConfig, "the endpoint is not a URL"))?;
        // As the HTTP client spells it, because the signature covers it.
        let host = match (url.host_str().unwrap_or_default(), url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let endpoint = format!("{}://{host}", url.scheme());
        let http = RwLock::new(http_client(connect)?);
        Ok(Self { http, connect, endpoint, host, bucket: bucket.to_owned(), key })
    }

    /// Sends a request and reads its answer.
    async fn send(&self, request: Request<'_>) -> Result<(HeaderMap, Bytes), Answer> {
        let effect = request.effect;
        let failed = |error: reqwest::Error| Answer::Failed(error::transport(&error, effect));
        let (path, query) = (path(&self.bucket, request.name), query(request.query));
        let unsigned = Unsigned {
            method: request.method.as_str(),
            host: &self.host,
            path: &path,
            query: &query,
            headers: &request.headers,
            body: &request.body,
        };
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        let signed = unsigned.sign(&self.key, now);
        let url =
            format!("{}{path}{}{query}", self.endpoint, if query.is_empty() { "" } else { "?" });
        let http = self.http.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut call = http.request(request.method.clone(), url).body(request.body.clone());
        for (name, value) in request.headers.iter().chain(&signed) {
            call = call.header(*name, value);
        }
        let mut response = call.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > request.most {
                return Err(Answer::Failed(too_large(request.most)));
            }
            body.extend_from_slice(&chunk);
        }
        if response.status().is_success() {
            return Ok((std::mem::take(response.headers_mut()), Bytes::from(body)));
        }
        Err(error::of_status(response.status().as_u16(), &error_code(&body), effect))
    }
}

#[async_trait]
impl ObjectClient for XmlApi {
    async fn get(&self, name: &str, most: usize) -> Result<Option<Object>> {
        match self.send(Request { most, ..Request::read(Method::GET, Some(name)) }).await {
            Ok((headers, body)) => {
                Ok(Some(Object { head: head(&headers, body.len() as u64)?, body }))
            }
            Err(Answer::Absent) => Ok(None),
            Err(other) => Err(other.into_error()),
        }
    }

    async fn head(&self, name: &str) -> Result<Option<Head>> {
        match self.send(Request::read(Method::HEAD, Some(name))).await {
            Ok((headers, _)) => {
                let size = header(&headers, "content-length").unwrap_or_default();
                head(&headers, size).map(Some)
            }
            // The answer to a HEAD has no body that tells which is missing. The bucket exists,
            // because the object comes from its listing.
            Err(Answer::Absent | Answer::ObjectOrBucketMissing) => Ok(None),
            Err(other) => Err(other.into_error()),
        }
    }

    async fn put(&self, name: &str, to: Content, when: Condition<'_>) -> Result<Outcome<Revision>> {
        let Content { body, deadline } = to;
        let Some(generation) = condition(when) else { return Ok(Outcome::Unmet) };
        let headers = vec![
            (IF_GENERATION, generation),
            ("x-goog-custom-time", String::from(custom_time(deadline))),
            ("x-goog-meta-mocha-expires", deadline.to_string()),
            ("cache-control", CACHE_CONTROL.to_owned()),
            ("content-type", CONTENT_TYPE.to_owned()),
        ];
        match self.send(Request { headers, body, ..Request::write(Method::PUT, Some(name)) }).await
        {
            Ok((headers, _)) => acknowledged(revision(&headers)),
            Err(answer) => answer.of_write(true),
        }
    }

    async fn delete(&self, name: &str, expected: Option<&Revision>) -> Result<Outcome<()>> {
        let mut request = Request::write(Method::DELETE, Some(name));
        if let Some(expected) = expected {
            let Some(generation) = condition(Condition::Is(expected)) else {
                return Ok(Outcome::Unmet);
            };
            request.headers.push((IF_GENERATION, generation));
        }
        match self.send(request).await {
            Ok(_) => Ok(Outcome::Done(())),
            Err(answer) => answer.of_write(expected.is_some()),
        }
    }

    async fn list(&self, prefix: &str, limit: usize, after: Option<&str>) -> Result<Page> {
        let limit = limit.to_string();
        let mut query = Vec::with_capacity(4);
        query.extend(after.map(|after| ("continuation-token", after)));
        query.extend([("list-type", "2"), ("max-keys", &limit), ("prefix", prefix)]);
        let request = Request { query: &query, ..Request::read(Method::GET, None) };
        let (_, body) = self.send(request).await.map_err(Answer::into_error)?;
        listing(&body).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a listing of the bucket cannot be read as XML")
        })
    }

    fn delete_tells(&self) -> bool {
        true
    }

    async fn reconnect(&self) {
        if let Ok(renewed) = http_client(self.connect) {
            *self.http.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        }
    }
}

#[async_trait]
impl Bucket for XmlApi {
    async fn exists(&self) -> Result<bool> {
        let query = [("list-type", "2"), ("max-keys", "1")];
        match self.send(Request { query: &query, ..Request::read(Method::GET, None) }).await {
            Ok(_) => Ok(true),
            Err(Answer::NoBucket) => Ok(false),
            Err(other) => Err(other.into_error()),
        }
    }

    async fn create(&self, creation: &Creation) -> Result<()> {
        let body = creation.location.as_deref().map_or_else(String::new, |location| {
            let location = quick_xml::escape::escape(location);
            format!(
                "<CreateBucketConfiguration><LocationConstraint>{location}</LocationConstraint>\
                 </CreateBucketConfiguration>"
            )
        });
        let request = Request {
            headers: vec![("x-goog-project-id", creation.project.clone())],
            body: body.into(),
            ..Request::write(Method::PUT, None)
        };
        match self.send(request).await {
            Ok(_) | Err(Answer::Taken) => Ok(()),
            Err(other) => Err(other.into_error()),
        }
    }

    /// The API does not tell of soft deletion, nor of public access prevention.
    async fn examine(&self, limit: Duration) -> Told {
        let ask = async |what: &str| {
            let request = Request { query: &[(what, "")], ..Request::read(Method::GET, None) };
            examine::told(limit, self.send(request)).await
        };
        let begun = SystemTime::now();
        let lifecycle = ask("lifecycle").await;
        let date = lifecycle.as_ref().and_then(|(headers, _)| headers.get("date")?.to_str().ok());
        let clock = Some(examine::clock(begun, date));
        let rules = match (lifecycle, ask("versioning").await) {
            (Some((_, lifecycle)), Some((_, versioning))) => Some(Rules {
                deletes: has_text(&lifecycle, "Delete", ""),
                keeps_versions: has_text(&versioning, "Status", "Enabled"),
                ..Rules::default()
            }),
            _ => None,
        };
        let access = ask("acl").await.map(|(_, list)| {
            let list = String::from_utf8_lossy(&list).replace('\'', "\"");
            let public = ["\"AllUsers\"", "\"AllAuthenticatedUsers\""];
            public.iter().any(|scope| list.contains(scope)).then_some(Access::Public)
        });
        // A bucket can be public by its policy too, of which this API does not tell.
        let access = access.flatten();
        Told { rules, access, clock }
    }
}

fn http_client(connect: Duration) -> Result<Client> {
    let built = Client::builder()
        .user_agent(concat!("mocha-session-gcs/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        // A dropped call then closes its connection. A shared one that fell silent would block all
        // calls.
        .http1_only()
        .retry(reqwest::retry::never())
        .connect_timeout(connect)
        .build();
    built.map_err(|error| {
        Error::new(ErrorKind::Internal, "the HTTP client could not be built").with_source(error)
    })
}

/// The generation of a condition; `None` for a revision that this store did not make.
fn condition(when: Condition<'_>) -> Option<String> {
    match when {
        Condition::Absent => Some("0".to_owned()),
        // To Google 0 means "no object", and an update must not create one.
        Condition::Is(expected) => expected.as_u64().filter(|it| *it > 0).map(|it| it.to_string()),
    }
}

fn head(headers: &HeaderMap, size: u64) -> Result<Head> {
    let deadline = header(headers, &format!("x-goog-meta-{EXPIRES}"));
    Ok(Head { revision: revision(headers)?, size, deadline })
}

/// Returns whether an element of this name has this text.
fn has_text(xml: &[u8], name: &str, text: &str) -> bool {
    let mut found = false;
    let whole = each_text(xml, |element, own| found |= element == name && own == text);
    found && whole.is_some()
}

fn header(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn revision(headers: &HeaderMap) -> Result<Revision> {
    let generation = header(headers, "x-goog-generation").filter(|generation| *generation > 0);
    generation.map(Revision::from).ok_or_else(no_generation)
}

/// Reads a listing, which has the size and the time of the last write, but not the deadline.
fn listing(xml: &[u8]) -> Option<Page> {
    let mut page = Page::default();
    each_text(xml, |element, text| match (element, page.objects.last_mut()) {
        ("Key", _) => {
            let (name, written) = (text.to_owned(), SystemTime::UNIX_EPOCH);
            page.objects.push(Listed { name, size: 0, written, head: None });
        }
        ("Size", Some(object)) => object.size = text.parse().unwrap_or_default(),
        ("LastModified", Some(object)) => {
            let written =
                Timestamp::try_from(text).ok().and_then(|at| SystemTime::try_from(at).ok());
            object.written = written.unwrap_or(SystemTime::UNIX_EPOCH);
        }
        ("NextContinuationToken", _) if !text.is_empty() => page.next = Some(text.to_owned()),
        _ => {}
    })?;
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_shows_when_each_object_was_written() {
        let xml =
            b"<ListBucketResult><Contents><Key>a</Key><LastModified>2019-03-01T19:08:59.5Z</LastModified>\
            <Size>17</Size></Contents><Contents><Key>b</Key></Contents></ListBucketResult>";
        let page = listing(xml).unwrap();
        let [one, other] = page.objects.as_slice() else { panic!("{page:?}") };
        assert_eq!((one.name.as_str(), one.size), ("a", 17));
        assert_eq!(one.written, SystemTime::UNIX_EPOCH + Duration::from_millis(1_551_467_339_500));
        assert_eq!((other.name.as_str(), other.written), ("b", SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn the_host_is_signed_as_it_is_sent() {
        for (endpoint, host) in [
            ("https://storage.googleapis.com", "storage.googleapis.com"),
            ("https://gcs.example:443", "gcs.example"),
            ("http://127.0.0.1:80", "127.0.0.1"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            let xml =
                XmlApi::new(endpoint, "b", HmacKey::new("a", "s"), Duration::from_secs(1)).unwrap();
            assert_eq!(xml.host, host);
        }
    }
}
