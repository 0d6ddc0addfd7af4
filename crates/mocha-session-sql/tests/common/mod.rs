//! Helpers of the tests: engines under fresh tables.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    unused_macros,
    reason = "each test file uses its own part"
)]

pub mod servers;

use std::time::{Duration, SystemTime};

use mocha_session_conformance::tools::{self, sweep_all};
pub use mocha_session_conformance::tools::{fresh_key, hour, shown};
use mocha_session_conformance::{Proxy, engine_url};
use mocha_session_core::store::{Expiry, SessionStore, SweepReport};
use mocha_session_core::{Registry, Result, Storage};
use mocha_session_sql::DRIVER;
use tokio::net::TcpSocket;

/// An engine and a way to write URLs of it.
#[derive(Clone, Debug)]
pub struct Engine {
    pub name: &'static str,
    pub url: String,
}

impl Engine {
    pub fn postgres() -> Option<Self> {
        engine_url("MOCHA_TEST_POSTGRES_URL").map(|url| Self { name: "postgresql", url })
    }

    pub fn postgres_17() -> Option<Self> {
        engine_url("MOCHA_TEST_POSTGRES_17_URL").map(|url| Self { name: "postgresql", url })
    }

    pub fn mysql() -> Option<Self> {
        engine_url("MOCHA_TEST_MYSQL_URL").map(|url| Self { name: "mysql", url })
    }

    pub fn mysql_9() -> Option<Self> {
        engine_url("MOCHA_TEST_MYSQL_9_URL").map(|url| Self { name: "mysql", url })
    }

    pub fn sqlite(folder: &tempfile::TempDir) -> Self {
        let file = folder.path().join(format!("{}.db", fresh_name()));
        Self { name: "sqlite", url: format!("sqlite:///{}", file.display()) }
    }

    /// Those there are, SQLite in a file of this folder.
    pub fn all(folder: &tempfile::TempDir) -> Vec<Self> {
        Self::servers().into_iter().chain([Self::sqlite(folder)]).collect()
    }

    pub fn servers() -> Vec<Self> {
        Self::postgres().into_iter().chain(Self::mysql()).collect()
    }

    /// The same with options.
    pub fn with(&self, options: &str) -> Self {
        Self { name: self.name, url: format!("{}?{options}", self.url) }
    }

    /// The same in a table that isn't there yet.
    pub fn fresh(&self) -> Self {
        self.with(&format!("table={}", fresh_name()))
    }

    pub async fn open(&self) -> Result<Storage> {
        Registry::new().register(DRIVER).open(&self.url).await
    }

    /// `host:port` of a server.
    pub fn authority(&self) -> &str {
        let rest = self.url.split('@').nth(1).unwrap();
        rest.split('/').next().unwrap()
    }

    /// The same server at another address.
    pub fn at(&self, authority: &str) -> Self {
        Self { name: self.name, url: self.url.replace(self.authority(), authority) }
    }
}

/// Runs this with a pool of the engine's own type, made with these options.
macro_rules! with_pool {
    ($engine:expr, |$options:ident| $made:expr, |$pool:ident| $run:expr) => {
        if $engine.name == "postgresql" {
            let $options = mocha_session_sql::sqlx::postgres::PgPoolOptions::new();
            let $pool = $made.connect(&$engine.url).await.unwrap();
            $run
        } else {
            let $options = mocha_session_sql::sqlx::mysql::MySqlPoolOptions::new();
            let $pool = $made.connect(&$engine.url).await.unwrap();
            $run
        }
    };
}

pub(crate) use with_pool;

/// The answer once the pause after a failed dial is over.
pub async fn eventually<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> T {
    tools::eventually("a call", async || call().await).await
}

/// Waits until this is so.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    tools::eventually(what, async || is().await.then_some(()).ok_or("not in time")).await;
}

/// How many connections are over whose client said goodbye (PostgreSQL's Terminate, MySQL's
/// `COM_QUIT`), and how many are open.
pub fn goodbyes(proxy: &Proxy) -> (usize, usize) {
    let said =
        |words: &Vec<u8>| words.ends_with(b"X\0\0\0\x04") || words.ends_with(b"\x01\0\0\0\x01");
    (proxy.last_words().iter().filter(|words| said(words)).count(), proxy.open())
}

/// A port that refuses connections: it is bound, so that no other test gets it, and nobody listens.
pub fn refusing() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    socket
}

pub fn fresh_name() -> String {
    format!("t_{:016x}", fastrand::u64(..))
}

/// An expiry an hour ago.
pub fn past() -> Expiry {
    Expiry::after(Duration::from_mins(1), SystemTime::now() - Duration::from_mins(61))
}

/// Sweeps to the end: how many were examined, and removed.
pub async fn sweep(store: &dyn SessionStore, limit: usize) -> (u64, u64) {
    let reports = sweep_all(store, SystemTime::now(), limit).await.unwrap();
    let sum = |count: fn(&SweepReport) -> u64| reports.iter().map(count).sum();
    (sum(SweepReport::examined), sum(SweepReport::removed))
}
