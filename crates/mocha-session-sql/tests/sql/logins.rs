//! Credentials that rotate, encryption that the environment asks for, and what an administrator must grant.

use std::sync::{Arc, Mutex};

use mocha_session_core::store::Credentials;
use mocha_session_core::{ErrorKind, Registry, StoreUrl};
use mocha_session_sql::DRIVER;

use crate::common::{Engine, eventually, fresh_key, fresh_name};
use crate::opening::run_sql;

#[tokio::test(flavor = "multi_thread")]
async fn password_that_rotates_is_asked_for_at_each_new_connection() {
    for engine in Engine::servers() {
        let (user, table) = (fresh_name(), fresh_name());
        engine.with(&format!("table={table}")).open().await.unwrap();
        let postgres = engine.name == "postgresql";
        let set_password = async |word: &str, to: &str| {
            run_sql(&engine, |_| {
                if postgres {
                    format!("{word} ROLE {user} LOGIN PASSWORD '{to}'")
                } else {
                    format!("{word} USER {user}@'%' IDENTIFIED BY '{to}'")
                }
            })
            .await;
        };
        set_password("CREATE", "first").await;
        let grantee = if postgres { user.clone() } else { format!("{user}@'%'") };
        run_sql(&engine, |_| format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {grantee}")).await;

        let current = Arc::new(Mutex::new("first"));
        let host = engine.url.split('@').nth(1).unwrap();
        let scheme = engine.url.split("://").next().unwrap();
        let url = StoreUrl::parse(&format!("{scheme}://{host}?table={table}&create=false")).unwrap();
        let url = url.with_credentials({
            let (user, current) = (user.clone(), Arc::clone(&current));
            move || {
                let credentials = Credentials::new(&*user, *current.lock().unwrap());
                async move { Ok(credentials) }
            }
        });
        let storage = Registry::new().register(DRIVER).open_url(url).await.unwrap();
        let store = storage.store().unwrap();
        assert!(store.load(&fresh_key()).await.unwrap().is_none());

        set_password("ALTER", "second").await;
        run_sql(&engine, |_| {
            if postgres {
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'")
            } else {
                format!("KILL USER {user}@'%'")
            }
        })
        .await;
        let error = store.load(&fresh_key()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{}: {error}", engine.name);
        *current.lock().unwrap() = "second";
        assert!(eventually(|| store.load(&fresh_key())).await.is_none(), "{}", engine.name);

        drop(storage);
        run_sql(&engine, |_| {
            if postgres {
                format!("DROP OWNED BY {user}; DROP ROLE {user}")
            } else {
                format!("DROP USER {user}")
            }
        })
        .await;
    }
}

/// The other process of the next test: this test binary again, with PGSSLMODE in its environment.
#[test]
#[ignore = "the next test runs it, in processes of their own"]
fn another_process_opens_what_the_environment_describes() {
    let url = std::env::var("MOCHA_SQL_TEST_CHILD_URL").expect("the next test sets it");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let opened = Engine { name: "postgresql", url }.open().await;
        let says =
            opened.map_or_else(|error| format!("{:?}: {error}", error.kind()), |_| "opened".to_owned());
        let expected = std::env::var("MOCHA_SQL_TEST_CHILD_SAYS").unwrap();
        assert!(says.contains(&expected), "{says}");
    });
}

#[test]
fn encryption_that_the_environment_asks_for_is_never_left_out() {
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
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "logins::another_process_opens_what_the_environment_describes"])
            .env("MOCHA_SQL_TEST_CHILD_URL", format!("{}{options}", engine.url))
            .env("MOCHA_SQL_TEST_CHILD_SAYS", says)
            .env("PGSSLMODE", mode)
            .output()
            .unwrap();
        assert!(ended.status.success(), "{mode} {options}: {}", String::from_utf8_lossy(&ended.stdout));
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
