//! Sweeps and scans: what is refreshed meanwhile, shared tables, tables without blocks.

use std::time::Duration;

use mocha_session_conformance::tools::scan_all;
use mocha_session_core::store::{SessionStore, StorageKey};
use mocha_session_sql::{SqlOptions, SqlStore, Table, sqlx};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::common::{Engine, fresh_key, fresh_name, hour, past, sweep};
use crate::opening::run_sql;

/// The sweep waits for the refresh that holds the row, and then looks again.
#[tokio::test(flavor = "multi_thread")]
async fn sweep_spares_what_is_being_refreshed_by_an_open_transaction() {
    for engine in Engine::servers() {
        let table = fresh_name();
        let storage = engine.with(&format!("table={table}")).open().await.unwrap();
        let store = storage.store().unwrap().clone();
        let (refreshed, expired) = (fresh_key(), fresh_key());
        store.create(&refreshed, b"refreshed", past()).await.unwrap().unwrap();
        store.create(&expired, b"expired", past()).await.unwrap().unwrap();

        let update = format!(
            "UPDATE {table} SET expires_at = {} WHERE id = '{refreshed}'",
            hour().at_millis()
        );
        let sweeping = {
            let store = store.clone();
            async move { sweep(&*store, 100).await }
        };
        let swept = if engine.name == "postgresql" {
            let refresh = sqlx::PgPool::connect(&engine.url).await.unwrap().begin().await.unwrap();
            sweep_meanwhile(refresh, update, sweeping).await
        } else {
            let refresh =
                sqlx::MySqlPool::connect(&engine.url).await.unwrap().begin().await.unwrap();
            sweep_meanwhile(refresh, update, sweeping).await
        };
        assert_eq!(swept, (2, 1), "{}", engine.name);
        assert!(
            store.load(&refreshed).await.unwrap().is_some(),
            "{}: the refreshed was removed",
            engine.name
        );
        assert!(store.load(&expired).await.unwrap().is_none(), "{}", engine.name);
        run_sql(&engine, |_| format!("DROP TABLE {table}")).await;
    }
}

async fn sweep_meanwhile<DB>(
    mut refresh: sqlx::Transaction<'static, DB>,
    update: String,
    sweeping: impl Future<Output = (u64, u64)> + Send + 'static,
) -> (u64, u64)
where
    DB: sqlx::Database,
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
{
    (*refresh).execute(sqlx::raw_sql(AssertSqlSafe(update))).await.unwrap();
    let sweeping = tokio::spawn(sweeping);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!sweeping.is_finished(), "it did not wait for the row");
    refresh.commit().await.unwrap();
    sweeping.await.unwrap()
}

async fn fill(store: &dyn SessionStore, live: usize, expired: usize) -> Vec<StorageKey> {
    let mut keys = Vec::new();
    for at in 0..live + expired {
        let key = fresh_key();
        let expiry = if at < live { hour() } else { past() };
        store.create(&key, &[0; 200], expiry).await.unwrap().unwrap();
        keys.extend((at < live).then_some(key));
    }
    keys
}

#[tokio::test]
async fn applications_that_share_a_table_touch_only_their_own() {
    let folder = tempfile::tempdir().unwrap();
    for engine in Engine::all(&folder) {
        // Pages that are smaller than what lies between, and batches that PostgreSQL takes by the
        // block.
        for limit in [3, 100] {
            share_a_table(&engine, limit).await;
        }
    }
}

async fn share_a_table(engine: &Engine, limit: usize) {
    let table = fresh_name();
    // The empty prefix sees names that begin with what could be one of its keys.
    let prefixes = ["", "shop:", "shop:a", "abc", "f00:"];
    let mut stores = Vec::new();
    for prefix in prefixes {
        let url = engine.with(&format!("table={table}&prefix={prefix}"));
        stores.push(url.open().await.unwrap().store().unwrap().clone());
    }
    let key = fresh_key();
    for (store, prefix) in stores.iter().zip(prefixes) {
        fill(&**store, 5, 10).await;
        store.create(&key, prefix.as_bytes(), hour()).await.unwrap().unwrap();
    }
    for (at, store) in stores.iter().enumerate() {
        assert_eq!(sweep(&**store, limit).await, (16, 10), "{} `{}`", engine.name, prefixes[at]);
        for other in &stores[at + 1..] {
            assert_eq!(
                scan_all(&**other, 3).await.unwrap().len(),
                16,
                "{} `{}`",
                engine.name,
                prefixes[at]
            );
        }
    }
    for (store, prefix) in stores.iter().zip(prefixes) {
        assert_eq!(scan_all(&**store, 3).await.unwrap().len(), 6, "{} `{prefix}`", engine.name);
        assert_eq!(&store.load(&key).await.unwrap().unwrap().value()[..], prefix.as_bytes());
    }
    if engine.name != "sqlite" {
        run_sql(engine, |_| format!("DROP TABLE {table}")).await;
    }
}

/// More expired than one statement removes, over many blocks and batches.
#[tokio::test]
async fn sweep_reaches_every_row_of_a_larger_table() {
    let folder = tempfile::tempdir().unwrap();
    for engine in Engine::all(&folder) {
        let engine = engine.fresh();
        let storage = engine.open().await.unwrap();
        let store = storage.store().unwrap();
        let live = fill(&**store, 150, 450).await;
        assert_eq!(sweep(&**store, 100).await, (600, 450), "{}", engine.name);
        assert_eq!(sweep(&**store, 100).await, (150, 0), "{}", engine.name);
        for key in live {
            assert!(store.load(&key).await.unwrap().is_some(), "{}", engine.name);
        }
    }
}

/// A partitioned table has no blocks of its own: it is swept in the order of its ids.
#[tokio::test]
async fn partitioned_table_of_postgresql_is_swept() {
    let Some(engine) = Engine::postgres() else { return };
    let table = fresh_name();
    run_sql(&engine, |_| {
        format!(
            "CREATE TABLE {table} (id text COLLATE \"C\" PRIMARY KEY, revision bigint NOT NULL, \
             expires_at bigint NOT NULL, data bytea NOT NULL) PARTITION BY HASH (id); \
             CREATE TABLE {table}_0 PARTITION OF {table} FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
             CREATE TABLE {table}_1 PARTITION OF {table} FOR VALUES WITH (MODULUS 2, REMAINDER 1)"
        )
    })
    .await;
    let pool = sqlx::PgPool::connect(&engine.url).await.unwrap();
    let options = SqlOptions::new().with_table(Table::new(&table).unwrap()).with_create(false);
    let store = SqlStore::new(pool, options).await.unwrap();
    fill(&store, 50, 150).await;
    assert_eq!(sweep(&store, 100).await, (200, 150));
    run_sql(&engine, |_| format!("DROP TABLE {table}")).await;
}
