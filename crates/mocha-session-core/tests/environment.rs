//! Settings from environment variables: what they set, which are refused, and what the code wins.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use mocha_session_core::{
    CookiePolicy, Driver, Environment, Error, ErrorKind, Registry, SessionManager,
    SessionManagerBuilder,
};

const SECRET: (&str, &str) = ("SESSION_SECRET", "a secret of more than 32 bytes: kdU2hs8dm2M");

async fn builder(variables: &[(&str, &str)]) -> Result<SessionManagerBuilder, Error> {
    let all = [SECRET].iter().chain(variables).copied();
    Environment::of(all)?.builder(&Registry::new()).await
}

async fn manager(variables: &[(&str, &str)]) -> SessionManager {
    builder(variables).await.unwrap().build().unwrap()
}

async fn refused(variables: &[(&str, &str)]) -> String {
    let error = match builder(variables).await {
        Ok(builder) => builder.build().unwrap_err(),
        Err(error) => error,
    };
    assert!(error.is_invalid_config());
    error.to_string()
}

/// The cookie line of a new session.
async fn line(manager: &SessionManager) -> String {
    let lazy = manager.open(mocha_session_core::RequestInfo::new(()));
    lazy.load().await.unwrap().insert("a", 1).unwrap();
    let headers = manager.finish(&lazy, 200).await.into_result().unwrap();
    let line = headers.set_cookie().unwrap();
    let (name, rest) = line.split_once('=').unwrap();
    format!("{name}{}", rest.split_once(';').unwrap().1)
}

