//! Redis under faults: a server that is full, gone, silent, demoted, or refuses the login.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::{assert_not_done, eventually, hour, key, open, round_trip, say, server};
use mocha_session_conformance::Proxy;
use mocha_session_conformance::tools::NO_SUCH_HOST;
use mocha_session_core::store::SessionStore;
use mocha_session_core::{Durability, ErrorKind};

#[tokio::test]
async fn a_server_that_lost_the_script_is_given_it_again() {
    let server = server!();
    let store = open(&server.url()).await.unwrap();
    let key = key();
    let mut revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    for _ in 0..2 {
        server.run::<()>("SCRIPT FLUSH").await;
        revision = store.update(&key, b"two", hour(), &revision).await.unwrap().unwrap();
        revision = store.update(&key, b"three", hour(), &revision).await.unwrap().unwrap();
    }
    assert_eq!(server.calls("eval").await, 2);
}

#[tokio::test]
async fn memory_full_is_an_error_never_not_found() {
    let server = server!();
    let store = open(&server.url()).await.unwrap();
    let key = key();
    let revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    server.run::<()>("CONFIG SET maxmemory 1").await;
    for error in [
        store.update(&key, b"two", hour(), &revision).await.unwrap_err(),
        store.create(&common::key(), b"new", hour()).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Full, false), "{error}");
        assert!(error.to_string().contains("maxmemory"), "{error}");
    }
    assert_eq!(store.load(&key).await.unwrap().unwrap().revision(), &revision);
    server.run::<()>("CONFIG SET maxmemory 0").await;
    assert!(store.update(&key, b"two", hour(), &revision).await.unwrap().is_some());
}

#[tokio::test]
async fn replica_answering_readonly_is_an_error_never_not_found() {
    let server = server!();
    let store = open(&server.url()).await.unwrap();
    let key = key();
    let revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    server.run::<()>("REPLICAOF 127.0.0.1 1").await;
    for _ in 0..3 {
        for error in [
            store.update(&key, b"two", hour(), &revision).await.unwrap_err(),
            store.create(&common::key(), b"new", hour()).await.unwrap_err(),
            store.delete(&key).await.unwrap_err(),
            // A replica may not know yet what the primary has acknowledged: it is not read.
            store.load(&common::key()).await.unwrap_err(),
        ] {
            assert_not_done(&error);
            assert!(error.to_string().contains("replica"), "{error}");
        }
    }
    let error = open(&server.url()).await.unwrap_err();
    assert!(error.to_string().starts_with("redis: open: the server takes no writes"), "{error}");
    server.run::<()>("REPLICAOF NO ONE").await;
    assert!(store.update(&key, b"two", hour(), &revision).await.unwrap().is_some());
}

