//! What memcached alone does, and what goes wrong with it: lifetimes, limits, eviction, restarts, hanging, logins.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mocha_session_core::store::{Bytes, Durability, SessionStore, StorageKey};
use mocha_session_core::{Error, ErrorKind, Registry};
use mocha_session_memcache::{DRIVER, MemcacheStore};
use support::{GREETING, Memcached, Proxy, an_hour, free_port, impostor, key, within};

async fn open(url: &str) -> MemcacheStore {
    MemcacheStore::connect(url).await.unwrap()
}

/// What stands under a key.
async fn value(store: &MemcacheStore, key: &StorageKey) -> Option<Bytes> {
    store.load(key).await.unwrap().map(|stored| stored.value().clone())
}

fn name(key: &StorageKey) -> String {
    format!("session:{key}")
}

#[tokio::test]
async fn ttl_is_neither_short_nor_forgotten_over_30_days_and_after_2038() {
    let Some(server) = Memcached::start(&[]) else { return };
    let store = open(&server.url()).await;
    let day = 86_400;
    for (number, seconds) in
        [1, 60, 29 * day, 30 * day, 31 * day, 90 * day, 3650 * day].into_iter().enumerate()
    {
        let key = key(number as u64);
        let revision = store.create(&key, b"x", an_hour()).await.unwrap().unwrap();
        store.update(&key, b"y", within(Duration::from_secs(seconds)), &revision).await.unwrap().unwrap();
        let left: u64 = server.ask(&format!("mg {} t", name(&key)))[4..].parse().unwrap();
        assert!((seconds..=seconds + 3).contains(&left), "{seconds} seconds became {left}");
    }
    store.create(&key(100), b"x", within(Duration::MAX)).await.unwrap().unwrap();
    assert_eq!(server.ask(&format!("mg {} t", name(&key(100)))), "HD t-1");
}

