//! Live sessions in the SQL stores of tower-sessions go on as sessions of this library, once: made
//! and read by those stores.

#![cfg(test)]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../crates/mocha-session-compat/tests/support/old_sessions.rs"]
mod old_sessions;

use mocha_session_conformance::engine_url;
use old_sessions::{goes_on_once, manager, tower, tower_session};
use tower_sessions_sqlx_store::sqlx::{PgPool, SqlitePool};
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

#[tokio::test]
async fn a_session_of_tower_sessions_in_sqlite_goes_on_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("sessions.db").display());
    let open = async || SqliteStore::new(SqlitePool::connect(&url).await.unwrap());
    let old = open().await;
    old.migrate().await.unwrap();
    let cookie = tower_session(old).await;
    goes_on_once(&manager(tower(open().await)), &cookie).await;
}

#[tokio::test]
async fn a_session_of_tower_sessions_in_postgresql_goes_on_once() {
    let Some(url) = engine_url("MOCHA_TEST_POSTGRES_URL") else { return };
    let open = async || PostgresStore::new(PgPool::connect(&url).await.unwrap());
    let old = open().await;
    old.migrate().await.unwrap();
    let cookie = tower_session(old).await;
    goes_on_once(&manager(tower(open().await)), &cookie).await;
}
