//! Stores on what a program already has: its clients and connections, its runtimes, its way to get
//! a password.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::{Server, hour, key};
use mocha_session_conformance::tools::shown;
use mocha_session_core::backend::Credentials;
use mocha_session_core::store::{KeySpace, SessionStore};
use mocha_session_core::{ErrorKind, StoreUrl};
use mocha_session_redis::{Connection, RedisStore};
use redis::ProtocolVersion;
use redis::cluster::ClusterClientBuilder;

fn on(connection: impl Into<Connection>) -> RedisStore {
    RedisStore::new(connection, KeySpace::new("owned:").unwrap())
}

async fn round_trip(store: &RedisStore) {
    let key = key();
    let created = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    store.update(&key, b"two", hour(), &created).await.unwrap().unwrap();
    assert_eq!(&store.clone().load(&key).await.unwrap().unwrap().value()[..], b"two");
    assert!(store.delete(&key).await.unwrap());
}

#[tokio::test]
async fn clients_that_somebody_owns_work() {
    let Some(server) = Server::start(&[]) else { return };
    let client = redis::Client::open(server.url()).unwrap();
    let manager = client.get_connection_manager().await.unwrap();
    for connection in [Connection::from(client), Connection::from(manager)] {
        let store = on(connection);
        assert!(store.capabilities().evicts());
        let store = store.detect().await;
        assert!(!store.capabilities().evicts());
        round_trip(&store).await;
        server.run::<i64>("CLIENT KILL TYPE normal").await;
        assert_eq!(store.load(&key()).await.unwrap(), None);
        server.run::<()>("REPLICAOF 127.0.0.1 1").await;
        let error = store.create(&key(), b"x", hour()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        server.run::<()>("REPLICAOF NO ONE").await;
        round_trip(&store).await;
    }
}

#[tokio::test]
async fn connection_that_is_open_already_works_until_it_is_lost() {
    let Some(server) = Server::start(&[]) else { return };
    let client = redis::Client::open(server.url()).unwrap();
    let store = on(client.get_multiplexed_async_connection().await.unwrap());
    round_trip(&store).await;
    server.run::<i64>("CLIENT KILL TYPE normal").await;
    let error = store.load(&key()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn busy_runtime_stalls_only_itself() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let Some(server) = Server::start(&[]) else { return };
    let mut url = StoreUrl::parse(&server.url()).unwrap();
    let store = first.block_on(RedisStore::from_url(&mut url).unwrap()).unwrap();
    let (busy, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (stop, stopped) = mpsc::channel::<()>();
    let first = {
        let (store, busy, ended) = (store.clone(), Arc::clone(&busy), Arc::clone(&ended));
        std::thread::spawn(move || {
            first.block_on(async {
                store.load(&key()).await.unwrap();
                busy.store(1, Ordering::SeqCst);
                // A handler that computes: nothing else runs on this runtime.
                let _ = stopped.recv();
                ended.store(1, Ordering::SeqCst);
            });
        })
    };
    while busy.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let begun = Instant::now();
    for _ in 0..2 {
        runtime().block_on(round_trip(&store));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(ended.load(Ordering::SeqCst), 0, "the first runtime was busy all the time");
    stop.send(()).unwrap();
    first.join().unwrap();
    // The runtime that opened the store has ended.
    runtime().block_on(round_trip(&store));
}

#[tokio::test]
async fn password_that_rotates_is_asked_for_at_each_dial() {
    let Some(server) = Server::start(&[]) else { return };
    let asked = Arc::new(AtomicU64::new(0));
    let set = async |number: u64| {
        server.run::<()>(&format!("ACL SETUSER app on resetpass >token-{number} ~* +@all")).await;
    };
    set(1).await;
    let client = redis::Client::open(server.url()).unwrap();
    let counter = Arc::clone(&asked);
    let store = on(Connection::with_credentials(client, move || {
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(Credentials::new("app", format!("token-{number}"))) }
    }));
    for number in 1..4 {
        set(number).await;
        round_trip(&store).await;
        round_trip(&store).await;
        assert_eq!(asked.load(Ordering::SeqCst), number, "once for each connection");
        server.run::<i64>("CLIENT KILL TYPE normal").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    set(1).await;
    let error = store.load(&key()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?} {store:?}").contains("token-"), "{error:?}");
}

#[tokio::test]
async fn cluster_client_with_a_wrong_password_is_denied_and_its_text_is_not_shown() {
    let protected = ["--requirepass", "right-hunter2"];
    let Some(server) = Server::start(&protected) else { return };
    // Without HELLO a server quotes what it was sent, the password too.
    let silent = Server::start(&[&protected[..], &["--rename-command", "HELLO", ""]].concat());
    let refused = async |server: &Server, protocol, password: Option<&str>| {
        let mut builder = ClusterClientBuilder::new([server.url()]).retries(0);
        if let Some(password) = password {
            builder = builder.password(password);
        }
        let store = on(builder.use_protocol(protocol).build().unwrap());
        let error = store.create(&key(), b"one", hour()).await.unwrap_err();
        let shown = shown(&error);
        for text in ["hunter2", "HELLO", "invalid username", "authenticated"] {
            assert!(!shown.contains(text), "{shown}");
        }
        error.kind()
    };
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        for password in [None, Some("wrong-hunter2")] {
            let kind = refused(&server, protocol, password).await;
            assert_eq!(kind, ErrorKind::Denied, "{protocol:?} {password:?}");
        }
    }
    let silent = silent.expect("the first one was started");
    let kind = refused(&silent, ProtocolVersion::RESP3, Some("right-hunter2")).await;
    assert_eq!(kind, ErrorKind::Unavailable);
}
