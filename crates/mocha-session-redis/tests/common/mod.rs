//! Private servers that a test may break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(dead_code, unused_imports, unused_macros, reason = "each test file uses a part of it")]

use std::net::TcpListener as StdListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mocha_session_conformance::not_run;
use mocha_session_core::store::{Expiry, Revision, SessionStore, StorageKey};
use mocha_session_core::{Error, Registry};
use redis::aio::MultiplexedConnection;
use tokio::net::TcpStream;

pub(crate) type Store = Arc<dyn SessionStore>;

/// Starts a private server, or leaves the test where none is installed.
macro_rules! server {
    ($($argument:expr),*) => {
        match $crate::common::Server::start(&[$($argument),*]).await {
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

/// A key that nobody else has.
pub(crate) fn key() -> StorageKey {
    let mut bytes = [0; StorageKey::BYTES];
    for chunk in bytes.chunks_mut(8) {
        let random = Revision::random().as_u64().unwrap().to_ne_bytes();
        chunk.copy_from_slice(&random[..chunk.len()]);
    }
    StorageKey::from_bytes(bytes)
}

pub(crate) fn hour() -> Expiry {
    Expiry::after(Duration::from_secs(60 * 60), SystemTime::now())
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

/// Returns all keys that a scan finds.
pub(crate) async fn scanned(store: &impl SessionStore, limit: usize) -> Vec<StorageKey> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.scan(cursor, limit).await.unwrap();
        keys.extend(page.entries().iter().map(|(key, _)| *key));
        match page.next() {
            Some(next) => cursor = Some(next.clone()),
            None => return keys,
        }
    }
}

/// Tries again until it works, for forty seconds.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(40);
    loop {
        if let Some(done) = attempt().await {
            return done;
        }
        assert!(Instant::now() < end, "{what}: not within forty seconds");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A port that was free a moment ago, low enough for a cluster's bus.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 {
            return port;
        }
    }
}

/// A `redis-server` of one test's own, stopped when it is dropped.
pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    arguments: Vec<String>,
    pub(crate) port: u16,
}

impl Server {
    /// `None`, with a word about it, where no `redis-server` is installed; in CI that is a failure.
    pub(crate) async fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_at(free_port(), arguments).await
    }

    pub(crate) async fn start_at(port: u16, arguments: &[&str]) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("mocha-redis-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let Ok(child) = spawn(port, &directory, &arguments) else {
            not_run("redis-server is not installed; `cargo xtask test` installs it");
            return None;
        };
        let server = Self { child, directory, arguments, port };
        server.listening().await;
        Some(server)
    }

    /// Waits until it takes connections.
    pub(crate) async fn listening(&self) {
        eventually("redis-server listens", async || {
            TcpStream::connect(("127.0.0.1", self.port)).await.ok()
        })
        .await;
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
        let replica = Self::start(&["--replicaof", "127.0.0.1", &port])
            .await
            .expect("the first one was started");
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
    pub(crate) async fn run<T: redis::FromRedisValue>(&self, words: &str) -> T {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.connection().await).await.unwrap()
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
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory, &self.arguments).unwrap();
        self.listening().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn spawn(port: u16, directory: &PathBuf, arguments: &[String]) -> std::io::Result<Child> {
    let sentinel = arguments.first().is_some_and(|first| first == "--sentinel");
    let mut command = Command::new("redis-server");
    if sentinel {
        // A sentinel keeps what it knows in its configuration file, and must have one.
        let file = directory.join("sentinel.conf");
        std::fs::write(&file, arguments[1..].join("\n"))?;
        command.arg(file).arg("--sentinel");
    } else {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(directory);
    if !sentinel {
        command.args(arguments);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// A connection of the test's own. The client's defaults give a busy machine half a second.
pub(crate) async fn patient(client: &redis::Client) -> MultiplexedConnection {
    let time = Some(std::time::Duration::from_secs(20));
    let config =
        redis::AsyncConnectionConfig::new().set_connection_timeout(time).set_response_timeout(time);
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}
