//! The requests of each workload, and the client that sends them and keeps its cookies.

use std::fmt;

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::data;

/// An application over one library and one engine.
pub trait Subject: Clone + Send + 'static {
    type Client: Client + 'static;

    /// A client of the application, on the thread that asks for it: an application of actix cannot
    /// leave its thread, so each thread has its own, over the same store.
    fn client(&self) -> impl Future<Output = Self::Client>;
}

/// An application that answers requests in process.
pub trait Client: Clone {
    type Reply: Reply;

    fn call(
        &mut self,
        path: &'static str,
        cookie: Option<&HeaderValue>,
    ) -> impl Future<Output = Self::Reply>;
}

/// The response of an application.
pub trait Reply {
    fn status(&self) -> u16;
    /// Changes what the visitor sends next as this response says: its cookies, or its token.
    fn keep(&self, kept: &mut Option<HeaderValue>);
    fn text(self) -> impl Future<Output = String>;
}

/// The workloads, in the order of the tables' columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Workload {
    /// No cookie, the session untouched.
    W1,
    /// A valid cookie, the session untouched.
    W2,
    /// A valid cookie, one value read.
    W3,
    /// A valid cookie, the counter read, incremented, written.
    W4,
    /// No cookie, the data inserted, the cookie set.
    W5,
    /// The same through a login, indexed by owner.
    W5L,
    /// The id rotated.
    W6,
    /// A flash message pushed, redirected, read and consumed: two requests.
    F,
}

impl Workload {
    pub const ALL: [Self; 8] =
        [Self::W1, Self::W2, Self::W3, Self::W4, Self::W5, Self::W5L, Self::W6, Self::F];

    fn needs_session(self) -> bool {
        !matches!(self, Self::W1 | Self::W5 | Self::W5L)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A client with its cookies, or with its token.
pub struct Visitor<C> {
    client: C,
    cookie: Option<HeaderValue>,
}

impl<C: Client> Visitor<C> {
    pub fn new(client: C) -> Self {
        Self { client, cookie: None }
    }

    /// Begins a session, so that the workloads that need one have it.
    pub async fn prepare(&mut self, workload: Workload) {
        if workload.needs_session() && self.cookie.is_none() {
            self.send("/fill", 200).await;
            assert!(self.cookie.is_some(), "no cookie was set");
        }
    }

    /// Runs one round of a workload.
    pub async fn step(&mut self, workload: Workload) {
        match workload {
            Workload::W1 => self.send_as_stranger("/untouched").await,
            Workload::W2 => self.send("/untouched", 200).await,
            Workload::W3 => self.send("/read", 200).await,
            Workload::W4 => self.send("/count", 200).await,
            Workload::W5 => self.send_as_stranger("/fill").await,
            Workload::W5L => self.send_as_stranger("/login").await,
            Workload::W6 => self.send("/rotate", 200).await,
            Workload::F => {
                self.send("/flash", 303).await;
                self.send("/flashed", 200).await;
            }
        }
    }

    async fn send(&mut self, path: &'static str, status: u16) {
        let reply = self.client.call(path, self.cookie.as_ref()).await;
        assert_eq!(reply.status(), status, "{path}");
        reply.keep(&mut self.cookie);
    }

    async fn send_as_stranger(&mut self, path: &'static str) {
        let reply = self.client.call(path, None).await;
        assert_eq!(reply.status(), 200, "{path}");
    }

    async fn read(&mut self, path: &'static str) -> String {
        let reply = self.client.call(path, self.cookie.as_ref()).await;
        reply.keep(&mut self.cookie);
        reply.text().await
    }

    /// Checks that the subject performs the workloads, and returns those that it knows: a bare
    /// handler has no sessions, and most libraries do not list the sessions of a user.
    pub async fn verify(&mut self) -> Vec<Workload> {
        assert_eq!(self.read("/untouched").await, "ok");
        let sessions = self.knows("/fill").await;
        if sessions {
            self.verify_sessions().await;
        }
        let login = self.knows("/login").await;
        if login {
            self.send("/login", 200).await;
            assert_eq!(self.read("/read").await, data::USER_ID.to_string());
        }
        self.cookie = None;
        let known = |workload: &Workload| match workload {
            Workload::W1 => true,
            Workload::W5L => login,
            _ => sessions,
        };
        Workload::ALL.into_iter().filter(known).collect()
    }

    async fn knows(&mut self, path: &'static str) -> bool {
        self.cookie = None;
        self.client.call(path, None).await.status() != 404
    }

    async fn verify_sessions(&mut self) {
        self.send("/fill", 200).await;
        assert_eq!(self.read("/read").await, data::USER_ID.to_string());
        for count in 1..=3 {
            assert_eq!(self.read("/count").await, count.to_string());
        }
        let before = self.cookie.clone();
        assert_eq!(self.read("/rotate").await, "rotated");
        assert!(self.cookie != before, "the id did not change");
        assert_eq!(self.read("/count").await, "4", "the session survives its rotation");
        assert_eq!(self.read("/items").await, "3");
        for _ in 0..2 {
            self.send("/flash", 303).await;
            assert_eq!(self.read("/flashed").await, data::SAVED);
            assert_eq!(self.read("/flashed").await, "", "a message is shown once");
        }
    }
}

/// Keeps the cookie of a `Set-Cookie` line among the others.
pub fn keep_cookie(cookie: &mut Option<HeaderValue>, line: &[u8]) {
    let pair = line.split(|&c| c == b';').next().unwrap_or_default();
    let name = pair.split(|&c| c == b'=').next().unwrap_or_default();
    // A cookie without a value is a removal.
    let mut header = if pair.len() > name.len() + 1 { pair.to_vec() } else { Vec::new() };
    // Some libraries set more than one cookie. The others are kept.
    for known in cookie.as_ref().map_or(&b""[..], |cookie| cookie.as_bytes()).split(|&c| c == b';')
    {
        let known = known.trim_ascii();
        if !known.is_empty() && known.split(|&c| c == b'=').next() != Some(name) {
            if !header.is_empty() {
                header.extend_from_slice(b"; ");
            }
            header.extend_from_slice(known);
        }
    }
    let value = || HeaderValue::from_bytes(&header).expect("cookies are header text");
    *cookie = (!header.is_empty()).then(value);
}
