//! SQL servers under faults: down, restarted, silent, or with lost answers.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::{Engine, eventually, fresh_key, hour, refusing};
use mocha_session_conformance::Proxy;
use mocha_session_core::store::SessionStore as _;
use mocha_session_core::{ErrorKind, Storage};

/// Each server behind a proxy, opened.
async fn behind_proxies() -> Vec<(Engine, Proxy, Storage)> {
    behind_proxies_with("max_connections=10").await
}

async fn behind_proxies_with(options: &str) -> Vec<(Engine, Proxy, Storage)> {
    let mut all = Vec::new();
    for engine in Engine::servers() {
        let proxy = Proxy::to(engine.authority()).await.unwrap();
        let storage = engine.at(&proxy.address().to_string()).with(options).open().await.unwrap();
        all.push((engine, proxy, storage));
    }
    all
}

/// Makes the pool keep several idle connections. Not many: a login costs PostgreSQL's client a
/// fifth of a second when it was not optimised.
async fn warm_up(storage: &Storage) {
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let store = storage.store().unwrap().clone();
            tokio::spawn(async move { store.load(&fresh_key()).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn call_takes_one_round_trip_and_connections_are_kept() {
    for (engine, proxy, storage) in behind_proxies_with("max_connections=2").await {
        let store = storage.store().unwrap();
        let key = fresh_key();
        let mut revision = store.create(&key, b"0", hour()).await.unwrap().unwrap();
        // Each statement is prepared once on a connection.
        store.load(&key).await.unwrap();
        revision = store.update(&key, b"1", hour(), &revision).await.unwrap().unwrap();

        let answers = proxy.answers();
        for _ in 0..25 {
            store.load(&key).await.unwrap().unwrap();
            revision = store.update(&key, b"2", hour(), &revision).await.unwrap().unwrap();
        }
        assert_eq!(proxy.answers() - answers, 50, "{}", engine.name);

        for _ in 0..5 {
            warm_up(&storage).await;
        }
        // One for opening, and two at most at the same time ever since.
        assert!(proxy.dials() <= 3, "{}: {}", engine.name, proxy.dials());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_down_at_opening_is_unavailable_at_once() {
    for engine in Engine::servers() {
        let began = Instant::now();
        let nobody = refusing();
        let error = engine.at(&nobody.local_addr().unwrap().to_string()).open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}: {error}", engine.name);
        assert!(began.elapsed() < Duration::from_secs(1), "{}: {:?}", engine.name, began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_goes_down_is_unavailable_never_absent_and_its_return_is_noticed() {
    for (engine, proxy, storage) in behind_proxies().await {
        let store = storage.store().unwrap();
        let key = fresh_key();
        store.create(&key, b"kept", hour()).await.unwrap().unwrap();
        warm_up(&storage).await;

        proxy.down();
        let began = Instant::now();
        // The first call finds out, and nobody waits for a server that refuses.
        assert!(store.create(&fresh_key(), b"x", hour()).await.unwrap_err().is_ambiguous());
        let (loaded, created, pinged) = (
            store.load(&key).await,
            store.create(&fresh_key(), b"x", hour()).await,
            store.ping().await,
        );
        // Nothing was sent, so nothing is unknown.
        for error in [loaded.unwrap_err(), created.unwrap_err(), pinged.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{}: {error}", engine.name);
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{}: {:?}", engine.name, began.elapsed());

        proxy.pass();
        // The failure is remembered for a moment, never longer than half a second.
        let stored = eventually(|| store.load(&key)).await.expect("acknowledged before");
        assert_eq!(&stored.value()[..], b"kept");
        assert!(store.update(&key, b"new", hour(), stored.revision()).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_survive_a_restart_of_the_server_unnoticed() {
    for (engine, proxy, storage) in behind_proxies().await {
        let store = storage.store().unwrap();
        let key = fresh_key();
        store.create(&key, b"kept", hour()).await.unwrap().unwrap();
        for _ in 0..5 {
            warm_up(&storage).await;
            proxy.cut();
            // The pool is full of dead connections: the first is found out, the others then are
            // asked before use.
            for _ in 0..10 {
                let stored = store.load(&key).await;
                assert!(stored.as_ref().is_ok_and(Option::is_some), "{}: {stored:?}", engine.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_after_a_restart_meets_a_live_connection_when_the_pool_was_idle() {
    for (engine, proxy, storage) in behind_proxies().await {
        let store = storage.store().unwrap();
        warm_up(&storage).await;
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let created = store.create(&fresh_key(), b"x", hour()).await;
        assert!(created.as_ref().is_ok_and(Option::is_some), "{}: {created:?}", engine.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_that_meets_a_dead_connection_is_ambiguous_and_only_the_first() {
    for (engine, proxy, storage) in behind_proxies().await {
        let store = storage.store().unwrap();
        warm_up(&storage).await;
        proxy.cut();
        let error = store.create(&fresh_key(), b"x", hour()).await.unwrap_err();
        assert!(error.is_ambiguous(), "{}: {error}", engine.name);
        for _ in 0..10 {
            assert!(
                store.create(&fresh_key(), b"x", hour()).await.unwrap().is_some(),
                "{}",
                engine.name
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgement_lost_after_the_write_is_ambiguous_and_the_write_done_once() {
    for (engine, proxy, storage) in behind_proxies_with("max_connections=1").await {
        let store = storage.store().unwrap();
        let key = fresh_key();
        let zero = store.create(&key, b"zero", hour()).await.unwrap().unwrap();
        // Prepared now, or the lost answer would be the preparation's.
        let first = store.update(&key, b"one", hour(), &zero).await.unwrap().unwrap();
        store.delete(&fresh_key()).await.unwrap();

        proxy.lose_next_answers(1);
        let error = store.update(&key, b"two", hour(), &first).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Ambiguous, "{}: {error}", engine.name);
        let stored = store.load(&key).await.unwrap().unwrap();
        assert_eq!(&stored.value()[..], b"two", "{}", engine.name);
        // Had it been sent twice, the second would have been refused; either way the old revision
        // is spent.
        assert!(store.update(&key, b"three", hour(), &first).await.unwrap().is_none());

        store.delete(&fresh_key()).await.unwrap();
        proxy.lose_next_answers(1);
        let error = store.delete(&key).await.unwrap_err();
        assert!(error.is_ambiguous(), "{}: {error}", engine.name);
        assert!(store.load(&key).await.unwrap().is_none(), "{}", engine.name);

        store.create(&fresh_key(), b"prepared", hour()).await.unwrap();
        let (fresh, made) = (fresh_key(), proxy.dials());
        proxy.lose_next_answers(1);
        let error = store.create(&fresh, b"new", hour()).await.unwrap_err();
        assert!(error.is_ambiguous(), "{}: {error}", engine.name);
        assert_eq!(proxy.dials(), made, "{}: a write was sent again", engine.name);
        assert_eq!(&store.load(&fresh).await.unwrap().unwrap().value()[..], b"new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_is_lost_to_a_read_is_asked_for_again() {
    for (engine, proxy, storage) in behind_proxies().await {
        let store = storage.store().unwrap();
        let key = fresh_key();
        store.create(&key, b"kept", hour()).await.unwrap().unwrap();
        proxy.lose_next_answers(1);
        let stored = store.load(&key).await;
        assert!(stored.as_ref().is_ok_and(Option::is_some), "{}: {stored:?}", engine.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_server_costs_the_calls_that_waited_and_no_connection() {
    for (engine, proxy, storage) in behind_proxies_with("max_connections=1").await {
        let store = storage.store().unwrap();
        let key = fresh_key();
        store.create(&key, b"kept", hour()).await.unwrap().unwrap();
        // What is connected now never gets another answer, as through a firewall that forgot it.
        proxy.black_hole();
        for _ in 0..3 {
            let waited = tokio::time::timeout(Duration::from_millis(300), store.load(&key)).await;
            assert!(
                !matches!(waited, Ok(Ok(_))),
                "{}: the proxy let something through: {waited:?}",
                engine.name
            );
        }
        proxy.pass();
        let stored = store.load(&key).await;
        assert!(stored.as_ref().is_ok_and(Option::is_some), "{}: {stored:?}", engine.name);
    }
}
