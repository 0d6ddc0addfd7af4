//! Rows under stress: isolation levels, deadlocks, limits, read-only servers, full disks.

use std::time::Duration;

use mocha_session_conformance::tools::assert_says;
use mocha_session_core::ErrorKind;
use mocha_session_core::store::{Revision, SessionStore};
use mocha_session_sql::{SqlOptions, SqlStore, Table, sqlx};
use sqlx::Executor as _;

use crate::common::{Engine, fresh_key, fresh_name, hour};
use crate::opening::run_sql;

fn in_a_fresh_table() -> SqlOptions {
    // Ten logins at once can take long where the client's cryptography was not optimised.
    let unhurried = Duration::from_secs(30);
    SqlOptions::new().with_table(Table::new(&fresh_name()).unwrap()).with_deadline(unhurried)
}

/// Every isolation level that an operator may have set as the default.
async fn stores_of_every_isolation() -> Vec<(String, SqlStore)> {
    let mut stores = Vec::new();
    for level in ["read committed", "repeatable read", "serializable"] {
        if let Some(engine) = Engine::postgres() {
            let connect: sqlx::postgres::PgConnectOptions = engine.url.parse().unwrap();
            let connect = connect.options([("default_transaction_isolation", level)]);
            let pool = sqlx::PgPool::connect_with(connect).await.unwrap();
            let store = SqlStore::new(pool, in_a_fresh_table()).await.unwrap();
            stores.push((format!("postgresql {level}"), store));
        }
        if let Some(engine) = Engine::mysql() {
            let pool = sqlx::mysql::MySqlPoolOptions::new()
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        let sql = format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}");
                        connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.map(drop)
                    })
                })
                .connect(&engine.url)
                .await
                .unwrap();
            let store = SqlStore::new(pool, in_a_fresh_table()).await.unwrap();
            stores.push((format!("mysql {level}"), store));
        }
    }
    stores
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_updates_wins_under_every_isolation_level() {
    for (name, store) in stores_of_every_isolation().await {
        let key = fresh_key();
        let mut revision = store.create(&key, b"0", hour()).await.unwrap().unwrap();
        for _ in 0..20 {
            let writers: Vec<_> = (0..8)
                .map(|_| {
                    let (store, revision) = (store.clone(), revision.clone());
                    tokio::spawn(async move { store.update(&key, b"n", hour(), &revision).await })
                })
                .collect();
            let mut won = Vec::new();
            for writer in writers {
                let outcome = writer.await.unwrap();
                won.extend(outcome.unwrap_or_else(|error| panic!("{name}: {error}")));
            }
            assert_eq!(won.len(), 1, "{name}");
            revision = won.remove(0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_and_deletes_of_one_key_never_deadlock() {
    for (name, store) in stores_of_every_isolation().await {
        let key = fresh_key();
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let store = store.clone();
                tokio::spawn(async move {
                    for _ in 0..200 {
                        if task % 4 != 0 {
                            store.create(&key, b"x", hour()).await?;
                        } else {
                            store.delete(&key).await?;
                        }
                    }
                    Ok::<_, mocha_session_core::Error>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

/// A store on PostgreSQL whose table rolls back so many of its first updates after so many seconds,
/// as a raised isolation level does when others write the row. A sequence counts, because no
/// rollback sets it back.
async fn rolling_back(
    times: &str,
    after: &str,
    deadline: Duration,
) -> Option<(SqlStore, sqlx::PgPool)> {
    let engine = Engine::postgres()?;
    let name = fresh_name();
    let pool = sqlx::PgPool::connect(&engine.url).await.unwrap();
    let options = SqlOptions::new().with_table(Table::new(&name).unwrap()).with_deadline(deadline);
    let store = SqlStore::new(pool.clone(), options).await.unwrap();
    let sql = format!(
        "CREATE SEQUENCE {name}_s; CREATE FUNCTION {name}_f() RETURNS trigger AS $$ BEGIN \
         IF nextval('{name}_s') <= {times} THEN PERFORM pg_sleep({after}); RAISE EXCEPTION 'met' USING ERRCODE = '40001'; \
         END IF; RETURN NEW; END $$ LANGUAGE plpgsql; CREATE TRIGGER {name}_t BEFORE UPDATE ON \
         {name} FOR EACH ROW EXECUTE FUNCTION {name}_f()"
    );
    pool.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.unwrap();
    Some((store, pool))
}

#[tokio::test]
async fn a_statement_that_others_roll_back_fifteen_times_is_done() {
    let Some((store, _pool)) = rolling_back("15", "0", Duration::from_secs(30)).await else {
        return;
    };
    let key = fresh_key();
    let first = store.create(&key, b"0", hour()).await.unwrap().unwrap();
    let second = store.update(&key, b"1", hour(), &first).await.unwrap().unwrap();
    let stored = store.load(&key).await.unwrap().unwrap();
    assert_eq!((&stored.value()[..], stored.revision()), (&b"1"[..], &second));
}

#[tokio::test]
async fn a_statement_that_is_always_rolled_back_is_refused_within_its_deadline() {
    let deadline = Duration::from_secs(2);
    // At once, and so late that a third try would end after the deadline.
    for after in ["0", "0.7"] {
        let Some((store, _pool)) = rolling_back("1000000", after, deadline).await else { return };
        let key = fresh_key();
        let first = store.create(&key, b"0", hour()).await.unwrap().unwrap();
        let began = std::time::Instant::now();
        let error = store.update(&key, b"1", hour(), &first).await.unwrap_err();
        assert_says(&error, ErrorKind::Unavailable, &["40001", "was not done"]);
        assert!(began.elapsed() < deadline, "{after}: {:?}", began.elapsed());
        assert_eq!(store.load(&key).await.unwrap().unwrap().revision(), &first);
    }
}

/// Others wait for the pool's only connection, too, and take it between two tries.
#[tokio::test]
async fn a_repeated_statement_waits_for_a_connection_within_the_wait_of_the_whole_call() {
    let deadline = Duration::from_secs(4);
    let Some((store, pool)) = rolling_back("1000000", "1.2", deadline).await else { return };
    let key = fresh_key();
    let first = store.create(&key, b"0", hour()).await.unwrap().unwrap();
    let all = pool.options().get_max_connections();
    let mut others = Vec::new();
    for _ in 1..all {
        others.push(pool.acquire().await.unwrap());
    }
    let began = std::time::Instant::now();
    let taking = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _last = pool.acquire().await.unwrap();
        tokio::time::sleep(deadline).await;
    };
    let updated = tokio::select! {
        biased;
        updated = store.update(&key, b"1", hour(), &first) => updated,
        () = taking => panic!("after the deadline"),
    };
    assert_says(&updated.unwrap_err(), ErrorKind::Unavailable, &["in use"]);
    assert!(began.elapsed() < deadline * 7 / 10, "{:?}", began.elapsed());
}

#[tokio::test]
async fn revision_of_another_kind_of_store_is_never_the_current_one() {
    let folder = tempfile::tempdir().unwrap();
    for engine in Engine::all(&folder) {
        let storage = engine.open().await.unwrap();
        let store = storage.store().unwrap();
        let key = fresh_key();
        store.create(&key, b"x", hour()).await.unwrap().unwrap();
        let etag = Revision::from("\"9b2cf535\"".to_owned());
        assert!(
            store.update(&key, b"y", hour(), &etag).await.unwrap().is_none(),
            "{}",
            engine.name
        );
        store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn full_disk_refuses_the_write_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let connect = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.path().join("small.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .pragma("max_page_count", "24");
    let pool = sqlx::sqlite::SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(connect)
        .await
        .unwrap();
    let store = SqlStore::new(pool, SqlOptions::new()).await.unwrap();
    let mut kept = Vec::new();
    let error = loop {
        let key = fresh_key();
        match store.create(&key, &[7; 3000], hour()).await {
            Ok(revision) => kept.push((key, revision.unwrap())),
            Err(error) => break error,
        }
        assert!(kept.len() < 100, "the disk never got full");
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(!kept.is_empty());
    // An update that needs more room is refused, and the old value stays.
    let (key, revision) = &kept[0];
    let error = store.update(key, &vec![8; 30_000], hour(), revision).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    for (key, revision) in &kept {
        let stored = store.load(key).await.unwrap().unwrap();
        assert_eq!((&stored.value()[..], stored.revision()), (&[7; 3000][..], revision));
    }
    // Room comes back with a delete.
    assert!(store.delete(&kept[0].0).await.unwrap());
    assert!(store.create(&fresh_key(), &[9; 3000], hour()).await.unwrap().is_some());
}

#[tokio::test]
async fn file_that_another_process_keeps_locked_is_unavailable_and_not_ambiguous() {
    let folder = tempfile::tempdir().unwrap();
    let connect = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.path().join("locked.db"))
        .create_if_missing(true);
    // The pool's own limit is sqlx's, five seconds: as long as the whole call, and longer than this
    // one.
    let pool = sqlx::SqlitePool::connect_with(connect).await.unwrap();
    let options = SqlOptions::new().with_deadline(Duration::from_millis(500));
    let store = SqlStore::new(pool.clone(), options).await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let began = std::time::Instant::now();
    let error = store.create(&fresh_key(), b"x", hour()).await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["locked"]);
    assert!(began.elapsed() < Duration::from_millis(450), "{:?}", began.elapsed());
    other.execute("ROLLBACK").await.unwrap();
    assert!(store.create(&fresh_key(), b"x", hour()).await.unwrap().is_some());
}

/// The reason why `expires_at` has no index.
#[tokio::test]
async fn updates_on_postgresql_are_heap_only() {
    let Some(engine) = Engine::postgres() else { return };
    let table = fresh_name();
    let storage = engine.with(&format!("table={table}")).open().await.unwrap();
    let store = storage.store().unwrap();
    let mut sessions = Vec::new();
    for _ in 0..100 {
        let key = fresh_key();
        sessions.push((key, store.create(&key, &[1; 300], hour()).await.unwrap().unwrap()));
    }
    for round in 0..5 {
        for (key, revision) in &mut sessions {
            *revision = store.update(key, &[round; 300], hour(), revision).await.unwrap().unwrap();
        }
    }
    drop(storage);
    let pool = sqlx::PgPool::connect(&engine.url).await.unwrap();
    // The statistics arrive when a connection has been idle for a moment.
    for _ in 0..100 {
        let (updates, heap_only): (i64, i64) = sqlx::query_as(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1",
        )
        .bind(&table)
        .fetch_one(&pool)
        .await
        .unwrap();
        if updates == 500 {
            assert!(heap_only >= 400, "{heap_only} of {updates}");
            run_sql(&engine, |_| format!("DROP TABLE {table}")).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the statistics never came");
}
