//! What is particular to Redis: what each operation costs, and what the store says when the server
//! cannot do as asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::{Server, eventually, hour, key, open};
use mocha_session_conformance::{Proxy, engine_url};
use mocha_session_core::store::{Durability, Revision, ScanCursor, SessionStore, StorageKey};
use mocha_session_core::{ErrorKind, Registry};
use mocha_session_redis::DRIVER;

/// Starts a private server, or leaves the test where none is installed.
macro_rules! server {
    ($($argument:expr),*) => {
        match Server::start(&[$($argument),*]).await {
            Some(server) => server,
            None => return,
        }
    };
}

async fn round_trip(store: &impl SessionStore) {
    let key = key();
    let created = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    let updated = store.update(&key, b"two", hour(), &created).await.unwrap().unwrap();
    assert_eq!(store.update(&key, b"three", hour(), &created).await.unwrap(), None);
    let found = store.load(&key).await.unwrap().unwrap();
    assert_eq!((&found.value()[..], found.revision()), (&b"two"[..], &updated));
    assert!(store.delete(&key).await.unwrap() && !store.delete(&key).await.unwrap());
    assert_eq!(store.load(&key).await.unwrap(), None);
}

/// All keys that a scan finds.
async fn scanned(store: &impl SessionStore, limit: usize) -> Vec<StorageKey> {
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

#[tokio::test]
async fn each_operation_is_one_round_trip() {
    let server = server!();
    let store = open(&server.url()).await.unwrap();
    let (key, other) = (key(), key());
    let revision = store.create(&other, b"first", hour()).await.unwrap().unwrap();
    store.update(&other, b"so that the script is there", hour(), &revision).await.unwrap().unwrap();
    // What a script calls is counted with the rest: that is no round trip.
    let expect = async |what: &str, commands: &[(&str, u64)]| {
        for name in ["get", "set", "evalsha", "eval", "getrange", "unlink", "ping"] {
            let expected =
                commands.iter().find(|(known, _)| *known == name).map_or(0, |(_, calls)| *calls);
            assert_eq!(server.calls(name).await, expected, "{what}: {name}");
        }
        server.run::<()>("CONFIG RESETSTAT").await;
    };
    server.run::<()>("CONFIG RESETSTAT").await;
    let created = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    expect("create", &[("set", 1)]).await;
    store.load(&key).await.unwrap().unwrap();
    expect("load", &[("get", 1)]).await;
    store.update(&key, b"two", hour(), &created).await.unwrap().unwrap();
    expect("update", &[("evalsha", 1), ("getrange", 1), ("set", 1)]).await;
    assert_eq!(store.update(&key, b"two", hour(), &created).await.unwrap(), None);
    expect("refused update", &[("evalsha", 1), ("getrange", 1)]).await;
    store.delete(&key).await.unwrap();
    expect("delete", &[("unlink", 1)]).await;
    store.ping().await.unwrap();
    expect("ping", &[("ping", 1)]).await;
    store.sweep(std::time::SystemTime::now(), None, 10).await.unwrap();
    expect("sweep", &[]).await;
}

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
            assert_eq!(
                (error.kind(), error.is_ambiguous()),
                (ErrorKind::Unavailable, false),
                "{error}"
            );
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
        assert_eq!(
            (error.kind(), error.is_ambiguous()),
            (ErrorKind::Unavailable, false),
            "{error}"
        );
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    server.restart().await;
    assert_eq!(
        eventually("load", async || store.load(&key).await.ok()).await.unwrap().revision(),
        &revision
    );
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
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxclients")
        .arg(1)
        .exec_async(&mut control)
        .await
        .unwrap();
    // The rest of the connections end, and nobody is let in but who is in.
    redis::cmd("CLIENT")
        .arg("KILL")
        .arg("SKIPME")
        .arg("yes")
        .exec_async(&mut control)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    for _ in 0..3 {
        let error = store.load(&key()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("maxclients")
        .arg(100)
        .exec_async(&mut control)
        .await
        .unwrap();
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
        "redis://no-such-host.invalid".to_owned(),
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
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false), "{error}");
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

#[tokio::test]
async fn corrupt_and_foreign_values_are_errors_and_stay() {
    let server = server!();
    let store = open(&server.url()).await.unwrap();
    let (short, list, good) = (key(), key(), key());
    server.run::<()>(&format!("SET session:{short} short")).await;
    server.run::<()>(&format!("RPUSH session:{list} a b")).await;
    server.run::<()>("SET session:not-a-key xxxxxxxxxxxxxxxx").await;
    store.create(&good, b"good", hour()).await.unwrap().unwrap();
    for key in [&short, &list] {
        let error = store.load(key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(!format!("{error:?}").contains(&key.to_string()), "{error:?}");
        assert_eq!(store.create(key, b"new", hour()).await.unwrap(), None);
    }
    assert_eq!(store.update(&short, b"new", hour(), &Revision::random()).await.unwrap(), None);
    let error = store.update(&list, b"new", hour(), &Revision::random()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(server.run::<i64>("DBSIZE").await, 4);
    assert_eq!(scanned(&store, 100).await, [good]);
    // More than the server can count to.
    assert_eq!(scanned(&store, usize::MAX).await, [good]);
    for cursor in ["", "17", " x", " -1", "elsewhere:1 0"] {
        assert!(store.scan(Some(ScanCursor::new(cursor)), 10).await.is_err(), "{cursor:?}");
    }
}

#[tokio::test]
async fn databases_and_prefixes_are_apart() {
    let server = server!();
    let url = server.url();
    let stores = [
        open(&url).await.unwrap(),
        open(&format!("{url}/5")).await.unwrap(),
        open(&format!("{url}?db=6")).await.unwrap(),
        open(&format!("{url}?prefix=session:x:")).await.unwrap(),
    ];
    let key = key();
    for store in &stores {
        store.create(&key, b"mine", hour()).await.unwrap().unwrap();
    }
    for store in &stores {
        assert_eq!(scanned(store, 1).await, [key]);
        assert!(store.delete(&key).await.unwrap() && scanned(store, 1000).await.is_empty());
    }
}

#[tokio::test]
async fn capabilities_say_what_the_server_keeps_and_evicts() {
    let server = server!();
    let url = server.url();
    let claims = async |url: &str| {
        let capabilities = open(url).await.unwrap().capabilities();
        (capabilities.evicts(), capabilities.durability())
    };
    assert_eq!(claims(&url).await, (false, Durability::Server));
    for (memory, policy, evicts) in [
        ("100mb", "noeviction", false),
        ("100mb", "allkeys-lru", true),
        ("100mb", "volatile-ttl", true),
        ("0", "allkeys-lru", false),
    ] {
        server.run::<()>(&format!("CONFIG SET maxmemory-policy {policy}")).await;
        server.run::<()>(&format!("CONFIG SET maxmemory {memory}")).await;
        assert_eq!(claims(&url).await.0, evicts, "{memory} {policy}");
        assert!(
            claims(&format!("{url}?evicts=true")).await.0
                && !claims(&format!("{url}?evicts=no")).await.0
        );
    }
    server.run::<()>("CONFIG SET appendonly yes").await;
    assert_eq!(claims(&url).await.1, Durability::Delayed);
    server.run::<()>("CONFIG SET appendfsync always").await;
    assert_eq!(claims(&url).await.1, Durability::Disk);

    // What may not be asked is assumed to be the least, and what the documentation lists is enough
    // to work.
    server.run::<()>("ACL SETUSER lean on >pw ~session:* resetchannels -@all +get +set +getrange +evalsha +eval +unlink +ping").await;
    let lean = format!("redis://lean:pw@127.0.0.1:{}", server.port);
    assert_eq!(claims(&lean).await, (true, Durability::Server));
    let store = open(&lean).await.unwrap();
    round_trip(&store).await;
    let error = store.scan(None, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    server.run::<()>("ACL SETUSER lean +scan +mget +info").await;
    assert_eq!(claims(&lean).await, (false, Durability::Delayed));
    let key = key();
    store.create(&key, b"x", hour()).await.unwrap().unwrap();
    assert_eq!(scanned(&store, 10).await, [key]);
    let error =
        open(&format!("{lean}?prefix=others:")).await.unwrap().load(&key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[test]
fn urls_are_read_literally_or_refused_with_a_reason() {
    let registry = Registry::new().register(DRIVER);
    for good in [
        "redis://username:password@host:6379/0",
        "redis://host",
        "redis://:p%40ss@[::1]:6380/15?prefix=shop:&timeout=2s",
        "redis://host?db=3&connect_timeout=500ms&response_timeout=2s&evicts=false&create=false",
        "rediss://u:p@host?ca=/ca.pem&cert=/c.pem&key=/k.pem",
        "valkey://host/1",
        "valkeys://host",
        "redis+cluster://a:7000,b:7001",
        "rediss+cluster://u:p@a,b/0?ca=/ca.pem",
        "redis+sentinel://a:26379,b/mymaster",
        "redis+sentinel://u:p@a,b/mymaster/2?sentinel_username=s&sentinel_password=t",
        "valkey+sentinel://a/mymaster?db=2",
        "redis+unix:///run/redis.sock?db=1",
        "unix://u:p@/run/redis.sock",
    ] {
        registry.check(good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for (bad, word) in [
        ("redis://", "names no host"),
        ("redis://a,b", "exactly one host"),
        ("redis://h/x", "database"),
        ("redis://h/-1", "database"),
        ("redis://h/1/2", "database"),
        ("redis://h/1?db=1", "database"),
        ("redis://user@h", "needs a password"),
        ("redis://h?ca=/x", "`ca`"),
        ("rediss://h?cert=/x", "must be given together"),
        ("redis://h?evicts=perhaps", "`evicts`"),
        ("redis://h?timeout=1s&connect_timeout=2s", "`connect_timeout`"),
        ("redis://h?response_timeout=6s", "`response_timeout`"),
        ("redis://h?prefix=a*", "`prefix`"),
        ("redis+cluster://", "names no host"),
        ("redis+cluster://a/1", "database"),
        ("redis+cluster://a?db=1", "`db`"),
        ("redis+sentinel://a", "mymaster"),
        ("redis+sentinel://a/m/x", "database"),
        ("redis+sentinel://a/m?sentinel_username=x", "needs a password"),
        ("redis+unix://host/run/redis.sock", "three slashes"),
        ("redis+unix://", "three slashes"),
        ("rediss+unix:///x", "not known"),
    ] {
        let error = registry.check(bad).expect_err(bad);
        assert!(error.is_invalid_config() && error.to_string().contains(word), "{bad}: {error}");
    }
}

#[tokio::test]
async fn tls_files_that_cannot_be_read_are_named() {
    for (option, url) in [
        ("ca", "rediss://127.0.0.1:1?ca=/no/such.pem"),
        ("cert", "rediss://127.0.0.1:1?cert=/no/such.pem&key=/no/such.pem"),
    ] {
        let error = open(url).await.unwrap_err();
        assert!(
            error.is_invalid_config() && error.to_string().contains(&format!("`{option}`")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn tls_is_verified_both_ways() {
    let parts = ["TLS_URL", "MTLS_URL", "TLS_CA", "TLS_CERT", "TLS_KEY"];
    let [Some(url), Some(wary), Some(ca), Some(cert), Some(key)] =
        parts.map(|part| engine_url(&format!("MOCHA_TEST_REDIS_{part}")))
    else {
        return;
    };
    round_trip(&open(&format!("{url}?ca={ca}")).await.unwrap()).await;
    round_trip(&open(&format!("{wary}?ca={ca}&cert={cert}&key={key}")).await.unwrap()).await;
    for (refused, word) in [(url.clone(), "certificate"), (format!("{wary}?ca={ca}"), "ertificate")]
    {
        let error = open(&refused).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    let (before, at) = url.rsplit_once('@').unwrap();
    let wrong = before.rsplit_once(':').unwrap().0;
    let error = open(&format!("{wrong}:wrong-hunter2@{at}?ca={ca}")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    let error = open(&format!("{url}?ca={ca}&cert={key}&key={cert}")).await.unwrap_err();
    assert!(error.is_invalid_config(), "{error}");
}
