//! The conformance suite on each engine: SQLite in memory and in a file, PostgreSQL, MariaDB.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use mocha_session_conformance::{engine_url, suite};
use mocha_session_core::StoreUrl;
use mocha_session_sql::SqlStore;

async fn sqlite_memory() -> Option<SqlStore> {
    Some(SqlStore::from_url(&mut StoreUrl::parse("sqlite://").unwrap()).unwrap().await.unwrap())
}

/// All cases share one file, as those of a server share its table.
async fn sqlite_file() -> Option<SqlStore> {
    static FOLDER: std::sync::LazyLock<tempfile::TempDir> =
        std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());
    let url = format!("sqlite:///{}", FOLDER.path().join("sessions.db").display());
    Some(SqlStore::from_url(&mut StoreUrl::parse(&url).unwrap()).unwrap().await.unwrap())
}

async fn postgresql() -> Option<SqlStore> {
    let mut url = StoreUrl::parse(&engine_url("MOCHA_TEST_POSTGRES_URL")?).unwrap();
    Some(SqlStore::from_url(&mut url).unwrap().await.unwrap())
}

async fn mariadb() -> Option<SqlStore> {
    let mut url = StoreUrl::parse(&engine_url("MOCHA_TEST_MYSQL_URL")?).unwrap();
    Some(SqlStore::from_url(&mut url).unwrap().await.unwrap())
}

suite!(on_sqlite_memory, sqlite_memory);
suite!(on_sqlite_file, sqlite_file);
suite!(on_postgresql_15, postgresql);
suite!(on_mariadb_10_11, mariadb);

/// A server of today, by its URL.
async fn newer(variable: &str) -> Option<std::sync::Arc<dyn mocha_session_core::store::SessionStore>> {
    let registry = mocha_session_core::Registry::new().register(mocha_session_sql::DRIVER);
    registry.open(&engine_url(variable)?).await.unwrap().store().cloned()
}

suite!(on_postgresql_17, || newer("MOCHA_TEST_POSTGRES_17_URL"));
suite!(on_pgbouncer_1_24, || newer("MOCHA_TEST_PGBOUNCER_URL"));
suite!(on_mysql_9, || newer("MOCHA_TEST_MYSQL_9_URL"));
