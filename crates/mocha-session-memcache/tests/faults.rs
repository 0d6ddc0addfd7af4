//! What goes wrong with memcached: restarts, lost answers, cancelled calls, hanging, one server down of several.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mocha_session_core::ErrorKind;
use mocha_session_core::store::SessionStore;
use mocha_session_memcache::MemcacheStore;
use support::{
    GREETING, Memcached, Proxy, an_hour, assert_hidden, free_port, impostor, key, name, open, value,
};

#[tokio::test(flavor = "multi_thread")]
async fn engine_restarted_works_again_and_no_old_revision_fits() {
    let Some(mut server) = Memcached::start(&[]) else { return };
    let store = Arc::new(open(&server.url()).await);
    // Several pooled connections, all of which the restart kills.
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.load(&key(number)).await.unwrap() });
    }
    tasks.join_all().await;
    let old = store.create(&key(1), b"old", an_hour()).await.unwrap().unwrap();
    let token = server.ask(&format!("mg {} c", name(&key(1))));

    server.kill();
    for _ in 0..3 {
        let error = store.load(&key(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let error = store.create(&key(2), b"x", an_hour()).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert!(store.ping().await.unwrap_err().is_unavailable());
    }

    tokio::time::sleep(Duration::from_millis(1_100)).await;
    server.restart();
    assert!(store.load(&key(1)).await.unwrap().is_none());
    let new = store.create(&key(1), b"new", an_hour()).await.unwrap().unwrap();
    // The danger is real: memcached gave the same token a second time.
    assert_eq!(server.ask(&format!("mg {} c", name(&key(1)))), token);
    assert_ne!(new, old);
    assert!(store.update(&key(1), b"late", an_hour(), &old).await.unwrap().is_none());
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"new"[..]);
    assert!(store.update(&key(1), b"newer", an_hour(), &new).await.unwrap().is_some());
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn first_call_after_an_unnoticed_restart_is_done_and_right() {
    let Some(mut server) = Memcached::start(&[]) else { return };
    for round in 0..4 {
        let store = open(&server.url()).await;
        let old = store.create(&key(1), b"old", an_hour()).await.unwrap().unwrap();
        server.kill();
        // So that the runs of the server begin in different seconds.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        server.restart();
        match round {
            0 => assert!(store.create(&key(1), b"mine", an_hour()).await.unwrap().is_some()),
            1 => assert!(store.update(&key(1), b"mine", an_hour(), &old).await.unwrap().is_none()),
            2 => assert!(!store.delete(&key(1)).await.unwrap()),
            _ => assert!(store.load(&key(1)).await.unwrap().is_none()),
        }
        store.delete(&key(1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgement_lost_is_ambiguous_and_applied_once() {
    let Some(server) = Memcached::start(&[]) else { return };
    let (proxy, url) = Proxy::start(server.address()).await;
    let store = open(&url).await;
    let revision = store.create(&key(1), b"one", an_hour()).await.unwrap().unwrap();

    proxy.cut.store(1, Ordering::Relaxed);
    let error = store.update(&key(1), b"two", an_hour(), &revision).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"two"[..]);
    assert!(store.update(&key(1), b"three", an_hour(), &revision).await.unwrap().is_none());

    proxy.cut.store(1, Ordering::Relaxed);
    assert_eq!(store.delete(&key(1)).await.unwrap_err().kind(), ErrorKind::Ambiguous);
    // The next write needs a new connection; where that one fails nothing was done, and the error says so.
    proxy.cut.store(1, Ordering::Relaxed);
    let error = store.create(&key(1), b"x", an_hour()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(store.load(&key(1)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_cut_in_mid_command_costs_a_read_nothing() {
    let Some(server) = Memcached::start(&[]) else { return };
    let (proxy, url) = Proxy::start(server.address()).await;
    let store = open(&url).await;
    store.create(&key(1), b"one", an_hour()).await.unwrap().unwrap();
    proxy.cut.store(1, Ordering::Relaxed);
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"one"[..]);
    proxy.cut.store(1, Ordering::Relaxed);
    store.ping().await.unwrap();
    // Once, not for ever: two in a row are an error, and the next call is fine.
    proxy.cut.store(2, Ordering::Relaxed);
    assert_eq!(store.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"one"[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelled_futures_never_mix_answers() {
    let Some(server) = Memcached::start(&[]) else { return };
    let (proxy, url) = Proxy::start(server.address()).await;
    let store = Arc::new(open(&format!("{url}?max_connections=8")).await);
    let mut revisions = Vec::new();
    for number in 0..16 {
        revisions.push(store.create(&key(number), &number.to_be_bytes(), an_hour()).await.unwrap().unwrap());
    }
    proxy.slow.store(true, Ordering::Relaxed);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16_u64 {
        let (store, mut revision) = (Arc::clone(&store), revisions[usize::try_from(number).unwrap()].clone());
        tasks.spawn(async move {
            let (mut cut, mut whole) = (0, 0);
            let mut wait = number;
            for round in 0..150 {
                wait = wait.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // From far too short to more than enough.
                let patience = Duration::from_micros(wait >> (if round % 3 == 0 { 44 } else { 50 }));
                let mut text = number.to_be_bytes().to_vec();
                let loaded = tokio::time::timeout(patience, store.load(&key(number))).await;
                match loaded {
                    Err(_) => cut += 1,
                    Ok(stored) => {
                        let stored = stored.unwrap().expect("it is there");
                        assert_eq!(stored.value()[..8], text, "another session's answer");
                        revision = stored.revision().clone();
                        whole += 1;
                    }
                }
                text.extend_from_slice(&[b'x'; 50]);
                let updated =
                    tokio::time::timeout(patience, store.update(&key(number), &text, an_hour(), &revision))
                        .await;
                if let Ok(Ok(Some(new))) = updated {
                    revision = new;
                }
                let there = tokio::time::timeout(patience, store.delete(&key(number + 1000))).await;
                if let Ok(there) = there {
                    assert!(!there.unwrap(), "nobody ever stored that");
                }
            }
            (cut, whole)
        });
    }
    let counts = tokio::time::timeout(Duration::from_mins(1), tasks.join_all()).await;
    let counts = counts.expect("a call waits for an answer that another took");
    let (cut, whole) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(cut > 100 && whole > 100, "{cut} cut short, {whole} not");
    proxy.slow.store(false, Ordering::Relaxed);
    for number in 0..16_u64 {
        assert_eq!(value(&store, &key(number)).await.unwrap()[..8], number.to_be_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_engine_is_bounded_and_recovers() {
    let Some(server) = Memcached::start(&[]) else { return };
    let store = Arc::new(open(&format!("{}?max_connections=4", server.url())).await);
    let revision = store.create(&key(1), b"one", an_hour()).await.unwrap().unwrap();
    server.hang();
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let store = Arc::clone(&store);
        // The deadline that the core sets to each call; more calls than there are connections.
        tasks.spawn(async move {
            tokio::time::timeout(Duration::from_millis(500), async move { store.load(&key(1)).await }).await
        });
    }
    for answer in tasks.join_all().await {
        assert!(answer.is_err(), "an answer from an engine that hangs");
    }
    assert!(start.elapsed() < Duration::from_millis(1_500));
    // Without a deadline the greeting of a new connection has one of its own.
    let error = store.update(&key(1), b"two", an_hour(), &revision).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    server.wake_up();
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"one"[..]);
}

#[tokio::test]
async fn opening_a_hanging_or_absent_engine_is_bounded() {
    // The kernel completes the connection, nobody takes it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let error =
        MemcacheStore::connect(&format!("memcache://{}", silent.local_addr().unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(4));
    let error = MemcacheStore::connect(&format!("memcache://127.0.0.1:{}", free_port())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with("memcached: connect: 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn odd_answers_are_errors_and_show_nothing() {
    const ANSWERS: [[&str; 5]; 6] = {
        let [a, b, c] = GREETING;
        [
            [a, b, c, "SERVER_ERROR backend hunter2\r\n", "SERVER_ERROR backend hunter2\r\n"],
            [a, b, c, "hunter2\r\n", "hunter2\r\n"],
            [a, b, c, "HD\r\n", "HD\r\n"],
            [a, b, c, "MN\r\n", "MN\r\n"],
            [a, b, c, "VA 7 c1\r\nhunter2xx", "VA 7 c1\r\nhunter2xx"],
            [a, b, c, "HD chunter2\r\n", "HD chunter2\r\n"],
        ]
    };
    for answers in &ANSWERS {
        let store = open(&impostor(answers).await).await;
        let error = store.create(&key(1), b"x", an_hour()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Ambiguous, "{answers:?}: {error}");
        assert_hidden(&error);
        let error = store.load(&key(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{answers:?}: {error}");
        assert_hidden(&error);
        assert!(!format!("{error:?}").contains(&key(1).to_string()));
    }
}

#[tokio::test]
async fn keys_are_spread_by_name_alone_and_one_server_down_takes_its_keys_alone() {
    let Some(mut a) = Memcached::start(&[]) else { return };
    let (b, c) = (Memcached::start(&[]).unwrap(), Memcached::start(&["-I", "512k"]).unwrap());
    let store = open(&format!("memcache://{},{},{}", a.address(), b.address(), c.address())).await;
    let reordered = open(&format!("memcached://{},{},{}", c.address(), a.address(), b.address())).await;
    assert!(store.capabilities().max_value().unwrap() < 512 * 1024, "the smallest counts");
    for number in 0..300 {
        store.create(&key(number), &number.to_be_bytes(), an_hour()).await.unwrap().unwrap();
        assert_eq!(value(&reordered, &key(number)).await.unwrap(), number.to_be_bytes()[..]);
    }
    let counts = [&a, &b, &c].map(|server| server.count("curr_items"));
    assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
    a.kill();
    let mut lost = 0;
    for number in 0..300 {
        match store.load(&key(number)).await {
            Ok(stored) => assert_eq!(stored.unwrap().value(), &number.to_be_bytes()[..]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.to_string().contains(&a.address().to_string()), "{error}");
                lost += 1;
            }
        }
    }
    assert_eq!(lost, counts[0]);
    assert!(store.ping().await.unwrap_err().is_unavailable());
}
