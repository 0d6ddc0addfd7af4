//! Private servers that a test may break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(dead_code, unused_imports, unused_macros, reason = "each test file uses a part of it")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mocha_session_conformance::tools;
pub(crate) use mocha_session_conformance::tools::{fresh_key as key, hour};
use mocha_session_core::store::SessionStore;
use mocha_session_core::{Error, ErrorKind, Registry};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult};
use tempfile::TempDir;

pub(crate) type Store = Arc<dyn SessionStore>;

/// Starts a private server, or leaves the test where none is installed.
macro_rules! server {
    ($($argument:expr),*) => {
        match $crate::common::Server::start(&[$($argument),*]) {
            Some(server) => server,
            None => return,
        }
    };
}

pub(crate) use server;

/// Opens a store by its URL, as a program does.
pub(crate) async fn open(url: &str) -> Result<Store, Error> {
    let storage = Registry::new().register(mocha_session_redis::DRIVER).open(url).await?;
    Ok(storage.store().expect("not client-side").clone())
}

/// Asserts that a call failed because of the server, and that nothing was done.
pub(crate) fn assert_not_done(error: &Error) {
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false), "{error}");
}

/// Creates, updates, loads and deletes a session.
pub(crate) async fn round_trip(store: &impl SessionStore) {
    let key = key();
    let created = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    let updated = store.update(&key, b"two", hour(), &created).await.unwrap().unwrap();
    assert_eq!(store.update(&key, b"three", hour(), &created).await.unwrap(), None);
    let found = store.load(&key).await.unwrap().unwrap();
    assert_eq!((&found.value()[..], found.revision()), (&b"two"[..], &updated));
    assert!(store.delete(&key).await.unwrap() && !store.delete(&key).await.unwrap());
    assert_eq!(store.load(&key).await.unwrap(), None);
}

/// Tries again until it works.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    tools::eventually(what, async || attempt().await.ok_or("not in time")).await
}

/// A port that was free a moment ago, low enough for a cluster's bus.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = tools::free_port();
        if port < 55_000 {
            return port;
        }
    }
}

/// A `redis-server` of one test's own, stopped when it is dropped.
pub(crate) struct Server {
    process: tools::Server,
    _folder: TempDir,
    arguments: Vec<String>,
    pub(crate) port: u16,
}

impl Server {
    /// `None`, with a word about it, where no `redis-server` is installed; in CI that is a failure.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_at(free_port(), arguments)
    }

    pub(crate) fn start_at(port: u16, arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (data, words) = (folder.path().to_owned(), arguments.clone());
        let process = tools::Server::start(port, move || command(port, &data, &words))?;
        Some(Self { process, _folder: folder, arguments, port })
    }

    /// The port of a cluster's bus, as it was told.
    pub(crate) fn bus(&self) -> &str {
        let at = self.arguments.iter().position(|argument| argument == "--cluster-port").unwrap();
        &self.arguments[at + 1]
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// A replica of this server that has all it has.
    pub(crate) async fn replica(&self) -> Self {
        let port = self.port.to_string();
        let follow = Self::start(&["--replicaof", "127.0.0.1", &port]);
        let replica = follow.expect("the first one was started");
        self.replicated().await;
        replica
    }

    /// Waits until a replica has all that this server has.
    pub(crate) async fn replicated(&self) {
        eventually("the replica has all", async || {
            let info: String = self.run("INFO replication").await;
            let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"))?;
            info.contains(&format!("state=online,offset={offset},")).then_some(())
        })
        .await;
    }

    /// A connection of the test's own.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        patient(&redis::Client::open(self.url()).unwrap()).await
    }

    /// Sends a command, given as words, and expects it to work.
    pub(crate) async fn run<T: FromRedisValue>(&self, words: &str) -> T {
        say(&mut self.connection().await, words).await.unwrap()
    }

    /// How often a command was called since `CONFIG RESETSTAT`.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let stats: String = self.run("INFO commandstats").await;
        let prefix = format!("cmdstat_{command}:calls=");
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix(&prefix)?.split(',').next()?.parse().ok());
        line.unwrap_or_default()
    }

    /// Ends it without warning, like a crash.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn restart(&mut self) {
        self.process.restart();
    }
}

/// Sends a command, given as words.
pub(crate) async fn say<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &str,
) -> RedisResult<T> {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    command.arg(words.collect::<Vec<_>>()).query_async(connection).await
}

fn command(port: u16, folder: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new("redis-server");
    let sentinel = arguments.first().is_some_and(|first| first == "--sentinel");
    if sentinel {
        // A sentinel keeps what it knows in its configuration file, and must have one.
        let file = folder.join("sentinel.conf");
        std::fs::write(&file, arguments[1..].join("\n")).unwrap();
        command.arg(file).arg("--sentinel");
    } else {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
    if !sentinel {
        command.args(arguments);
    }
    command
}

/// A connection of the test's own. The client's defaults give a busy machine half a second.
pub(crate) async fn patient(client: &redis::Client) -> MultiplexedConnection {
    let time = Some(std::time::Duration::from_secs(20));
    let config =
        redis::AsyncConnectionConfig::new().set_connection_timeout(time).set_response_timeout(time);
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}
