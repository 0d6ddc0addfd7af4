//! The lane of the XML API, for HMAC keys: the only API that takes them.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use google_cloud_wkt::Timestamp;
use mocha_session_core::store::{Bytes, Expiry, Revision, Stored};
use mocha_session_core::{Error, ErrorKind, Result};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Url};

use crate::failure::{self, Answer, Effect};
use crate::lane::{
    CACHE_CONTROL, CONTENT_TYPE, EXPIRES, Found, Lane, Listing, MAX_VALUE, Seen, custom_time, oversized,
    within,
};
use crate::markup::{each_text, error_code};
use crate::signature::{HmacKey, Unsigned, path, query};
use crate::target::Creation;

const IF_GENERATION: &str = "x-goog-if-generation-match";

/// A bucket, reached with an HMAC key.
#[derive(Debug)]
pub(crate) struct Xml {
    http: Client,
    endpoint: String,
    host: String,
    bucket: String,
    key: HmacKey,
    deadline: Duration,
}

/// A request but for where it goes and the signature.
struct Request<'a> {
    method: Method,
    /// The object; `None`: the bucket.
    name: Option<&'a str>,
    query: &'a [(&'a str, &'a str)],
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    effect: Effect,
}

impl<'a> Request<'a> {
    fn read(method: Method, name: Option<&'a str>) -> Self {
        Self { method, name, query: &[], headers: Vec::new(), body: Bytes::new(), effect: Effect::Read }
    }

    fn write(method: Method, name: Option<&'a str>) -> Self {
        Self { effect: Effect::Write, ..Self::read(method, name) }
    }
}

