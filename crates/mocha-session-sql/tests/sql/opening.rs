//! Opening: many at once, in memory, in files, in schemas, with and without the right to create.

use mocha_session_conformance::tools::assert_says;
use mocha_session_conformance::{engine_url, rerun};
use mocha_session_core::store::{Durability, KeySpace, SessionStore as _};
use mocha_session_core::{ErrorKind, Storage, StoreUrl};
use mocha_session_sql::{Dialect, SqlOptions, SqlStore, Table, schema_sql, sqlx};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::common::{Engine, fresh_key, fresh_name, hour, with_pool};

#[tokio::test(flavor = "multi_thread")]
async fn ten_open_the_same_fresh_database_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        for engine in Engine::all(&folder) {
            // The file itself is fresh; a server's database is made fresh by a table of this round.
            let engine = match engine.name {
                "sqlite" => Engine::sqlite(&folder),
                _ => engine.fresh(),
            };
            let openers: Vec<_> = (0..10)
                .map(|_| {
                    let engine = engine.clone();
                    tokio::spawn(async move {
                        let storage = engine.open().await?;
                        storage.store().unwrap().create(&fresh_key(), b"mine", hour()).await
                    })
                })
                .collect();
            for opener in openers {
                let created = opener.await.unwrap();
                assert!(
                    created.as_ref().is_ok_and(Option::is_some),
                    "{}: {created:?}",
                    engine.name
                );
            }
            let all = engine.open().await.unwrap().store().unwrap().scan(None, 100).await.unwrap();
            assert_eq!(all.entries().len(), 10, "{}", engine.name);
        }
    }
}

/// The other process of the next test: this test binary again, with the file's URL in its
/// environment.
#[tokio::test]
#[ignore = "the next test runs it, in processes of their own"]
async fn another_process_uses_the_file() {
    let url = std::env::var("TEST_URL").expect("the next test sets it");
    fill(&Engine { name: "sqlite", url }.open().await.unwrap()).await;
}

async fn fill(storage: &Storage) {
    for _ in 0..50 {
        storage.store().unwrap().create(&fresh_key(), b"one", hour()).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_write_the_same_sqlite_file() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::sqlite(&folder);
    let environment = [("TEST_URL", &*engine.url)];
    let child = || rerun("opening::another_process_uses_the_file", &environment);
    let storage = engine.open().await.unwrap();
    let (one, two, three, ()) = tokio::join!(child(), child(), child(), fill(&storage));
    [one, two, three].into_iter().for_each(|ended| drop(ended.unwrap()));
    assert_eq!(storage.store().unwrap().scan(None, 1000).await.unwrap().entries().len(), 200);
}

#[tokio::test]
async fn memory_is_one_database_per_store_and_gone_with_it() {
    for url in ["sqlite://", "sqlite:///:memory:", "sqlite+pysqlite://"] {
        let engine = Engine { name: "sqlite", url: url.to_owned() };
        let (one, other) = (engine.open().await.unwrap(), engine.open().await.unwrap());
        let key = fresh_key();
        one.store().unwrap().create(&key, b"here", hour()).await.unwrap().unwrap();
        assert!(one.store().unwrap().load(&key).await.unwrap().is_some(), "{url}");
        assert!(other.store().unwrap().load(&key).await.unwrap().is_none(), "{url}");
        assert_eq!(one.capabilities().durability(), Durability::Process);
    }
}

#[tokio::test]
async fn file_that_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    std::fs::write(
        folder.path().join("text.db"),
        "this is not a database, it is a text of some length",
    )
    .unwrap();
    for (file, kind, words) in [
        ("/no/such/folder/a.db", ErrorKind::InvalidConfig, "/no/such/folder"),
        ("/missing.db?create=false", ErrorKind::InvalidConfig, "missing.db"),
        ("/text.db", ErrorKind::InvalidConfig, "not an SQLite database"),
        ("", ErrorKind::Unavailable, "cannot be opened"),
    ] {
        let url = format!("sqlite:///{path}{file}");
        let error = Engine { name: "sqlite", url }.open().await.unwrap_err();
        assert_says(&error, kind, &[words]);
    }
}