#[tokio::test]
async fn killed_and_restarted_works_again_without_a_restart_of_the_app() {
    let mut server = server!("--appendonly", "yes", "--appendfsync", "always");
    let store = open(&server.url()).await.unwrap();
    assert_eq!(store.capabilities().durability(), Durability::Disk);
    let key = key();
    let revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    server.kill();
    for _ in 0..3 {
        let begun = Instant::now();
        let error = store.load(&key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let error = store.update(&key, b"two", hour(), &revision).await.unwrap_err();
        assert_not_done(&error);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    server.restart();
    let found = eventually("load", async || store.load(&key).await.ok()).await;
    assert_eq!(found.unwrap().revision(), &revision);
    assert!(store.update(&key, b"two", hour(), &revision).await.unwrap().is_some());
}

#[tokio::test]
async fn a_connection_lost_while_idle_costs_no_request() {
    let server = server!();
    let store = open(&server.url()).await.unwrap();
    for _ in 0..5 {
        server.run::<i64>("CLIENT KILL TYPE normal").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(store.create(&key(), b"one", hour()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn too_many_clients_pass() {
    let server = server!();
    let store = open(&server.url()).await.unwrap();
    let mut control = server.connection().await;
    say::<()>(&mut control, "CONFIG SET maxclients 1").await.unwrap();
    // The rest of the connections end, and nobody is let in but who is in.
    say::<i64>(&mut control, "CLIENT KILL SKIPME yes").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    for _ in 0..3 {
        let error = store.load(&key()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    say::<()>(&mut control, "CONFIG SET maxclients 100").await.unwrap();
    eventually("let in again", async || store.load(&key()).await.ok()).await;
    round_trip(&store).await;
}

#[tokio::test]
async fn refused_credentials_are_denied_and_never_shown() {
    let server = server!("--requirepass", "right-hunter2");
    // Without HELLO a server quotes what it was sent, the password too.
    let silent = server!("--requirepass", "right-hunter2", "--rename-command", "HELLO", "");
    for server in [&server, &silent] {
        for login in ["", ":wrong-hunter2@", "nobody:wrong-hunter2@", "default:wrong-hunter2@"] {
            let url = format!("redis://{login}127.0.0.1:{}/3", server.port);
            let error = open(&url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{login} {error}");
            let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        for login in [":right-hunter2@", "default:right-hunter2@"] {
            let store = open(&format!("redis://{login}127.0.0.1:{}/3", server.port)).await.unwrap();
            assert!(!format!("{store:?}").contains("hunter2"), "{store:?}");
            round_trip(&store).await;
        }
    }
}

#[tokio::test]
async fn nothing_listening_is_unavailable_quickly() {
    let free = common::free_port();
    for url in [
        format!("redis://127.0.0.1:{free}"),
        format!("redis://{NO_SUCH_HOST}"),
        format!("redis+cluster://127.0.0.1:{free},127.0.0.1:{free}"),
        format!("redis+sentinel://127.0.0.1:{free},127.0.0.1:{free}/mymaster"),
        "redis+unix:///no/such/socket".to_owned(),
    ] {
        let begun = Instant::now();
        let error = open(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{url}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{url}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_peer_that_never_answers_is_bounded() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    for form in ["redis://{}/", "redis+cluster://{}", "redis+sentinel://{}/mymaster"] {
        let begun = Instant::now();
        let url = form.replace("{}", &silent.to_string())
            + "?connect_timeout=200ms&response_timeout=200ms";
        let error = open(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{url}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{url}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_peer_that_stops_answering_is_bounded_and_left() {
    let server = server!();
    let proxy = Proxy::to(server.address()).await.unwrap();
    let url = format!("redis://{}?connect_timeout=300ms&response_timeout=300ms", proxy.address());
    let store = open(&url).await.unwrap();
    let key = key();
    let revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    // Once before, so that the script is there.
    let revision = store.update(&key, b"one", hour(), &revision).await.unwrap().unwrap();
    proxy.hang();
    let begun = Instant::now();
    assert_eq!(store.load(&key).await.unwrap_err().kind(), ErrorKind::Timeout);
    // The connection was left: now it is known that nothing was sent.
    let error = store.update(&key, b"two", hour(), &revision).await.unwrap_err();
    assert_not_done(&error);
    // Many who wait share one attempt, and its failure.
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.load(&key).await.unwrap_err() })
        })
        .collect();
    for error in waiting {
        assert_eq!(error.await.unwrap().kind(), ErrorKind::Unavailable);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    proxy.pass();
    let found = eventually("it is read again", async || store.load(&key).await.ok()).await;
    assert_eq!(found.unwrap().revision(), &revision);
    proxy.hang();
    let error = store.update(&key, b"two", hour(), &revision).await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Timeout, true), "{error}");
}

#[tokio::test]
async fn connection_cut_between_command_and_answer_is_said_and_nothing_is_done_twice() {
    let server = server!();
    let proxy = Proxy::to(server.address()).await.unwrap();
    let store = open(&format!("redis://{}", proxy.address())).await.unwrap();
    let key = key();
    let revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    let revision = store.update(&key, b"two", hour(), &revision).await.unwrap().unwrap();
    server.run::<()>("CONFIG RESETSTAT").await;

    proxy.lose_next_answers(1);
    let error = store.update(&key, b"three", hour(), &revision).await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Ambiguous, true), "{error}");
    assert_eq!(server.calls("evalsha").await, 1);
    assert_eq!(&store.load(&key).await.unwrap().unwrap().value()[..], b"three");

    let other = common::key();
    proxy.lose_next_answers(1);
    assert!(store.create(&other, b"new", hour()).await.unwrap_err().is_ambiguous());
    assert_eq!(store.create(&other, b"newer", hour()).await.unwrap(), None);

    proxy.lose_next_answers(1);
    assert!(store.delete(&other).await.unwrap_err().is_ambiguous());
    assert_eq!(store.load(&other).await.unwrap(), None);

    // A read is no less true the second time.
    proxy.lose_next_answers(1);
    assert_eq!(&store.load(&key).await.unwrap().unwrap().value()[..], b"three");
}
