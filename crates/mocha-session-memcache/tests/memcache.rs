//! memcached's own: lifetimes, limits, eviction, logins, URLs, and servers that are refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mocha_session_conformance::tools::{assert_says, check_urls};
use mocha_session_core::backend::Credentials;
use mocha_session_core::store::{Durability, KeySpace, SessionStore};
use mocha_session_core::{ErrorKind, Registry};
use mocha_session_memcache::{DRIVER, MemcacheStore};
use support::{
    Memcached, an_hour, assert_hidden, impostor, key, name, open, through_proxy, try_open, value,
    within,
};

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
        store
            .update(&key, b"y", within(Duration::from_secs(seconds)), &revision)
            .await
            .unwrap()
            .unwrap();
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
            assert!(
                store.load(&key(number)).await.unwrap().is_some(),
                "gone after {:?}",
                created.elapsed()
            );
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
    for options in [&["-I", "512k"][..], &["-I", "1m"], &["-I", "2m"]] {
        let Some(server) = Memcached::start(options) else { return };
        let store = open(&server.url()).await;
        let limit = store.capabilities().max_value().unwrap();
        let revision = store.create(&key(1), b"old", an_hour()).await.unwrap().unwrap();
        let error =
            store.update(&key(1), &vec![0; limit + 1], an_hour(), &revision).await.unwrap_err();
        assert_says(&error, ErrorKind::TooLarge, &[&limit.to_string()]);
        assert_eq!(value(&store, &key(1)).await.unwrap(), &b"old"[..]);
        let error = store.create(&key(2), &vec![0; limit + 1], an_hour()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(
            store.update(&key(1), &vec![0; limit], an_hour(), &revision).await.unwrap().is_some()
        );
        assert_eq!(value(&store, &key(1)).await.unwrap().len(), limit);
        // The limit is memcached's, not one far below it.
        let refused =
            format!("ms {} {} T60\r\n{}", name(&key(3)), limit + 65, "x".repeat(limit + 65));
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

#[tokio::test]
async fn credentials_are_used_or_refused_and_never_stored_or_shown() {
    let folder =
        std::env::temp_dir().join(format!("mocha-session-memcache-{}", std::process::id()));
    std::fs::write(&folder, "app:hunter2:@x\n").unwrap();
    let Some(server) = Memcached::start(&["-Y", folder.to_str().unwrap()]) else { return };
    std::fs::remove_file(&folder).unwrap();
    let url = |login: &str| format!("memcache://{login}{}", server.address());
    let store = open(&url("app:hunter2:%40x@")).await;
    store.create(&key(1), b"x", an_hour()).await.unwrap().unwrap();
    assert_eq!(value(&store, &key(1)).await.unwrap(), &b"x"[..]);
    for login in ["", "app:hunter3@", "other:hunter2:%40x@"] {
        let error = try_open(&url(login)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{login}: {error}");
        assert_hidden(&error);
    }
    assert!(!format!("{store:?}").contains("hunter2"));

    // A password that is asked for, at each dial.
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let space = KeySpace::new("session:").unwrap();
    let owned = MemcacheStore::with_credentials([server.address().to_string()], space, move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok(Credentials::new("app", "hunter2:@x")) }
    });
    let owned = owned.unwrap().detect().await.unwrap();
    assert_eq!(value(&owned.clone(), &key(1)).await.unwrap(), &b"x"[..]);
    assert_eq!(asked.load(Ordering::Relaxed), 1, "once for each connection");
    assert!(!format!("{owned:?}").contains("hunter2"));

    // A server without logins takes the command that logs in for a value to keep.
    let server = Memcached::start(&[]).unwrap();
    let error = try_open(&server.url().replace("//", "//app:hunter2@")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert_hidden(&error);
    assert_eq!((server.count("cmd_set"), server.count("total_items")), (0, 0));
}

#[test]
fn urls_are_read_or_refused_with_a_reason_before_anything_is_connected() {
    let good = [
        "memcache://localhost",
        "memcached://127.0.0.1:11211/",
        "memcache://a,b:11212,[::1]:11213?prefix=shop:&max_connections=4&timeout=2s",
        "memcache://app:s3cret@a",
    ];
    let refused = [
        ("memcache://", "names no host"),
        ("memcache://a/0", "no databases"),
        ("memcache:///run/memcached.sock", "Unix sockets"),
        ("memcache+unix:///run/memcached.sock", "Unix sockets"),
        ("memcaches://a", "a tunnel"),
        ("memcache+tls://a", "a tunnel"),
        ("memcache://app@a", "username:password"),
        ("memcache://:hunter2@a", "username:password"),
        ("memcache://a%20b:hunter2@a", "username:password"),
        ("memcache://a:hunter2%20b@a", "username:password"),
        ("memcache://a?max_connections=0", "`max_connections`"),
        ("memcache://a?max_connections=many", "`max_connections`"),
        ("memcache://a?prefix=a%20b", "`prefix`"),
        ("memcache://a?prefex=x", "`prefex`"),
    ];
    check_urls(DRIVER, &good, &refused);
}

#[tokio::test]
async fn what_is_no_fit_memcached_is_refused_at_open() {
    let Some(server) = Memcached::start(&["-C"]) else { return };
    let error = try_open(&server.url()).await.unwrap_err();
    assert_says(&error, ErrorKind::Unsupported, &["compare-and-set"]);
    for (answers, kind, word) in [
        (&["STAT pid 1\r\nEND\r\n", "END\r\n", "ERROR\r\n"][..], ErrorKind::Unsupported, "1.6"),
        (&["STAT version 1.6.9\r\nEND\r\n"], ErrorKind::Unsupported, "1.6.10"),
        (&["STAT proxy yes\r\nEND\r\n", "END\r\n", "MN\r\n"], ErrorKind::Unsupported, "proxy"),
        (&["ERROR Too many open connections\r\n"], ErrorKind::Unavailable, "connection"),
        (&["\u{15}\u{3}\u{1}"], ErrorKind::Unavailable, "TLS"),
        (&[], ErrorKind::Unavailable, "127.0.0.1"),
    ] {
        let error = try_open(&impostor(answers).await).await.unwrap_err();
        assert_says(&error, kind, &[word]);
    }
}

#[tokio::test]
async fn one_command_for_each_call_and_connections_are_kept() {
    let Some(server) = Memcached::start(&[]) else { return };
    let (proxy, url) = through_proxy(&server).await;
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
    assert_eq!(proxy.dials(), 1);
}

#[tokio::test]
async fn store_on_a_list_of_servers_is_the_store_of_their_url() {
    let Some(server) = Memcached::start(&["-I", "512k"]) else { return };
    let space = KeySpace::new("session:").unwrap();
    let (proxy, _) = through_proxy(&server).await;
    let store = MemcacheStore::new([proxy.address().to_string()], space).unwrap();
    store.create(&key(1), b"one", an_hour()).await.unwrap().unwrap();
    assert_eq!(proxy.dials(), 1, "`new` connects to nothing");
    assert_eq!(value(&open(&server.url()).await, &key(1)).await.unwrap(), &b"one"[..]);
    assert!(store.capabilities().max_value().unwrap() > 512 * 1024, "not asked yet");
    assert!(store.detect().await.unwrap().capabilities().max_value().unwrap() < 512 * 1024);
    for bad in [&[][..], &["a b"], &["a:0"], &["a/b"], &["a?prefix=x"]] {
        let space = KeySpace::new("session:").unwrap();
        assert!(MemcacheStore::new(bad, space).unwrap_err().is_invalid_config(), "{bad:?}");
    }
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
