//! Credentials that rotate, encryption that the environment asks for, and what an administrator
//! must grant.

use std::sync::{Arc, Mutex};

use mocha_session_conformance::rerun;
use mocha_session_core::backend::Credentials;
use mocha_session_core::{ErrorKind, Registry, StoreUrl};
use mocha_session_sql::DRIVER;

use crate::common::servers::Server;
use crate::common::{Engine, eventually, fresh_key, fresh_name};
use crate::opening::run_sql;

/// Opens a store whose password is what the cell holds, and follows a change of it.
async fn follow_a_rotation(url: &str, change: impl AsyncFn(&str)) {
    let current = Arc::new(Mutex::new("first"));
    let url = StoreUrl::parse(url).unwrap().with_credentials({
        let current = Arc::clone(&current);
        move || {
            let credentials = Credentials::new("rotating", *current.lock().unwrap());
            async move { Ok(credentials) }
        }
    });
    let storage = Registry::new().register(DRIVER).open_url(url).await.unwrap();
    let (store, nothing) = (storage.store().unwrap(), fresh_key());
    assert!(store.load(&nothing).await.unwrap().is_none());
    change("second").await;
    let error = store.load(&nothing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    *current.lock().unwrap() = "second";
    assert!(eventually(|| store.load(&nothing)).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn password_that_rotates_is_asked_for_at_each_new_connection_to_postgresql() {
    let Some(engine) = Engine::postgres() else { return };
    let table = fresh_name();
    engine.with(&format!("table={table}")).open().await.unwrap();
    // The role's name is the test's own; what an earlier run left is of no use.
    run_sql(&engine, |_| {
        format!(
            "DO $$ BEGIN IF to_regrole('rotating') IS NOT NULL THEN DROP OWNED BY rotating; END IF; END $$; \
             DROP ROLE IF EXISTS rotating; CREATE ROLE rotating LOGIN PASSWORD 'first'; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO rotating"
        )
    })
    .await;
    let host = engine.url.split('@').nth(1).unwrap();
    follow_a_rotation(&format!("postgresql://{host}?table={table}"), async |password| {
        run_sql(&engine, |_| {
            format!(
                "ALTER ROLE rotating PASSWORD '{password}'; \
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotating'"
            )
        })
        .await;
    })
    .await;
    run_sql(&engine, |_| format!("DROP OWNED BY rotating; DROP ROLE rotating; DROP TABLE {table}"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn password_that_rotates_is_asked_for_at_each_new_connection_to_mariadb() {
    if Engine::mysql().is_none() {
        return;
    }
    let server = Server::mariadb().await;
    server.root("CREATE USER rotating@'%' IDENTIFIED BY 'first'").await;
    server.root("GRANT ALL ON mocha.* TO rotating@'%'").await;
    follow_a_rotation(&format!("mysql://{}/mocha", server.authority()), async |password| {
        server.root(&format!("ALTER USER rotating@'%' IDENTIFIED BY '{password}'")).await;
        server.root("KILL USER rotating@'%'").await;
    })
    .await;
}

/// The other process of the next test: this test binary again, with PGSSLMODE in its environment.
#[tokio::test]
#[ignore = "the next test runs it, in processes of their own"]
async fn another_process_opens_what_the_environment_describes() {
    let url = std::env::var("TEST_URL").expect("the next test sets it");
    let opened = Engine { name: "postgresql", url }.open().await;
    let says =
        opened.map_or_else(|error| format!("{:?}: {error}", error.kind()), |_| "opened".to_owned());
    let expected = std::env::var("TEST_SAYS").unwrap();
    assert!(says.contains(&expected), "{says}");
}

#[tokio::test]
async fn encryption_that_the_environment_asks_for_is_never_left_out() {
    let Some(engine) = Engine::postgres() else { return };
    // The test server has no certificate.
    for (mode, options, says) in [
        ("require", "", "no TLS connection"),
        ("verify-full", "", "no TLS connection"),
        ("requier", "", "PGSSLMODE"),
        ("require", "?sslmode=prefer", "opened"),
        ("prefer", "", "opened"),
        ("prefer", "?channel_binding=require", "no TLS connection"),
    ] {
        let url = format!("{}{options}", engine.url);
        let environment = [("TEST_URL", &*url), ("TEST_SAYS", says), ("PGSSLMODE", mode)];
        let other = "logins::another_process_opens_what_the_environment_describes";
        rerun(other, &environment).await.unwrap();
    }
}

#[tokio::test]
async fn settings_of_the_url_reach_the_server() {
    let Some(engine) = Engine::postgres() else { return };
    let (schema, name) = (fresh_name(), fresh_name());
    run_sql(&engine, |_| format!("CREATE SCHEMA {schema}")).await;
    let url = engine.with(&format!("application_name={name}&options=-c%20search_path%3D{schema}"));
    let storage = url.open().await.unwrap();
    storage.store().unwrap().load(&fresh_key()).await.unwrap();
    let pool = mocha_session_sql::sqlx::PgPool::connect(&engine.url).await.unwrap();
    let tables: i64 = mocha_session_sql::sqlx::query_scalar(
        "SELECT count(*) FROM pg_tables, pg_stat_activity WHERE schemaname = $1 AND application_name = $2",
    )
    .bind(&schema)
    .bind(&name)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(tables, 1, "one table in the schema, one connection of that name");
}
