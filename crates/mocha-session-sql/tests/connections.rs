//! The life of connections: how often they are dialled, how they end, and which of a server's
//! goodbyes end them.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "_sqlite"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{Engine, eventually, fresh_key, fresh_name, goodbyes, hour, until, with_pool};
use mocha_session_conformance::Proxy;
use mocha_session_conformance::tools::assert_says;
use mocha_session_core::store::SessionStore;
use mocha_session_core::{ErrorKind, Storage};
use mocha_session_sql::{SqlOptions, SqlStore, Table, sqlx};
use sqlx::{AssertSqlSafe, Executor as _};

async fn load_at_once(store: &dyn SessionStore, calls: usize) {
    let key = fresh_key();
    let loads = (0..calls).map(|_| store.load(&key));
    // Polled together, so that each needs a connection of its own.
    let mut loads: Vec<_> = loads.collect();
    std::future::poll_fn(|context| {
        loads.retain_mut(|load| match load.as_mut().poll(context) {
            std::task::Poll::Ready(loaded) => {
                assert!(loaded.unwrap().is_none());
                false
            }
            std::task::Poll::Pending => true,
        });
        if loads.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// A store on a pool of this many connections at this address, set up as the documentation asks
/// for.
async fn on_own_pool(engine: &Engine, connections: u32, table: &str) -> SqlStore {
    let options = SqlOptions::new().with_table(Table::new(table).unwrap());
    with_pool!(
        engine,
        |pool| pool.max_connections(connections).test_before_acquire(false),
        |pool| SqlStore::new(pool, options).await.unwrap()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_hangs_up_is_dialled_a_few_times_a_second() {
    for engine in Engine::servers() {
        let proxy = Proxy::to(engine.authority()).await.unwrap();
        let storage = engine.at(&proxy.address().to_string()).open().await.unwrap();
        let store = storage.store().unwrap();
        // Nobody listens there: the proxy takes a connection and closes it.
        proxy.lead_to("127.0.0.1:1");
        proxy.cut();
        let (before, began) = (proxy.dials(), Instant::now());
        let mut calls = 0;
        while began.elapsed() < Duration::from_secs(2) {
            assert!(store.load(&fresh_key()).await.unwrap_err().is_unavailable());
            calls += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let dials = proxy.dials() - before;
        assert!((3..40).contains(&dials), "{}: {dials} dials for {calls} calls", engine.name);
        proxy.lead_to(engine.authority());
        let nothing = fresh_key();
        assert!(eventually(|| store.load(&nothing)).await.is_none());
    }
}

/// Calls that find no connection wait for one that others give back, too: two are made at once, not
/// ten.
#[tokio::test(flavor = "multi_thread")]
async fn crowd_of_calls_does_not_dial_all_at_once() {
    for engine in Engine::servers() {
        let proxy = Proxy::to(engine.authority()).await.unwrap();
        let storage = engine
            .at(&proxy.address().to_string())
            .with("max_connections=50&timeout=30s")
            .open()
            .await
            .unwrap();
        proxy.cut();
        let before = proxy.dials();
        load_at_once(&**storage.store().unwrap(), 50).await;
        let dials = proxy.dials() - before;
        assert!((1..25).contains(&dials), "{}: {dials}", engine.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_on_a_pool_of_your_own_survive_a_restart_of_the_server() {
    for engine in Engine::servers() {
        let proxy = Proxy::to(engine.authority()).await.unwrap();
        let store =
            on_own_pool(&engine.at(&proxy.address().to_string()), 5, "mocha_sessions").await;
        for _ in 0..3 {
            load_at_once(&store, 5).await;
            proxy.cut();
            for _ in 0..10 {
                let loaded = store.load(&fresh_key()).await;
                assert!(matches!(loaded, Ok(None)), "{}: {loaded:?}", engine.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn store_that_is_dropped_says_goodbye_on_every_connection() {
    for engine in Engine::servers() {
        let proxy = Proxy::to(engine.authority()).await.unwrap();
        let storage = engine.at(&proxy.address().to_string()).open().await.unwrap();
        let began = Instant::now();
        // The pool may serve several loads by one connection, if that is quick.
        while proxy.dials() < 2 {
            assert!(began.elapsed() < Duration::from_secs(10), "{}", engine.name);
            load_at_once(&**storage.store().unwrap(), 8).await;
        }
        let open = proxy.dials();
        drop(storage);
        until(engine.name, async || goodbyes(&proxy) == (open, 0)).await;
    }
}

/// As at the end of `main`: the store is dropped after its runtime has stopped running tasks.
#[test]
fn store_that_is_dropped_outside_of_its_runtime_says_goodbye() {
    for engine in Engine::servers() {
        let beside = tokio::runtime::Runtime::new().unwrap();
        let proxy = beside.block_on(Proxy::to(engine.authority())).unwrap();
        let runtime = runtime();
        let storage = runtime.block_on(engine.at(&proxy.address().to_string()).open()).unwrap();
        drop(storage);
        drop(runtime);
        beside.block_on(async {
            until(engine.name, async || goodbyes(&proxy) == (1, 0)).await;
            drop(proxy);
        });
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Creates an entry, in a runtime of its own.
fn create_elsewhere(name: &str, storage: &Storage) {
    let store = storage.store().unwrap();
    let (key, limit) = (fresh_key(), Duration::from_secs(10));
    let created = runtime()
        .block_on(async { tokio::time::timeout(limit, store.create(&key, b"x", hour())).await });
    assert!(matches!(created, Ok(Ok(Some(_)))), "{name}: {created:?}");
}

/// As with actix-web, where each worker is a runtime of one thread.
#[test]
fn busy_runtime_stalls_only_itself() {
    for engine in Engine::servers() {
        let first = runtime();
        let storage = first.block_on(engine.with("max_connections=2").open()).unwrap();
        let its = storage.store().unwrap().clone();
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let busy = std::thread::spawn(move || {
            first.block_on(async {
                load_at_once(&*its, 2).await;
                ready.send(()).unwrap();
                // A handler that computes: nothing else runs on this runtime.
                let _ = stopped.recv();
                its.load(&fresh_key()).await.unwrap();
            });
        });
        is_ready.recv().unwrap();
        for _ in 0..3 {
            create_elsewhere(engine.name, &storage);
        }
        stop.send(()).unwrap();
        busy.join().unwrap();
    }
}

#[test]
fn store_that_was_opened_in_a_runtime_that_has_ended_works_in_another() {
    for engine in Engine::servers() {
        let beside = tokio::runtime::Runtime::new().unwrap();
        let proxy = beside.block_on(Proxy::to(engine.authority())).unwrap();
        let engine = engine.at(&proxy.address().to_string());
        let first = runtime();
        let storage = first.block_on(engine.open()).unwrap();
        assert!(proxy.open() > 0);
        drop(first);
        beside.block_on(until("its connections are closed", async || proxy.open() == 0));
        create_elsewhere(engine.name, &storage);
    }
}

#[test]
fn each_runtime_has_as_many_connections_as_the_limit() {
    for engine in Engine::servers() {
        let beside = tokio::runtime::Runtime::new().unwrap();
        let proxy = beside.block_on(Proxy::to(engine.authority())).unwrap();
        let engine = engine.at(&proxy.address().to_string()).with("max_connections=2");
        let runtimes: Vec<_> = std::iter::repeat_with(runtime).take(3).collect();
        let storage = runtimes[0].block_on(engine.open()).unwrap();
        for (number, runtime) in (1..).zip(&runtimes) {
            runtime.block_on(load_at_once(&**storage.store().unwrap(), 6));
            assert!(proxy.open() <= 2 * number, "{}: {}", engine.name, proxy.open());
        }
        assert!(proxy.open() > 3, "{}: {}", engine.name, proxy.open());
        // A server that goes away is left by all runtimes at once.
        proxy.answer_next_with(match engine.name {
            "postgresql" => postgres_error("57P05", "FATAL"),
            _ => mysql_error(4031),
        });
        runtimes[0].block_on(async {
            load_at_once(&**storage.store().unwrap(), 1).await;
            until("the old ones are closed", async || proxy.open() <= 1).await;
        });
        drop(storage);
        beside.block_on(async { drop(proxy) });
    }
}

/// MySQL's packet for an error.
fn mysql_error(code: u16) -> Vec<u8> {
    let mut body = vec![0xff];
    body.extend(code.to_le_bytes());
    body.extend(b"#HY000goodbye");
    let mut packet = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
    packet[3] = 1;
    packet.extend(body);
    packet
}

/// PostgreSQL's message for an error.
fn postgres_error(code: &str, severity: &str) -> Vec<u8> {
    let body = format!("S{severity}\0V{severity}\0C{code}\0Mgoodbye\0\0");
    let mut message = vec![b'E'];
    message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(body.as_bytes());
    message
}

/// Of MySQL 8 and 9, MariaDB, Galera, group replication and PostgreSQL: what a server says that is
/// going away.
#[tokio::test(flavor = "multi_thread")]
async fn servers_goodbyes_end_the_connection_and_nothing_else() {
    // Whether it is known that nothing was done: then the write moves to another connection, too.
    for (codes, moves) in
        [(&[1053, 1927, 3169][..], false), (&[4031, 1243, 1047, 3101, 1290, 1792, 1836], true)]
    {
        let Some(engine) = Engine::mysql() else { break };
        for code in codes {
            goodbye(&engine, &code.to_string(), mysql_error(*code), moves).await;
        }
    }
    // Those that have no meaning of their own, 58030, XX000 and P0001, end the connection as well.
    for (codes, severity, moves) in [
        ("57P01 57P02 58030 XX000 P0001", "FATAL", false),
        ("57P05 25P04", "FATAL", true),
        ("26000 0A000 25006", "ERROR", true),
    ] {
        let Some(engine) = Engine::postgres() else { break };
        for code in codes.split(' ') {
            goodbye(&engine, code, postgres_error(code, severity), moves).await;
        }
    }
}

async fn goodbye(engine: &Engine, code: &str, packet: Vec<u8>, moves: bool) {
    let proxy = Proxy::to(engine.authority()).await.unwrap();
    let storage = engine.at(&proxy.address().to_string()).open().await.unwrap();
    let store = storage.store().unwrap();
    let key = fresh_key();
    store.create(&key, b"kept", hour()).await.unwrap().unwrap();

    let connections = proxy.dials();
    proxy.answer_next_with(packet.clone());
    let loaded = store.load(&key).await;
    assert!(loaded.as_ref().is_ok_and(Option::is_some), "{code}: {loaded:?}");
    assert_eq!(proxy.dials(), connections + 1, "{code}: not on another connection");

    proxy.answer_next_with(packet);
    let created = store.create(&fresh_key(), b"x", hour()).await;
    if moves {
        assert!(created.as_ref().is_ok_and(Option::is_some), "{code}: {created:?}");
    } else {
        let error = created.unwrap_err();
        assert!(error.is_ambiguous() && error.http_status() == 503, "{code}: {error:?}");
    }
    assert!(store.create(&fresh_key(), b"x", hour()).await.unwrap().is_some(), "{code}");
    store.delete(&key).await.unwrap();
}

/// As behind a pooler that hands connections out to others, and after the table was altered.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_that_are_gone_are_prepared_anew() {
    let Some(engine) = Engine::postgres() else { return };
    let table = fresh_name();
    let options = SqlOptions::new().with_table(Table::new(&table).unwrap());
    let pool =
        sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&engine.url).await.unwrap();
    let store = SqlStore::new(pool.clone(), options).await.unwrap();
    let key = fresh_key();
    let revision = store.create(&key, b"kept", hour()).await.unwrap().unwrap();
    store.load(&key).await.unwrap().unwrap();
    let revision = store.update(&key, b"kept", hour(), &revision).await.unwrap().unwrap();
    store.scan(None, 10).await.unwrap();

    for _ in 0..2 {
        pool.execute("DEALLOCATE ALL").await.unwrap();
        assert!(store.load(&key).await.unwrap().is_some(), "26000 for a read");
    }
    pool.execute("DEALLOCATE ALL").await.unwrap();
    assert!(
        store.update(&key, b"new", hour(), &revision).await.unwrap().is_some(),
        "26000 for a write"
    );

    store.scan(None, 10).await.unwrap();
    let alter = format!("ALTER TABLE {table} ALTER COLUMN id TYPE varchar(168)");
    pool.execute(sqlx::raw_sql(AssertSqlSafe(alter))).await.unwrap();
    assert_eq!(store.scan(None, 10).await.unwrap().entries().len(), 1, "0A000");
    pool.execute(sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {table}")))).await.unwrap();
}

/// PgBouncer has one code for everything: one that is full for a moment does not cost the limit of
/// statements.
#[tokio::test(flavor = "multi_thread")]
async fn pooler_that_is_full_for_a_moment_is_asked_for_the_same_settings_again() {
    let Some(engine) = Engine::postgres() else { return };
    let proxy = Proxy::to(engine.authority()).await.unwrap();
    let table = fresh_name();
    let storage = engine
        .at(&proxy.address().to_string())
        .with(&format!("table={table}&timeout=1s&sslmode=disable"))
        .open()
        .await
        .unwrap();
    let (store, key) = (storage.store().unwrap(), fresh_key());
    let revision = store.create(&key, b"before", hour()).await.unwrap().unwrap();
    proxy.cut();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    proxy.answer_next_with(postgres_error("08P01", "FATAL"));
    let error = store.load(&key).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("PgBouncer"), "{error}");
    assert!(eventually(|| store.load(&key)).await.is_some());

    let mut other = sqlx::PgPool::connect(&engine.url).await.unwrap().begin().await.unwrap();
    let lock = format!("UPDATE {table} SET expires_at = 0 WHERE id = '{key}'");
    (*other).execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.unwrap();
    let error = store.update(&key, b"after", hour(), &revision).await.unwrap_err();
    assert!(!error.is_ambiguous() && error.to_string().contains("locked"), "{error}");
    other.rollback().await.unwrap();
    let drop = format!("DROP TABLE {table}");
    let pool = sqlx::PgPool::connect(&engine.url).await.unwrap();
    pool.execute(sqlx::raw_sql(AssertSqlSafe(drop))).await.unwrap();
}

/// PgBouncer in transaction mode without `max_prepared_statements`: the name of a statement is
/// another client's.
#[tokio::test]
async fn pooler_without_prepared_statements_is_named() {
    let Some(engine) = Engine::postgres() else { return };
    let pool = sqlx::postgres::PgPoolOptions::new()
        .after_connect(|connection, _| {
            Box::pin(
                async move { connection.execute("PREPARE sqlx_s_1 AS SELECT 1").await.map(drop) },
            )
        })
        .connect(&engine.url)
        .await
        .unwrap();
    let error = SqlStore::new(pool, SqlOptions::new()).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["PgBouncer", "max_prepared_statements"]);
}