#[tokio::test]
async fn a_lifetime_of_a_second_lasts_it() {
    let Some(server) = Memcached::start(&[]) else { return };
    let store = open(&server.url()).await;
    // At any point of the server's tick.
    for number in 0..10 {
        store.create(&key(number), b"x", within(Duration::from_secs(1))).await.unwrap().unwrap();
        let created = Instant::now();
        tokio::time::sleep(Duration::from_millis(930)).await;
        if created.elapsed() < Duration::from_secs(1) {
            assert!(store.load(&key(number)).await.unwrap().is_some(), "gone after {:?}", created.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(190)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for number in 0..10 {
        assert!(store.load(&key(number)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn oversized_value_keeps_the_old_one_whatever_the_item_limit() {
    for options in [&["-I", "16k", "-o", "slab_chunk_max=8192"][..], &["-I", "1m"], &["-I", "2m"]] {
        let Some(server) = Memcached::start(options) else { return };
        let store = open(&server.url()).await;
        let limit = store.capabilities().max_value().unwrap();
        let revision = store.create(&key(1), b"old", an_hour()).await.unwrap().unwrap();
        let error = store.update(&key(1), &vec![0; limit + 1], an_hour(), &revision).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
        assert_eq!(value(&store, &key(1)).await.unwrap(), &b"old"[..]);
        let error = store.create(&key(2), &vec![0; limit + 1], an_hour()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(store.update(&key(1), &vec![0; limit], an_hour(), &revision).await.unwrap().is_some());
        assert_eq!(value(&store, &key(1)).await.unwrap().len(), limit);
        // The limit is memcached's, not one far below it.
        let refused = format!("ms {} {} T60\r\n{}", name(&key(3)), limit + 65, "x".repeat(limit + 65));
        assert_eq!(server.ask(&refused), "SERVER_ERROR object too large for cache");
    }
}

#[tokio::test]
async fn evicted_is_absent_not_an_error() {
    let Some(server) = Memcached::start(&["-m", "2", "-I", "1m"]) else { return };
    let store = open(&server.url()).await;
    assert!(store.capabilities().evicts());
    let first = store.create(&key(0), &[0; 4000], an_hour()).await.unwrap().unwrap();
    for number in 1..2000 {
        store.create(&key(number), &[0; 4000], an_hour()).await.unwrap().unwrap();
    }
    assert!(server.count("evictions") > 0);
    assert!(store.load(&key(0)).await.unwrap().is_none());
    assert!(store.update(&key(0), b"back", an_hour(), &first).await.unwrap().is_none());
    assert!(!store.delete(&key(0)).await.unwrap());
    assert!(store.load(&key(0)).await.unwrap().is_none());
    assert!(store.load(&key(1999)).await.unwrap().is_some());
}

#[tokio::test]
async fn full_without_eviction_is_an_error_never_absent() {
    let Some(server) = Memcached::start(&["-m", "2", "-M"]) else { return };
    let store = open(&server.url()).await;
    let mut stored = Vec::new();
    let error = loop {
        let key = key(stored.len() as u64);
        match store.create(&key, &[1; 900], an_hour()).await {
            Ok(revision) => stored.push((key, revision.unwrap())),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.is_unavailable() && !error.is_ambiguous());
    for (key, revision) in &stored {
        assert_eq!(store.load(key).await.unwrap().unwrap().revision(), revision);
    }
    assert!(store.delete(&stored[0].0).await.unwrap());
    assert!(store.create(&key(9999), &[1; 900], an_hour()).await.unwrap().is_some());
}

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
    let store = Arc::new(open(&format!("{url}?connections=8")).await);
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
    let counts = tokio::time::timeout(Duration::from_secs(60), tasks.join_all()).await;
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
    let store = Arc::new(open(&format!("{}?connections=4", server.url())).await);
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
async fn credentials_are_used_or_refused_and_never_stored_or_shown() {
    let folder = std::env::temp_dir().join(format!("mocha-session-memcache-{}", std::process::id()));
    std::fs::write(&folder, "app:hunter2:@x\n").unwrap();
    let Some(server) = Memcached::start(&["-Y", folder.to_str().unwrap()]) else { return };
    std::fs::remove_file(&folder).unwrap();
    let url = |login: &str| format!("memcache://{login}{}", server.address());
    let store = open(&url("app:hunter2:%40x@")).await;
    store.create(&key(1), b"x", an_hour()).await.unwrap().unwrap();
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"x"[..]);
    for login in ["", "app:hunter3@", "other:hunter2:%40x@"] {
        let error = MemcacheStore::connect(&url(login)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{login}: {error}");
        assert_hidden(&error);
    }
    assert!(!format!("{store:?}").contains("hunter2"));

    // A server without logins takes the command that logs in for a value to keep.
    let server = Memcached::start(&[]).unwrap();
    let error = MemcacheStore::connect(&server.url().replace("//", "//app:hunter2@")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert_hidden(&error);
    assert_eq!((server.count("cmd_set"), server.count("total_items")), (0, 0));
}

fn assert_hidden(error: &Error) {
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn urls_are_read_or_refused_with_a_reason_before_anything_is_connected() {
    let registry = Registry::new().register(DRIVER);
    for good in [
        "memcache://localhost",
        "memcached://127.0.0.1:11211/",
        "memcache://a,b:11212,[::1]:11213?prefix=shop:&connections=4&timeout=2s",
        "memcache://app:s3cret@a",
    ] {
        registry.check(good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for (bad, word) in [
        ("memcache://", "names no host"),
        ("memcache://a/0", "no databases"),
        ("memcache:///run/memcached.sock", "unix sockets"),
        ("memcache+unix:///run/memcached.sock", "unix sockets"),
        ("memcaches://a", "TLS tunnel"),
        ("memcache+tls://a", "TLS tunnel"),
        ("memcache://app@a", "username:password"),
        ("memcache://:hunter2@a", "username:password"),
        ("memcache://a%20b:hunter2@a", "username:password"),
        ("memcache://a:hunter2%20b@a", "username:password"),
        ("memcache://a?connections=0", "`connections`"),
        ("memcache://a?connections=many", "`connections`"),
        ("memcache://a?prefix=a%20b", "`prefix`"),
        ("memcache://a?prefex=x", "`prefex`"),
    ] {
        let error = registry.check(bad).expect_err(bad);
        assert!(error.is_invalid_config() && error.to_string().contains(word), "{bad}: {error}");
        assert_hidden(&error);
    }
}

#[tokio::test]
async fn what_is_no_fit_memcached_is_refused_at_open() {
    let Some(server) = Memcached::start(&["-C"]) else { return };
    let error = MemcacheStore::connect(&server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("compare-and-set"), "{error}");
    for (answers, kind, word) in [
        (&["STAT pid 1\r\nEND\r\n", "END\r\n", "ERROR\r\n"][..], ErrorKind::Unsupported, "1.6"),
        (&["STAT proxy yes\r\nEND\r\n", "END\r\n", "MN\r\n"], ErrorKind::Unsupported, "proxy"),
        (&["ERROR Too many open connections\r\n"], ErrorKind::Unavailable, "connection"),
        (&["\u{15}\u{3}\u{1}"], ErrorKind::Unavailable, "TLS"),
        (&[], ErrorKind::Unavailable, "127.0.0.1"),
    ] {
        let error = MemcacheStore::connect(&impostor(answers).await).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{answers:?}: {error}");
        assert!(error.to_string().contains(word), "{answers:?}: {error}");
    }
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
async fn one_command_for_each_call_and_connections_are_kept() {
    let Some(server) = Memcached::start(&[]) else { return };
    let (proxy, url) = Proxy::start(server.address()).await;
    let store = open(&url).await;
    let commands = || {
        let names = ["cmd_get", "cmd_set", "delete_hits", "delete_misses", "cmd_touch", "cmd_meta"];
        names.iter().map(|name| server.count(name)).sum::<u64>()
    };
    let start = commands();
    let revision = store.create(&key(1), b"one", an_hour()).await.unwrap().unwrap();
    assert_eq!(commands() - start, 1);
    store.load(&key(1)).await.unwrap().unwrap();
    assert_eq!(commands() - start, 2);
    store.update(&key(1), b"two", an_hour(), &revision).await.unwrap().unwrap();
    assert_eq!(commands() - start, 3);
    store.delete(&key(1)).await.unwrap();
    assert_eq!(commands() - start, 4);
    assert_eq!(proxy.connections.load(Ordering::Relaxed), 1);
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

#[tokio::test]
async fn capabilities_say_what_memcached_is() {
    let Some(server) = Memcached::start(&[]) else { return };
    let storage = Registry::new().register(DRIVER).open(&server.url()).await.unwrap();
    let can = storage.capabilities();
    assert!(can.compare_and_set() && can.native_expiry() && can.evicts() && !can.listing());
    assert_eq!((can.engine(), can.durability()), ("memcached", Durability::Server));
    assert!((1_048_000..1_048_576).contains(&can.max_value().unwrap()));
}
