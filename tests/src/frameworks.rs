//! One application under each web framework: the same routes, whatever serves them.
//!
//! | route | what it does |
//! |---|---|
//! | `GET /untouched` | nothing with the session |
//! | `GET /lazy` | asks for the handle and does not load it |
//! | `GET /read` | the value `n`, or 0 |
//! | `GET /contains` | whether there is `n` |
//! | `GET /optional` | `some` or `none`, from an optional extractor |
//! | `GET /owner` | the owner |
//! | `POST /count` | `n` plus one |
//! | `POST /set/{key}/{value}` | a text |
//! | `GET /get/{key}` | the text |
//! | `POST /clear` `/login/{who}` `/rotate` `/logout` | what they say |
//! | `POST /status/{status}` | sets `n` to 99 and answers with this status |
//! | `POST /committed/{status}` | logs `early` in, commits, sets `n` to 99 and answers with this status |
//! | `POST /panic` | sets `n` to 99 and panics |
//! | `POST /slow` | loads, waits until the test says so, sets `slow` |
//! | `POST /flash/{text}` | pushes an info message and redirects |
//! | `GET /messages/{status}` | reads the messages and shows them in a response of this status |
//! | `GET /cached` `POST /cached` | an application's own `Cache-Control` and cookie, read or written |

mod actix_app;
mod axum_app;

pub use actix_app::Actix;
pub use axum_app::Axum;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::BodyExt;
use mocha_session::SessionManager;
use tokio::sync::Semaphore;

use crate::secrecy;

/// A web framework that serves the application.
pub trait Framework {
    /// Serves it with sessions of this manager. `gate` is what `/slow` waits for.
    fn serve(manager: SessionManager, gate: Gate) -> Box<dyn Client>;
}

/// What `/slow` waits for, and how a test learns that it waits.
#[derive(Clone, Debug)]
pub struct Gate {
    arrived: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

impl Gate {
    /// A closed gate.
    #[allow(clippy::new_without_default, reason = "a closed gate is no default of anything")]
    pub fn new() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), released: Arc::new(Semaphore::new(0)) }
    }

    /// The handler's side: says that it is there and waits.
    pub async fn pass(&self) {
        self.arrived.add_permits(1);
        self.released.acquire().await.unwrap().forget();
    }

    /// The test's side: waits for a handler to arrive.
    pub async fn arrived(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    /// Lets one handler pass.
    pub fn release(&self) {
        self.released.add_permits(1);
    }
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Send {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Send {
    /// A request without headers.
    pub fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a cookie, if there is one.
    #[must_use]
    pub fn cookie(self, cookie: Option<String>) -> Self {
        match cookie {
            Some(cookie) => self.header("cookie", cookie),
            None => self,
        }
    }

    /// The request in the types of the `http` crate.
    fn into_http<B>(self, body: B) -> http::Request<B> {
        let mut builder = http::Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        builder.body(body).unwrap()
    }
}

/// A response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The response in the types of the `http` crate, read to its end.
    async fn read<B>(response: http::Response<B>) -> Self
    where
        B: BodyExt,
        B::Error: fmt::Debug,
    {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            let value = value.to_str().unwrap();
            match name.as_str() {
                "session-token" => secrecy::learn(value),
                "set-cookie" => {
                    let own = value.strip_prefix("__Host-session=").unwrap_or_default();
                    secrecy::learn(own.split(';').next().unwrap_or_default());
                }
                _ => {}
            }
            (name.to_string(), value.to_owned())
        };
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers.iter().map(line).collect(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// All values of a header.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header, joined.
    pub fn header(&self, name: &str) -> String {
        self.all(name).collect::<Vec<_>>().join(", ")
    }

    /// The session's cookie line, if there is one.
    pub fn session_line(&self) -> Option<&str> {
        self.all("set-cookie").find(|line| line.starts_with("__Host-session="))
    }
}

/// An answer to come.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + std::marker::Send + 'a>>;

/// Sends requests to a served application.
pub trait Client: fmt::Debug + std::marker::Send + Sync {
    /// Sends one.
    fn send(&self, request: Send) -> Answering<'_>;
    /// The client again, for a task of its own.
    fn again(&self) -> Box<dyn Client>;
}
