//! One deadline: what is locked, or does not answer, is said as that and in time.

use std::time::{Duration, Instant};

use mocha_session_conformance::Proxy;
use mocha_session_conformance::tools::assert_says;
use mocha_session_core::ErrorKind;
use mocha_session_core::store::SessionStore as _;
use mocha_session_sql::{SqlOptions, SqlStore, sqlx};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::common::{Engine, fresh_key, fresh_name, hour, with_pool};
use crate::opening::run_sql;

/// Every server's own limit comes before the deadline. MySQL, unlike MariaDB, counts whole seconds
/// and looks once a second: with less than three seconds its answer could come too late.
#[tokio::test(flavor = "multi_thread")]
async fn row_that_others_keep_locked_is_not_done_and_not_ambiguous() {
    let servers = [Engine::postgres(), Engine::mysql(), Engine::mysql_9()];
    for (engine, seconds) in servers.into_iter().zip([1, 1, 3]) {
        let Some(engine) = engine else { continue };
        let (table, deadline) = (fresh_name(), Duration::from_secs(seconds));
        let storage =
            engine.with(&format!("table={table}&timeout={seconds}s")).open().await.unwrap();
        let store = storage.store().unwrap().clone();
        let key = fresh_key();
        let revision = store.create(&key, b"before", hour()).await.unwrap().unwrap();

        let lock = format!("UPDATE {table} SET expires_at = expires_at + 1 WHERE id = '{key}'");
        let lock = sqlx::raw_sql(AssertSqlSafe(lock));
        let update = store.update(&key, b"after", hour(), &revision);
        let (error, took) = with_pool!(engine, |pool| pool, |pool| {
            let mut other = pool.begin().await.unwrap();
            (*other).execute(lock).await.unwrap();
            let began = Instant::now();
            let updated = (update.await, began.elapsed());
            other.rollback().await.unwrap();
            updated
        });
        let error = error.unwrap_err();
        assert_says(&error, ErrorKind::Unavailable, &["locked"]);
        assert!(took < deadline, "{}: {took:?}", engine.name);
        let stored = store.load(&key).await.unwrap().unwrap();
        assert_eq!(&stored.value()[..], b"before", "{}", engine.name);
        assert!(
            store.update(&key, b"after", hour(), &revision).await.unwrap().is_some(),
            "{}",
            engine.name
        );
        run_sql(&engine, |_| format!("DROP TABLE {table}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deadline_that_is_longer_than_servers_can_count_works() {
    let folder = tempfile::tempdir().unwrap();
    let key = fresh_key();
    for engine in Engine::all(&folder) {
        let storage = engine.with("timeout=4294967295w").open().await.unwrap();
        let store = storage.store().unwrap();
        store.create(&key, b"kept", hour()).await.unwrap().unwrap();
        assert!(store.load(&key).await.unwrap().is_some(), "{}", engine.name);
    }
    for engine in Engine::servers() {
        let options = SqlOptions::new().with_deadline(Duration::MAX);
        let store =
            with_pool!(engine, |pool| pool, |pool| SqlStore::new(pool, options).await.unwrap());
        assert!(store.delete(&key).await.unwrap(), "{}", engine.name);
    }
}

/// PostgreSQL 17 ends a transaction that is too long together with its connection.
#[tokio::test(flavor = "multi_thread")]
async fn transaction_that_is_too_long_for_the_server_is_not_done_and_its_connection_is_left() {
    let Some(engine) = Engine::postgres_17() else { return };
    let table = fresh_name();
    let options = format!("table={table}&options=-c%20transaction_timeout=1s");
    let storage = engine.with(&options).open().await.unwrap();
    let (store, key) = (storage.store().unwrap(), fresh_key());
    let revision = store.create(&key, b"before", hour()).await.unwrap().unwrap();
    let pool = sqlx::PgPool::connect(&engine.url).await.unwrap();
    let mut other = pool.begin().await.unwrap();
    let lock = format!("UPDATE {table} SET expires_at = expires_at + 1 WHERE id = '{key}'");
    (*other).execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.unwrap();
    let error = store.update(&key, b"after", hour(), &revision).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["25P04", "not done"]);
    other.rollback().await.unwrap();
    assert!(store.update(&key, b"after", hour(), &revision).await.unwrap().is_some());
    run_sql(&engine, |_| format!("DROP TABLE {table}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_file_that_is_locked_while_it_is_opened_is_reported_as_locked() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::sqlite(&folder);
    run_sql(&engine, |_| "CREATE TABLE other (x)".to_owned()).await;
    let file = engine.url.strip_prefix("sqlite:///").unwrap();
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{file}")).await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    let began = Instant::now();
    let error = engine.with("timeout=500ms").open().await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["locked"]);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    other.execute("ROLLBACK").await.unwrap();
    engine.open().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_does_not_answer_a_new_connection_is_given_up_in_time() {
    for engine in Engine::servers() {
        let proxy = Proxy::to(engine.authority()).await.unwrap();
        proxy.black_hole();
        for (options, at_most) in [("timeout=1s", 2500), ("timeout=20s&connect_timeout=1", 5000)] {
            let began = Instant::now();
            let error =
                engine.at(&proxy.address().to_string()).with(options).open().await.unwrap_err();
            assert_says(&error, ErrorKind::Unavailable, &["in time"]);
            let took = began.elapsed();
            assert!(took < Duration::from_millis(at_most), "{}: {took:?}", engine.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_that_waits_for_a_connection_in_vain_was_not_sent() {
    for engine in Engine::servers() {
        let options = SqlOptions::new().with_deadline(Duration::from_secs(1));
        let error = with_pool!(engine, |pool| pool.max_connections(1), |pool| {
            let store = SqlStore::new(pool.clone(), options).await.unwrap();
            let _taken = pool.acquire().await.unwrap();
            store.create(&fresh_key(), b"x", hour()).await.unwrap_err()
        });
        assert_says(&error, ErrorKind::Unavailable, &["in use"]);
    }
}