impl Xml {
    pub(crate) fn new(endpoint: &str, bucket: &str, key: HmacKey, deadline: Duration) -> Result<Self> {
        let built = Client::builder()
            .user_agent(concat!("mocha-session-gcs/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // A dropped call closes its connection: on one shared by many, a peer gone silent would hold up all.
            .http1_only()
            .retry(reqwest::retry::never())
            .connect_timeout(deadline)
            .build();
        let http = built.map_err(|error| {
            Error::new(ErrorKind::Internal, "the HTTP client could not be built").with_source(error)
        })?;
        let url = Url::parse(endpoint)
            .map_err(|_| Error::new(ErrorKind::InvalidConfig, "the endpoint is no URL"))?;
        // As the HTTP client will spell it: the signature covers it.
        let host = match (url.host_str().unwrap_or_default(), url.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let endpoint = format!("{}://{host}", url.scheme());
        Ok(Self { http, endpoint, host, bucket: bucket.to_owned(), key, deadline })
    }

    /// Sends a request and reads its answer. What only reads is tried three times, as the official client does here.
    async fn send(&self, request: Request<'_>) -> Result<(HeaderMap, Bytes), Answer> {
        let tries = async {
            for pause in [100, 300] {
                match self.exchange(&request).await {
                    Err(Answer::Failed(error))
                        if request.effect == Effect::Read && error.kind() == ErrorKind::Unavailable => {}
                    answer => return answer,
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            self.exchange(&request).await
        };
        within(self.deadline, tries).await.map_err(Answer::Failed)?
    }

    async fn exchange(&self, request: &Request<'_>) -> Result<(HeaderMap, Bytes), Answer> {
        let effect = request.effect;
        let failed = |error: reqwest::Error| Answer::Failed(failure::transport(&error, effect));
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
        let url = format!("{}{path}{}{query}", self.endpoint, if query.is_empty() { "" } else { "?" });
        let mut call = self.http.request(request.method.clone(), url).body(request.body.clone());
        for (name, value) in request.headers.iter().chain(&signed) {
            call = call.header(*name, value);
        }
        let mut response = call.send().await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_VALUE {
                return Err(Answer::Failed(oversized()));
            }
            body.extend_from_slice(&chunk);
        }
        if response.status().is_success() {
            return Ok((std::mem::take(response.headers_mut()), Bytes::from(body)));
        }
        Err(failure::status(response.status().as_u16(), &error_code(&body), effect))
    }

    async fn look(&self, name: &str) -> Result<Option<Seen>> {
        match self.send(Request::read(Method::HEAD, Some(name))).await {
            Ok((headers, _)) => {
                let expires = header(&headers, &format!("x-goog-meta-{EXPIRES}"));
                Ok(Some(Seen { generation: generation(&headers)?, expires }))
            }
            // An answer to HEAD has no body to say what is missing; that the bucket is there, the listing has shown.
            Err(Answer::Absent | Answer::ObjectOrBucketMissing) => Ok(None),
            Err(other) => Err(other.into_error()),
        }
    }
}

#[async_trait]
impl Lane for Xml {
    fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    async fn read(&self, name: &str) -> Result<Option<Stored>> {
        match self.send(Request::read(Method::GET, Some(name))).await {
            Ok((headers, body)) => Ok(Some(Stored::new(body, Revision::from(generation(&headers)?)))),
            Err(Answer::Absent) => Ok(None),
            Err(other) => Err(other.into_error()),
        }
    }

    async fn write(
        &self,
        name: &str,
        value: &[u8],
        expiry: Expiry,
        expected: u64,
    ) -> Result<Option<Revision>> {
        let headers = vec![
            (IF_GENERATION, expected.to_string()),
            ("x-goog-custom-time", String::from(custom_time(expiry))),
            ("x-goog-meta-mocha-expires", expiry.at_millis().to_string()),
            ("cache-control", CACHE_CONTROL.to_owned()),
            ("content-type", CONTENT_TYPE.to_owned()),
        ];
        let request = Request {
            headers,
            body: Bytes::copy_from_slice(value),
            ..Request::write(Method::PUT, Some(name))
        };
        match self.send(request).await {
            Ok((headers, _)) => generation(&headers).map(|generation| Some(Revision::from(generation))),
            Err(Answer::Mismatch | Answer::Absent) => Ok(None),
            Err(other) => Err(other.into_error()),
        }
    }

    async fn remove(&self, name: &str, generation: Option<u64>) -> Result<bool> {
        let headers = generation.map(|generation| (IF_GENERATION, generation.to_string()));
        let request =
            Request { headers: headers.into_iter().collect(), ..Request::write(Method::DELETE, Some(name)) };
        match self.send(request).await {
            Ok(_) => Ok(true),
            Err(Answer::Absent) => Ok(false),
            Err(Answer::Mismatch) if generation.is_some() => Ok(false),
            Err(other) => Err(other.into_error()),
        }
    }

    async fn list(&self, prefix: &str, limit: usize, after: Option<&str>) -> Result<Listing> {
        let limit = limit.to_string();
        let mut query = Vec::with_capacity(4);
        query.extend(after.map(|after| ("continuation-token", after)));
        query.extend([("list-type", "2"), ("max-keys", &limit), ("prefix", prefix)]);
        let request = Request { query: &query, ..Request::read(Method::GET, None) };
        let (_, body) = self.send(request).await.map_err(Answer::into_error)?;
        let mut listing = Listing::default();
        let read = each_text(&body, |element, text| match element {
            "Key" => listing.found.push(Found { name: text.to_owned(), seen: None }),
            "NextContinuationToken" => listing.next = Some(text.to_owned()),
            _ => {}
        });
        match read {
            Some(()) => Ok(listing),
            None => Err(Error::new(ErrorKind::Internal, "a listing of the bucket cannot be read as XML")),
        }
    }

    async fn examine(&self, found: &Found) -> Result<Option<Seen>> {
        self.look(&found.name).await
    }

    async fn bucket_exists(&self) -> Result<bool> {
        let query = [("list-type", "2"), ("max-keys", "1")];
        match self.send(Request { query: &query, ..Request::read(Method::GET, None) }).await {
            Ok(_) => Ok(true),
            Err(Answer::NoBucket) => Ok(false),
            Err(other) => Err(other.into_error()),
        }
    }

    async fn create_bucket(&self, creation: &Creation) -> Result<()> {
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
}

fn header(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn generation(headers: &HeaderMap) -> Result<u64> {
    header(headers, "x-goog-generation").filter(|generation| *generation > 0).ok_or_else(|| {
        Error::new(ErrorKind::Internal, "an answer of Google Cloud Storage names no generation")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_signed_as_it_is_sent() {
        for (endpoint, host) in [
            ("https://storage.googleapis.com", "storage.googleapis.com"),
            ("https://gcs.example:443", "gcs.example"),
            ("http://127.0.0.1:80", "127.0.0.1"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            let lane = Xml::new(endpoint, "b", HmacKey::new("a", "s"), Duration::from_secs(1)).unwrap();
            assert_eq!(lane.host, host);
        }
    }
}
