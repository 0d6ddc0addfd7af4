//! memcached under faults: restarts, lost answers, cancelled calls, hanging, one server
//! down of several.
// tidy: long because the faults of one engine are read together

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mocha_session_conformance::tools::Trace;
use mocha_session_core::ErrorKind;
use mocha_session_core::store::SessionStore;
use support::{
    GREETING, Memcached, an_hour, assert_hidden, disguised, eventually, free_port, impostor, key,
    name, open, through_proxy, try_open, value,
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

    server.restart();
    assert!(eventually(async || store.load(&key(1)).await).await.is_none());
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
    let (proxy, url) = through_proxy(&server).await;
    let store = open(&url).await;
    let revision = store.create(&key(1), b"one", an_hour()).await.unwrap().unwrap();

    proxy.lose_next_answers(1);
    let error = store.update(&key(1), b"two", an_hour(), &revision).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error}");
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"two"[..]);
    assert!(store.update(&key(1), b"three", an_hour(), &revision).await.unwrap().is_none());

    proxy.lose_next_answers(1);
    assert_eq!(store.delete(&key(1)).await.unwrap_err().kind(), ErrorKind::Ambiguous);
    // The next write needs a new connection; where that one fails nothing was done, and the error
    // says so.
    proxy.lose_next_answers(1);
    let error = store.create(&key(1), b"x", an_hour()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(eventually(async || store.load(&key(1)).await).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_cut_in_mid_command_costs_a_read_nothing() {
    let Some(server) = Memcached::start(&[]) else { return };
    let (proxy, url) = through_proxy(&server).await;
    let store = open(&url).await;
    store.create(&key(1), b"one", an_hour()).await.unwrap().unwrap();
    proxy.lose_next_answers(1);
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"one"[..]);
    proxy.lose_next_answers(1);
    store.ping().await.unwrap();
    // Once, not for ever: two in a row are an error, and the next call is fine.
    proxy.lose_next_answers(2);
    assert_eq!(store.load(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let found = eventually(async || store.load(&key(1)).await).await;
    assert_eq!(found.unwrap().value(), &b"one"[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelled_futures_never_mix_answers() {
    let Some(server) = Memcached::start(&[]) else { return };
    let (proxy, url) = through_proxy(&server).await;
    let store = Arc::new(open(&format!("{url}?max_connections=8")).await);
    let mut revisions = Vec::new();
    for number in 0..16 {
        revisions.push(
            store.create(&key(number), &number.to_be_bytes(), an_hour()).await.unwrap().unwrap(),
        );
    }
    proxy.trickle(true);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16_u64 {
        let (store, mut revision) =
            (Arc::clone(&store), revisions[usize::try_from(number).unwrap()].clone());
        tasks.spawn(async move {
            let (mut cut, mut whole) = (0, 0);
            let mut wait = number;
            for round in 0..150 {
                wait = wait
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                // From far too short to more than enough.
                let patience =
                    Duration::from_micros(wait >> (if round % 3 == 0 { 44 } else { 50 }));
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
                let updated = tokio::time::timeout(
                    patience,
                    store.update(&key(number), &text, an_hour(), &revision),
                )
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
    let counts = tokio::time::timeout(Duration::from_secs(60), tasks.join_all()).await;
    let counts = counts.expect("a call waits for an answer that another took");
    let (cut, whole) = counts.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(cut > 100 && whole > 100, "{cut} cut short, {whole} not");
    proxy.trickle(false);
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
            tokio::time::timeout(
                Duration::from_millis(500),
                async move { store.load(&key(1)).await },
            )
            .await
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
    let found = eventually(async || store.load(&key(1)).await).await;
    assert_eq!(found.unwrap().value(), &b"one"[..]);
}

#[tokio::test]
async fn opening_a_hanging_or_absent_engine_is_bounded() {
    // The kernel completes the connection, nobody takes it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let error =
        try_open(&format!("memcache://{}", silent.local_addr().unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(start.elapsed() < Duration::from_secs(4));
    let error = try_open(&format!("memcache://127.0.0.1:{}", free_port())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().starts_with("memcached: open: 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn odd_answers_are_errors_and_show_nothing() {
    const ANSWERS: [[&str; 6]; 6] = {
        let [a, b, c, d] = GREETING;
        [
            [a, b, c, d, "SERVER_ERROR backend hunter2\r\n", "SERVER_ERROR backend hunter2\r\n"],
            [a, b, c, d, "hunter2\r\n", "hunter2\r\n"],
            [a, b, c, d, "HD\r\n", "HD\r\n"],
            [a, b, c, d, "MN\r\n", "MN\r\n"],
            [a, b, c, d, "VA 7 c1\r\nhunter2xx", "VA 7 c1\r\nhunter2xx"],
            [a, b, c, d, "HD chunter2\r\n", "HD chunter2\r\n"],
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
    let reordered =
        open(&format!("memcached://{},{},{}", c.address(), a.address(), b.address())).await;
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
    // One of its items marks its run.
    assert_eq!(lost, counts[0] - 1);
    assert!(store.ping().await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn two_containers_started_in_the_same_second_never_repeat_a_revision() {
    let Some(mut server) = Memcached::start(&[]) else { return };
    let store = open(&disguised(server.address()).await).await;
    let old = store.create(&key(1), b"old", an_hour()).await.unwrap().unwrap();
    let token = server.ask(&format!("mg {} c", name(&key(1))));
    server.kill();
    server.restart();
    // Somebody else logs in under the same key, on a server that has the same process id and start.
    let other = open(&disguised(server.address()).await).await;
    let new = other.create(&key(1), b"new", an_hour()).await.unwrap().unwrap();
    assert_eq!(server.ask(&format!("mg {} c", name(&key(1)))), token, "the token comes again");
    assert_ne!(new, old);
    let late = eventually(async || store.update(&key(1), b"late", an_hour(), &old).await).await;
    assert_eq!(late, None);
    assert_eq!(value(&other, &key(1)).await.unwrap(), &b"new"[..]);
}

#[tokio::test]
async fn mark_of_a_run_that_was_lost_costs_a_conflict_and_no_more() {
    let Some(server) = Memcached::start(&[]) else { return };
    let store = open(&server.url()).await;
    let old = store.create(&key(1), b"old", an_hour()).await.unwrap().unwrap();
    assert_eq!(server.ask("md session:run"), "HD");
    let other = open(&server.url()).await;
    assert_eq!(
        other.update(&key(1), b"late", an_hour(), &old).await.unwrap(),
        None,
        "another mark"
    );
    let (_, now) = other.load(&key(1)).await.unwrap().unwrap().into_parts();
    assert!(other.update(&key(1), b"new", an_hour(), &now).await.unwrap().is_some());
    // Its own connections still know the old mark, and see the same session.
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"new"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_network_costs_one_deadline_and_then_fresh_connections() {
    let Some(server) = Memcached::start(&[]) else { return };
    let (proxy, url) = through_proxy(&server).await;
    let store = Arc::new(open(&url).await);
    store.create(&key(1), b"one", an_hour()).await.unwrap().unwrap();
    // Sixteen connections that are idle afterwards.
    proxy.hang();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.load(&key(1)).await });
    }
    let opened = async || {
        while proxy.dials() < 16 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), opened()).await.expect("sixteen connections");
    proxy.pass();
    tasks.join_all().await;
    proxy.black_hole();
    let deadline = Duration::from_millis(500);
    assert!(tokio::time::timeout(deadline, store.load(&key(1))).await.is_err(), "one deadline");
    proxy.pass();
    // Not another of the fifteen.
    let found = tokio::time::timeout(Duration::from_secs(5), store.load(&key(1)))
        .await
        .expect("no deadline");
    assert_eq!(found.unwrap().unwrap().value(), &b"one"[..]);
}

#[tokio::test]
async fn one_of_three_down_at_the_start_is_told_and_the_others_work() {
    let Some(mut a) = Memcached::start(&[]) else { return };
    let (b, c) = (Memcached::start(&[]).unwrap(), Memcached::start(&["-I", "512k"]).unwrap());
    a.kill();
    let url = format!("memcache://{},{},{}", a.address(), b.address(), c.address());
    let trace = Trace::start();
    let store = open(&url).await;
    let told = trace.at("WARN").join(" ");
    assert!(
        told.contains(&a.address().to_string()) && told.contains("cannot be reached"),
        "{told}"
    );
    assert!(
        store.capabilities().max_value().unwrap() < 512 * 1024,
        "the smallest of those that are there"
    );
    let mut down = Vec::new();
    for number in 0..60 {
        match store.create(&key(number), b"x", an_hour()).await {
            Ok(created) => assert!(created.is_some()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                down.push(number);
            }
        }
    }
    assert!((5..=40).contains(&down.len()), "{} of 60", down.len());
    a.restart();
    for number in down {
        let created = eventually(async || store.create(&key(number), b"x", an_hour()).await).await;
        assert!(created.is_some());
    }
    a.kill();
    drop((b, c));
    let error = try_open(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "all down: {error}");
}

#[test]
fn busy_runtime_stalls_only_itself() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Some(server) = Memcached::start(&[]) else { return };
    let first = runtime();
    let store = first.block_on(open(&format!("{}?max_connections=1", server.url())));
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let its = store.clone();
    let first = std::thread::spawn(move || {
        first.block_on(async {
            its.load(&key(1)).await.unwrap();
            ready.send(()).unwrap();
            // A handler that computes: nothing else runs on this runtime.
            let _ = stopped.recv();
        });
    });
    is_ready.recv().unwrap();
    let begun = Instant::now();
    for number in 0..2 {
        let created = runtime().block_on(store.create(&key(number), b"x", an_hour()));
        assert!(created.unwrap().is_some());
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    stop.send(()).unwrap();
    first.join().unwrap();
    assert!(runtime().block_on(store.load(&key(1))).unwrap().is_some());
}