#[tokio::test]
async fn each_attribute_of_the_cookie_and_each_lifetime_is_set() {
    for (variables, expected) in [
        (&[][..], "__Host-session Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Lax"),
        (
            &[("SESSION_IDLE_TIMEOUT", "30m"), ("SESSION_COOKIE_NAME", "__Host-shop")],
            "__Host-shop Max-Age=1800; Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
        (
            &[("SESSION_ABSOLUTE_TIMEOUT", "12h"), ("SESSION_COOKIE_SAMESITE", "strict")],
            "__Host-session Max-Age=43200; Path=/; Secure; HttpOnly; SameSite=Strict",
        ),
        (
            &[("SESSION_COOKIE_SECURE", "false")],
            "session Max-Age=1209600; Path=/; HttpOnly; SameSite=Lax",
        ),
        (
            &[("SESSION_COOKIE_DOMAIN", "example.com"), ("SESSION_COOKIE_PATH", "/app")],
            "__Secure-session Max-Age=1209600; Path=/app; Domain=example.com; Secure; HttpOnly; \
             SameSite=Lax",
        ),
        (
            &[("SESSION_COOKIE_PERSISTENT", "no"), ("SESSION_COOKIE_PARTITIONED", "on")],
            "__Host-session Path=/; Secure; HttpOnly; SameSite=Lax; Partitioned",
        ),
        // As not set: empty, another program's, or not ours.
        (
            &[("SESSION_COOKIE_NAME", " "), ("SESSION_MANAGER", "local/host"), ("PATH", "/bin")],
            "__Host-session Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Lax",
        ),
    ] {
        assert_eq!(line(&manager(variables).await).await, expected);
    }
}

#[tokio::test]
async fn a_misspelt_variable_is_refused_with_the_nearest_name() {
    for (typo, nearest) in [
        ("SESSION_SECRTE", "SESSION_SECRET"),
        ("SESSION_IDLE_TIMOUT", "SESSION_IDLE_TIMEOUT"),
        ("SESSION_COOKIE_SAME_SITE", "SESSION_COOKIE_SAMESITE"),
        ("SESSION_URI", "SESSION_URL"),
        ("SESSION_", "SESSION_URL"),
    ] {
        let message = refused(&[(typo, "hunter2")]).await;
        assert!(message.contains(&format!("`{typo}` is not known")), "{message}");
        assert!(message.contains(&format!("the nearest is `{nearest}`")), "{message}");
        assert!(!message.contains("hunter2"));
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_refused_by_name_and_not_shown() {
    for (name, bad) in [
        ("SESSION_IDLE_TIMEOUT", "hunter2"),
        ("SESSION_IDLE_TIMEOUT", "0"),
        ("SESSION_ABSOLUTE_TIMEOUT", "1.5h"),
        ("SESSION_REFRESH_INTERVAL", "hunter2"),
        ("SESSION_REMEMBER_AT_MOST", "-1d"),
        ("SESSION_STORE_TIMEOUT", "hunter2"),
        ("SESSION_MAX_RECORD_BYTES", "1MiB"),
        ("SESSION_MAX_PER_OWNER", "many"),
        ("SESSION_WHEN_FULL", "hunter2"),
        ("SESSION_ACCEPT_UNSIGNED", "hunter2"),
        ("SESSION_COOKIE_SAMESITE", "hunter2"),
        ("SESSION_COOKIE_SECURE", "hunter2"),
        ("SESSION_COOKIE_PARTITIONED", "hunter2"),
        ("SESSION_COOKIE_PERSISTENT", "hunter2"),
    ] {
        // Found before anything is opened: this URL has no driver.
        let message = refused(&[(name, bad), ("SESSION_URL", "mine://h")]).await;
        assert!(message.contains(&format!("`{name}` must be")), "{name}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let weak = Environment::of([("SESSION_SECRET", "hunter2")]).unwrap();
    let message = weak.open(&Registry::new()).await.unwrap_err().to_string();
    assert!(!message.contains("hunter2") && !format!("{weak:?}").contains("hunter2"), "{message}");
    // What only the manager can tell is told as for settings of the code.
    let message =
        refused(&[("SESSION_COOKIE_NAME", "__Host-a"), ("SESSION_COOKIE_PATH", "/b")]).await;
    assert!(message.contains("`__Host-` needs Secure"), "{message}");
    refused(&[("SESSION_REFRESH_INTERVAL", "15d")]).await;
    refused(&[("SESSION_MAX_PER_OWNER", "0")]).await;
}

#[tokio::test]
async fn what_the_code_sets_wins_and_the_rest_stays() {
    let variables = [
        ("SESSION_IDLE_TIMEOUT", "30m"),
        ("SESSION_ABSOLUTE_TIMEOUT", "12h"),
        ("SESSION_COOKIE_NAME", "__Host-env"),
        ("SESSION_COOKIE_SAMESITE", "Strict"),
    ];
    let code = builder(&variables).await.unwrap().absolute_timeout(Duration::from_secs(60));
    let manager = code.build().unwrap();
    assert_eq!(
        line(&manager).await,
        "__Host-env Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Strict"
    );
    // A cookie wins as a whole.
    let code = builder(&variables).await.unwrap().cookie(CookiePolicy::named("__Host-code"));
    assert_eq!(
        line(&code.build().unwrap()).await,
        "__Host-code Max-Age=1800; Path=/; Secure; HttpOnly; SameSite=Lax"
    );
}

#[tokio::test]
async fn without_a_secret_or_a_url_there_is_no_manager() {
    let environment = Environment::of([("SESSION_URL", "")]).unwrap();
    let builder = environment.builder(&Registry::new()).await.unwrap();
    let message = builder.build().unwrap_err().to_string();
    assert!(message.contains("SESSION_SECRET"), "{message}");
}

#[test]
fn every_variable_is_in_the_table_once() {
    let table = Environment::table();
    let rows: Vec<_> = table.lines().skip(2).collect();
    let mut names: Vec<_> = rows.iter().filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(names.len(), rows.len());
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len());
    for name in names {
        assert!(Environment::of([(name, "")]).is_ok() && name.starts_with("SESSION_"), "{name}");
    }
}

#[tokio::test]
async fn a_limit_of_sessions_can_refuse_logins() {
    const MEMORY: Driver = Driver::new(&["mem"], |_| {
        Ok(Box::pin(async {
            let storage = SessionManager::in_memory()?.storage().clone();
            let store = storage.store().cloned();
            store.ok_or_else(|| Error::new(ErrorKind::Internal, "it has a store"))
        }))
    });
    let settings = Environment::of([
        ("SESSION_URL", "mem:"),
        ("SESSION_MAX_PER_OWNER", "1"),
        ("SESSION_WHEN_FULL", "refuse-login"),
    ]);
    let registry = Registry::new().register(MEMORY);
    let manager = settings.unwrap().builder(&registry).await.unwrap().build().unwrap();
    manager.seed(|session| session.login("alice")).await.unwrap();
    let refused = manager.seed(|session| session.login("alice")).await.unwrap_err();
    assert!(refused.is_too_many_sessions(), "{refused}");
}
