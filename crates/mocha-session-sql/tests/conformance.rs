//! The published contract on each engine: SQLite in memory and in a file, and each server; and the
//! published faults on each server.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use mocha_session_conformance::{engine_url, faults, suite};
use mocha_session_core::store::SessionStore;
use mocha_session_core::{Registry, StoreUrl};
use mocha_session_sql::SqlStore;

async fn in_memory() -> Option<SqlStore> {
    Some(SqlStore::from_url(&mut StoreUrl::parse("sqlite://").unwrap()).unwrap().await.unwrap())
}

/// All cases share one file, as those of a server share its table.
async fn in_file() -> Option<SqlStore> {
    static FOLDER: std::sync::LazyLock<tempfile::TempDir> =
        std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());
    let url = format!("sqlite:///{}", FOLDER.path().join("sessions.db").display());
    Some(SqlStore::from_url(&mut StoreUrl::parse(&url).unwrap()).unwrap().await.unwrap())
}

/// Opened by many tests at once, which wait for each other's table locks: on a busy machine, longer
/// than a call may take.
async fn patient(url: &str) -> Option<Arc<dyn SessionStore>> {
    let mark = if url.contains('?') { '&' } else { '?' };
    open(&format!("{url}{mark}timeout=30s")).await
}

async fn open(url: &str) -> Option<Arc<dyn SessionStore>> {
    Registry::new().register(mocha_session_sql::DRIVER).open(url).await.unwrap().store().cloned()
}

suite!(sqlite_memory, in_memory);
suite!(sqlite_file, in_file);

/// Both suites on the server whose URL this variable holds.
macro_rules! server {
    ($suite:ident, $faults:ident, $variable:literal) => {
        suite!($suite, async || patient(&engine_url($variable)?).await);
        faults!($faults, async || authority(&engine_url($variable)?), async |address: String| {
            let url = engine_url($variable).unwrap();
            open(&url.replace(&authority(&url).unwrap(), &address)).await.unwrap()
        });
    };
}

fn authority(url: &str) -> Option<String> {
    url.split('@').nth(1)?.split('/').next().map(str::to_owned)
}

server!(postgresql_15, postgresql_15_under_faults, "MOCHA_TEST_POSTGRES_URL");
server!(postgresql_17, postgresql_17_under_faults, "MOCHA_TEST_POSTGRES_17_URL");
server!(pgbouncer_1_24, pgbouncer_1_24_under_faults, "MOCHA_TEST_PGBOUNCER_URL");
server!(mariadb_10_11, mariadb_10_11_under_faults, "MOCHA_TEST_MYSQL_URL");
server!(mysql_9, mysql_9_under_faults, "MOCHA_TEST_MYSQL_9_URL");
