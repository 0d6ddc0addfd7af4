//! Redis' own: the cost of each operation, keys and databases, capabilities, URLs and TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{hour, key, open, round_trip, say, server};
use mocha_session_conformance::engine_url;
use mocha_session_conformance::tools::{assert_says, check_urls, scan_all};
use mocha_session_core::ErrorKind;
use mocha_session_core::store::{Durability, KeySpace, Revision, ScanCursor, SessionStore};
use mocha_session_redis::{DRIVER, RedisStore};

#[tokio::test]
async fn each_operation_is_one_round_trip() {
    let server = server!();
    let store = open(&server.url()).await.unwrap();
    let (key, other) = (key(), key());
    let revision = store.create(&other, b"first", hour()).await.unwrap().unwrap();
    // The server has shown that it does not compare by itself, and has the script.
    store.update(&other, b"two", hour(), &revision).await.unwrap().unwrap();
    // What a script calls is counted with the rest: that is no round trip.
    let expect = async |what: &str, commands: &[(&str, u64)]| {
        for name in ["get", "set", "evalsha", "eval", "getrange", "setrange", "unlink", "ping"] {
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
    expect("refused update", &[("evalsha", 1), ("getrange", 1), ("setrange", 1)]).await;
    store.delete(&key).await.unwrap();
    expect("delete", &[("unlink", 1)]).await;
    store.ping().await.unwrap();
    expect("ping", &[("ping", 1)]).await;
    store.sweep(std::time::SystemTime::now(), None, 10).await.unwrap();
    expect("sweep", &[]).await;
}

#[tokio::test]
async fn a_server_that_compares_whole_values_runs_no_script() {
    let Some(url) = engine_url("MOCHA_TEST_VALKEY_URL") else { return };
    let url = url.replace("valkey", "redis");
    round_trip(&open(&url).await.unwrap()).await;
    // Over a connection of the application's, too.
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    round_trip(&RedisStore::new(connection.clone(), KeySpace::new("given:").unwrap())).await;
    // Whatever tests ran on this server.
    let ran: String = say(&mut connection, "INFO commandstats").await.unwrap();
    assert!(ran.contains("cmdstat_set:") && !ran.contains("cmdstat_eval"), "{ran}");
}

#[tokio::test]
async fn a_server_without_it_is_asked_once_on_each_connection() {
    let server = server!();
    let store = open(&server.url()).await.unwrap();
    let key = key();
    let mut revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
    server.run::<()>("CONFIG RESETSTAT").await;
    for _ in 0..3 {
        revision = store.update(&key, b"two", hour(), &revision).await.unwrap().unwrap();
    }
    // Three by the script, and one that was refused.
    assert_eq!(server.calls("set").await, 4);
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
    let other = Revision::from(b"a number and more".to_vec());
    assert_eq!(store.update(&short, b"new", hour(), &other).await.unwrap(), None);
    let error = store.update(&list, b"new", hour(), &other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(server.run::<i64>("DBSIZE").await, 4);
    assert_eq!(scan_all(&store, 100).await.unwrap(), [good]);
    // More than the server can count to.
    assert_eq!(scan_all(&store, usize::MAX).await.unwrap(), [good]);
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
        assert_eq!(scan_all(store, 1).await.unwrap(), [key]);
        assert!(
            store.delete(&key).await.unwrap() && scan_all(store, 1000).await.unwrap().is_empty()
        );
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
    let allowed = "+get +set +getrange +setrange +evalsha +eval +unlink +ping";
    server
        .run::<()>(&format!("ACL SETUSER lean on >pw ~session:* resetchannels -@all {allowed}"))
        .await;
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
    assert_eq!(scan_all(&store, 10).await.unwrap(), [key]);
    let error =
        open(&format!("{lean}?prefix=others:")).await.unwrap().load(&key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[test]
fn urls_are_read_literally_or_refused_with_a_reason() {
    let good = [
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
    ];
    let refused = [
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
    ];
    check_urls(DRIVER, &good, &refused);
}

#[tokio::test]
async fn tls_files_that_cannot_be_read_are_named() {
    for (option, url) in [
        ("ca", "rediss://127.0.0.1:1?ca=/no/such.pem"),
        ("cert", "rediss://127.0.0.1:1?cert=/no/such.pem&key=/no/such.pem"),
    ] {
        let error = open(url).await.unwrap_err();
        assert_says(&error, ErrorKind::InvalidConfig, &[&format!("`{option}`")]);
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
        assert_says(&error, ErrorKind::Unavailable, &[word]);
    }
    let (before, at) = url.rsplit_once('@').unwrap();
    let wrong = before.rsplit_once(':').unwrap().0;
    let error = open(&format!("{wrong}:wrong-hunter2@{at}?ca={ca}")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    let error = open(&format!("{url}?ca={ca}&cert={key}&key={cert}")).await.unwrap_err();
    assert!(error.is_invalid_config(), "{error}");
}
