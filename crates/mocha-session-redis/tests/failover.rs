//! A primary that is demoted while connections to it stay open, behind an address that stays the
//! same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Server, assert_not_done, hour, key, open, say};
use mocha_session_conformance::Proxy;
use mocha_session_core::ErrorKind;
use mocha_session_core::backend::Dialer;
use mocha_session_core::store::{KeySpace, SessionStore};
use mocha_session_redis::{Connection, RedisStore};

/// A primary, its replica, and an address that leads to the primary.
struct Pair {
    primary: Server,
    replica: Server,
    address: Proxy,
}

impl Pair {
    async fn start() -> Option<Self> {
        let primary = Server::start(&["--repl-diskless-sync-delay", "0"])?;
        let replica = primary.replica().await;
        let address = Proxy::to(primary.address()).await.unwrap();
        Some(Self { primary, replica, address })
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address.address())
    }

    /// The replica becomes the primary. The old one is demoted, keeps its connections, and hears
    /// nothing of what is written from then on.
    async fn fail_over(&self) {
        self.primary.replicated().await;
        self.replica.run::<()>("REPLICAOF NO ONE").await;
        self.primary.run::<()>("REPLICAOF 127.0.0.1 1").await;
        self.address.lead_to(self.replica.address());
    }
}

#[tokio::test]
async fn demoted_primary_that_nobody_has_written_to_since_is_not_read() {
    let Some(pair) = Pair::start().await else { return };
    let store = open(&pair.url()).await.unwrap();
    let (ended, begun) = (key(), key());
    store.create(&ended, b"logged in", hour()).await.unwrap().unwrap();
    pair.fail_over().await;
    // Another process logs one user out and another in. The demoted primary knows of neither.
    let other = open(&pair.replica.url()).await.unwrap();
    assert!(other.delete(&ended).await.unwrap());
    other.create(&begun, b"new", hour()).await.unwrap().unwrap();
    tokio::time::sleep(Dialer::QUIET + Duration::from_millis(50)).await;
    assert_eq!(store.load(&ended).await.unwrap(), None, "logged out");
    assert_eq!(&store.load(&begun).await.unwrap().expect("logged in").value()[..], b"new");
    let stale: Option<Vec<u8>> = pair.primary.run(&format!("GET session:{ended}")).await;
    assert!(stale.is_some(), "the demoted primary still had it");
}

#[tokio::test]
async fn connection_that_answers_readonly_is_left_at_once() {
    let Some(pair) = Pair::start().await else { return };
    let store = open(&pair.url()).await.unwrap();
    let key = key();
    let revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    pair.fail_over().await;
    let error = store.update(&key, b"two", hour(), &revision).await.unwrap_err();
    assert_not_done(&error);
    assert!(store.update(&key, b"two", hour(), &revision).await.unwrap().is_some());
}

#[tokio::test]
async fn demoted_primary_that_lacks_the_latest_write_reports_no_conflict() {
    let Some(pair) = Pair::start().await else { return };
    let store = open(&pair.url()).await.unwrap();
    let key = key();
    let created = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    // An older server then has the script, which is not a write before it writes.
    let known = store.update(&key, b"two", hour(), &created).await.unwrap().unwrap();
    pair.fail_over().await;
    let other = open(&pair.replica.url()).await.unwrap();
    let latest = other.update(&key, b"three", hour(), &known).await.unwrap().unwrap();
    assert_not_done(&store.update(&key, b"four", hour(), &latest).await.unwrap_err());
    assert!(store.update(&key, b"four", hour(), &latest).await.unwrap().is_some());
    assert_eq!(store.update(&key, b"five", hour(), &latest).await.unwrap(), None, "a conflict");
}

#[tokio::test]
async fn role_is_asked_with_a_call_and_not_for_each() {
    let Some(server) = Server::start(&[]) else { return };
    let store = open(&server.url()).await.unwrap();
    let key = key();
    store.create(&key, b"one", hour()).await.unwrap().unwrap();
    // The test's own connections say HELLO as well: RESP2, so that they do not.
    let hellos = async || {
        let client = redis::Client::open(format!("{}?protocol=2", server.url())).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let stats: String = say(&mut connection, "INFO commandstats").await.unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_hello:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    let before = hellos().await;
    let begun = std::time::Instant::now();
    for _ in 0..500 {
        store.load(&key).await.unwrap().unwrap();
    }
    let most = begun.elapsed().as_secs() + 1;
    assert!(hellos().await - before <= most, "once a second");
    tokio::time::sleep(Dialer::QUIET + Duration::from_millis(50)).await;
    let before = hellos().await;
    store.load(&key).await.unwrap().unwrap();
    assert_eq!(hellos().await - before, 1, "quiet");
}

#[tokio::test]
async fn open_connection_of_the_user_that_leads_to_a_demoted_primary_is_not_read() {
    let Some(server) = Server::start(&[]) else { return };
    let client = redis::Client::open(server.url()).unwrap();
    let open = client.get_multiplexed_async_connection().await.unwrap();
    let manager = client.get_connection_manager().await.unwrap();
    for connection in [Connection::from(open), Connection::from(manager)] {
        let store = RedisStore::new(connection, KeySpace::new("owned:").unwrap());
        assert_eq!(store.load(&key()).await.unwrap(), None);
        server.run::<()>("REPLICAOF 127.0.0.1 1").await;
        tokio::time::sleep(Dialer::QUIET + Duration::from_millis(50)).await;
        let error = store.load(&key()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        server.run::<()>("REPLICAOF NO ONE").await;
        assert_eq!(store.load(&key()).await.unwrap(), None);
    }
}