#[tokio::test]
async fn without_create_a_missing_table_is_unavailable_and_the_schema_helps() {
    let folder = tempfile::tempdir().unwrap();
    for engine in Engine::all(&folder) {
        if engine.name == "sqlite" {
            engine.open().await.unwrap(); // the file; the table below is another
        }
        let name = fresh_name();
        let refusing = engine.with(&format!("table={name}&create=false"));
        let error = refusing.open().await.unwrap_err();
        assert_says(&error, ErrorKind::Unavailable, &[&name, "schema_sql"]);

        let table = Table::new(&name).unwrap();
        run_sql(&engine, |dialect| schema_sql(dialect, &table)).await;
        let storage = refusing.open().await.unwrap();
        assert!(
            storage.store().unwrap().create(&fresh_key(), b"x", hour()).await.unwrap().is_some()
        );

        // Dropped while in use: an error, never "no session".
        run_sql(&engine, |_| format!("DROP TABLE {name}")).await;
        let error = storage.store().unwrap().load(&fresh_key()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn table_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for engine in Engine::all(&folder) {
        let name = fresh_name();
        run_sql(&engine, |_| format!("CREATE TABLE {name} (id VARCHAR(40), colour VARCHAR(10))"))
            .await;
        let error = engine.with(&format!("table={name}")).open().await.unwrap_err();
        assert_says(&error, ErrorKind::InvalidConfig, &["columns are not"]);
    }
}

#[tokio::test]
async fn tables_live_in_a_schema_of_postgresql() {
    let Some(engine) = Engine::postgres() else { return };
    let schema = fresh_name();
    let error = engine.with(&format!("schema={schema}")).open().await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["schema"]);

    run_sql(&engine, |_| format!("CREATE SCHEMA {schema}")).await;
    let storage = engine.with(&format!("schema={schema}&table=Mixed")).open().await.unwrap();
    storage.store().unwrap().create(&fresh_key(), b"x", hour()).await.unwrap().unwrap();
    let pool = sqlx::PgPool::connect(&engine.url).await.unwrap();
    let count: i64 =
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {schema}.\"Mixed\"")))
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn user_who_may_not_create_uses_a_table_that_is_there() {
    let Some(engine) = Engine::postgres() else { return };
    let (role, table) = (fresh_name(), fresh_name());
    engine.with(&format!("table={table}")).open().await.unwrap();
    let database = StoreUrl::parse(&engine.url).unwrap().split_path().0.to_owned();
    run_sql(&engine, |_| {
        format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT CONNECT ON DATABASE {database} TO {role}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {role}"
        )
    })
    .await;
    let (_, host) = engine.url.split_once('@').unwrap();
    let as_role = Engine { name: "postgresql", url: format!("postgresql://{role}:pw@{host}") };
    let storage = as_role.with(&format!("table={table}")).open().await.unwrap();
    storage.store().unwrap().create(&fresh_key(), b"x", hour()).await.unwrap().unwrap();
    // Where it would have to create one it is told so.
    let error = as_role.fresh().open().await.unwrap_err();
    assert_says(&error, ErrorKind::Denied, &["CREATE on its schema", "schema_sql"]);
    run_sql(&engine, |_| format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn durability_is_what_the_server_promises() {
    let folder = tempfile::tempdir().unwrap();
    let file = Engine::sqlite(&folder);
    assert_eq!(file.open().await.unwrap().capabilities().durability(), Durability::Delayed);
    let full = file.with("synchronous=full").open().await.unwrap();
    assert_eq!(full.capabilities().durability(), Durability::Disk);

    let Some(engine) = Engine::postgres() else { return };
    let pool = sqlx::PgPool::connect(&engine.url).await.unwrap();
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&pool).await.unwrap();
    let (disk, delayed) = match &*fsync {
        "on" => (Durability::Disk, Durability::Delayed),
        _ => (Durability::Server, Durability::Server),
    };
    let with = |commit: &str| engine.with(&format!("synchronous_commit={commit}"));
    assert_eq!(with("on").open().await.unwrap().capabilities().durability(), disk);
    assert_eq!(with("off").open().await.unwrap().capabilities().durability(), delayed);
}

#[tokio::test]
async fn pools_of_your_own_work_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let mut stores = Vec::new();
    let options = || {
        SqlOptions::new()
            .with_table(Table::new(&fresh_name()).unwrap())
            .with_key_space(KeySpace::new("own:").unwrap())
    };
    for engine in Engine::servers() {
        stores.push(with_pool!(engine, |pool| pool, |pool| {
            SqlStore::new(pool, options()).await.unwrap()
        }));
    }
    let file = folder.path().join("own.db");
    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(connect.clone()).await.unwrap();
    stores.push(SqlStore::new(pool.clone(), options()).await.unwrap());
    let readers = sqlx::SqlitePool::connect_with(connect.read_only(true)).await.unwrap();
    stores.push(SqlStore::new((pool, readers), options()).await.unwrap());
    for store in stores {
        let key = fresh_key();
        let revision = store.create(&key, b"one", hour()).await.unwrap().unwrap();
        assert!(store.update(&key, b"two", hour(), &revision).await.unwrap().is_some());
        assert_eq!(&store.load(&key).await.unwrap().unwrap().value()[..], b"two");
        assert!(store.delete(&key).await.unwrap());
    }
}

/// Runs a statement beside the store.
/// The limit of a statement is left out there by the store itself; what the URL asks for cannot be.
#[tokio::test]
async fn settings_that_pgbouncer_refuses_are_reported_with_what_to_do() {
    let Some(url) = engine_url("MOCHA_TEST_PGBOUNCER_URL") else { return };
    let pooler = Engine { name: "postgresql", url };
    pooler.open().await.unwrap();
    for setting in ["options=-c%20statement_timeout%3D500", "synchronous_commit=off"] {
        let error = pooler.with(setting).open().await.unwrap_err();
        assert_says(&error, ErrorKind::InvalidConfig, &["PgBouncer", "ALTER ROLE"]);
    }
}

pub(crate) async fn run_sql(engine: &Engine, sql: impl Fn(Dialect) -> String) {
    let dialects = [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite];
    let dialect = dialects.into_iter().find(|dialect| dialect.name() == engine.name).unwrap();
    let sql = sqlx::raw_sql(AssertSqlSafe(sql(dialect)));
    let Some(file) = engine.url.strip_prefix("sqlite:///") else {
        return with_pool!(engine, |pool| pool, |pool| {
            pool.execute(sql).await.unwrap();
        });
    };
    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(connect).await.unwrap();
    pool.execute(sql).await.unwrap();
}
