//! Servers for the tests: memcached processes, a proxy that disguises them, and an impostor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, SystemTime};

use mocha_session_conformance::Proxy;
use mocha_session_conformance::tools::{self, Server};
pub(crate) use mocha_session_conformance::tools::{free_port, hour as an_hour};
use mocha_session_core::store::{Bytes, Expiry, SessionStore, StorageKey};
use mocha_session_core::{Error, StoreUrl};
use mocha_session_memcache::MemcacheStore;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A memcached process on a port of its own, stopped when dropped.
pub(crate) struct Memcached(Server);

impl Memcached {
    /// Starts one with these options. `None` where memcached is not installed; in CI that is a
    /// failure.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let port = free_port();
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        let server = Self(Server::start(port, move || {
            let mut command = Command::new("memcached");
            command.args(["-u", "nobody", "-l", "127.0.0.1", "-U", "0", "-p", &port.to_string()]);
            command.args(&options);
            command
        })?);
        // Answered, and not merely connected: from then on the server has counted this connection.
        server.ask("version");
        Some(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.0.port()))
    }

    pub(crate) fn url(&self) -> String {
        format!("memcache://{}", self.address())
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    pub(crate) fn restart(&mut self) {
        self.0.restart();
    }

    /// Connections stay open, nothing is answered.
    pub(crate) fn hang(&self) {
        self.0.signal("-STOP");
        // Its threads stop one after the other.
        std::thread::sleep(Duration::from_millis(100));
    }

    pub(crate) fn wake_up(&self) {
        self.0.signal("-CONT");
    }

    /// The first line of the answer to a command sent past the store.
    pub(crate) fn ask(&self, command: &str) -> String {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).unwrap());
        stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// A number of `stats`.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).unwrap());
        stream.get_mut().write_all(b"stats\r\n").unwrap();
        let wanted = format!("STAT {name} ");
        let lines = stream.lines().map(Result::unwrap).take_while(|line| line != "END");
        let found: Vec<_> =
            lines.filter_map(|line| line.strip_prefix(&wanted).map(str::to_owned)).collect();
        found.first().unwrap_or_else(|| panic!("no {name} in stats")).parse().unwrap()
    }
}

pub(crate) async fn open(url: &str) -> MemcacheStore {
    try_open(url).await.unwrap()
}

pub(crate) async fn try_open(url: &str) -> Result<MemcacheStore, Error> {
    let mut url = StoreUrl::parse(url)?;
    let opening = MemcacheStore::from_url(&mut url)?;
    url.finish()?;
    opening.await
}

/// Returns the value under a key.
pub(crate) async fn value(store: &MemcacheStore, key: &StorageKey) -> Option<Bytes> {
    store.load(key).await.unwrap().map(|stored| stored.value().clone())
}

pub(crate) fn name(key: &StorageKey) -> String {
    format!("session:{key}")
}

/// No error shows a password.
pub(crate) fn assert_hidden(error: &Error) {
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

pub(crate) fn key(number: u64) -> StorageKey {
    let mut bytes = [7; StorageKey::BYTES];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    StorageKey::from_bytes(bytes)
}

pub(crate) fn within(ttl: Duration) -> Expiry {
    Expiry::after(ttl, SystemTime::now())
}

/// A proxy to a server, and the URL that leads through it.
pub(crate) async fn through_proxy(server: &Memcached) -> (Proxy, String) {
    let proxy = Proxy::to(server.address().to_string()).await.unwrap();
    let url = format!("memcache://{}", proxy.address());
    (proxy, url)
}

/// The answer of the store once it works again.
pub(crate) async fn eventually<T>(call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    tools::eventually("it does not work again", call).await
}

/// Stands before a server, and shows every run of it as the same process, started in the same
/// second: as it is in a container, whose first process always has the number 1.
pub(crate) async fn disguised(server: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("memcache://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let Ok(server) = tokio::net::TcpStream::connect(server).await else { continue };
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                let up =
                    tokio::spawn(
                        async move { tokio::io::copy(&mut from_client, &mut to_server).await },
                    );
                let mut from_server = tokio::io::BufReader::new(from_server);
                let mut line = Vec::new();
                while let Ok(1..) = from_server.read_until(b'\n', &mut line).await {
                    for (name, value) in [("pid", 1), ("uptime", 5), ("time", 1_800_000_000)] {
                        if line.starts_with(format!("STAT {name} ").as_bytes()) {
                            line = format!("STAT {name} {value}\r\n").into_bytes();
                        }
                    }
                    if to_client.write_all(&line).await.is_err() {
                        break;
                    }
                    line.clear();
                }
                up.abort();
            });
        }
    });
    url
}

/// Something that is no memcached: answers each line with the next of these answers, then hangs up.
pub(crate) async fn impostor(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("memcache://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut client = tokio::io::BufReader::new(client);
                for answer in answers {
                    if client.read_line(&mut String::new()).await.unwrap_or(0) == 0 {
                        return;
                    }
                    let _ = client.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    url
}

/// memcached's answers to the four lines of the handshake.
pub(crate) const GREETING: [&str; 4] = [
    "STAT pid 1\r\nSTAT uptime 5\r\nSTAT time 1800000000\r\nEND\r\n",
    "STAT item_size_max 1048576\r\nSTAT cas_enabled yes\r\nEND\r\n",
    "VA 16\r\n0123456789abcdef\r\n",
    "MN\r\n",
];
