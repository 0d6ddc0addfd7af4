//! An application on a scripted store, and a browser that keeps its cookie: what the session's
//! tests stand on.

#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::naive_bytecount,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "shared by several test binaries, each of which uses a part"
)]

mod store;

pub use store::{Calls, Fault, Gatekeeper, ScriptedStore};

use mocha_session_core::{
    HeaderChanges, LazySession, ManualClock, RequestInfo, Result, Session, SessionManager,
    SessionManagerBuilder, Storage,
};

/// An application on a scripted store, with a clock that stands still.
pub struct App {
    pub clock: ManualClock,
    pub store: ScriptedStore,
    pub manager: SessionManager,
}

impl App {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(rules: impl FnOnce(SessionManagerBuilder) -> SessionManagerBuilder) -> Self {
        let clock = ManualClock::new();
        let store = ScriptedStore::new(&clock);
        let manager =
            rules(SessionManager::builder(store.clone()).clock(clock.clone())).build().unwrap();
        Self { clock, store, manager }
    }

    /// Another process on the same engine.
    pub fn other_process(&self) -> SessionManager {
        self.process_with(|builder| builder)
    }

    pub fn process_with(
        &self,
        rules: impl FnOnce(SessionManagerBuilder) -> SessionManagerBuilder,
    ) -> SessionManager {
        rules(SessionManager::builder(self.store.clone()).clock(self.clock.clone()))
            .build()
            .unwrap()
    }

    /// Client-side sessions with this clock.
    pub fn client_side(secrets: &str) -> (ManualClock, SessionManager) {
        let clock = ManualClock::new();
        let manager = SessionManager::builder(Storage::client_side())
            .secrets(mocha_session_core::Secrets::parse(secrets).unwrap())
            .clock(clock.clone())
            .build()
            .unwrap();
        (clock, manager)
    }
}

/// A browser whose session has the value 1 under `a`.
pub async fn with_values(manager: &SessionManager) -> Browser {
    let mut browser = Browser::new();
    browser.request(manager, |session| session.insert("a", 1)).await.unwrap();
    browser
}

/// What a browser keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browser {
    pub cookie: Option<String>,
}

impl Browser {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn header(&self) -> String {
        self.cookie.clone().unwrap_or_default()
    }

    pub fn open(&self, manager: &SessionManager) -> LazySession {
        manager.open(RequestInfo::new(self.header()))
    }

    pub fn take(&mut self, headers: &HeaderChanges) {
        if let Some(line) = headers.set_cookie() {
            let pair = line.split(';').next().unwrap().to_owned();
            self.cookie = (!line.contains("Max-Age=0")).then_some(pair);
        }
    }

    /// A request: the handler, then a response of 200.
    pub async fn request<T>(
        &mut self,
        manager: &SessionManager,
        handler: impl FnOnce(&Session) -> T,
    ) -> T {
        self.request_status(manager, 200, handler).await.0
    }

    pub async fn request_status<T>(
        &mut self,
        manager: &SessionManager,
        status: u16,
        handler: impl FnOnce(&Session) -> T,
    ) -> (T, HeaderChanges) {
        let lazy = self.open(manager);
        let session = lazy.load().await.unwrap();
        let answer = handler(&session);
        let headers = manager.finish(&lazy, status).await.into_result().unwrap();
        self.take(&headers);
        (answer, headers)
    }

    /// What a value is now, as a read-only request sees it.
    pub async fn get<T: serde::de::DeserializeOwned>(
        &self,
        manager: &SessionManager,
        key: &str,
    ) -> Option<T> {
        self.open(manager).load().await.unwrap().get(key).unwrap()
    }

    pub async fn is_live(&self, manager: &SessionManager) -> bool {
        self.open(manager).load_existing().await.unwrap().is_some()
    }

    /// A request's first half: its session is loaded, its handler not done.
    pub async fn start(&self, manager: &SessionManager) -> (LazySession, Session) {
        let lazy = self.open(manager);
        let session = lazy.load().await.unwrap();
        (lazy, session)
    }
}

/// A user who logs in with a browser of their own.
pub async fn logged_in(manager: &SessionManager, owner: &str) -> Browser {
    let mut browser = Browser::new();
    browser.request(manager, |session| session.login(owner)).await.unwrap();
    browser
}

/// How many sessions a user has, as their list says.
pub async fn listed(manager: &SessionManager, owner: &str) -> usize {
    manager.sessions_of(owner).await.unwrap().len()
}

/// Seconds that the cookie line gives; `None` for a cookie that ends with the browser.
pub fn max_age(line: &str) -> Option<u64> {
    line.split("; ")
        .find_map(|part| part.strip_prefix("Max-Age="))
        .map(|seconds| seconds.parse().unwrap())
}

/// Finishes a request in a task of its own.
pub fn finish_in_background(
    manager: &SessionManager,
    lazy: LazySession,
) -> tokio::task::JoinHandle<Result<HeaderChanges>> {
    let manager = manager.clone();
    tokio::spawn(async move { manager.finish(&lazy, 200).await.into_result() })
}
