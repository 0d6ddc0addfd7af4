//! Refused URLs, logins and tables, without a secret in the error.

use mocha_session_conformance::tools::check_urls;
use mocha_session_core::ErrorKind;
use mocha_session_sql::DRIVER;

use crate::common::{Engine, shown};

#[test]
fn urls_of_the_seed_are_read_literally() {
    let urls = [
        "postgresql://username:password@host:3306/db",
        "mysql+pysql://username:password@host:3306/db",
        "sqlite://",
        "postgres://host/db",
        "postgresql+psycopg2://u:p@host/db",
        "postgres+asyncpg://u:p@host/db",
        "postgresql://u:p%2F%40@[::1]:5433/db?sslmode=verify-full&sslrootcert=/ca.pem&schema=web",
        "postgresql:///db?host=/run/postgresql",
        "mysql://u:p@host/db?sslmode=require",
        "mysql+pymysql://u:p@host/db?unix_socket=/run/mysqld.sock",
        "mysql+pymysql://u:p@host/db?charset=utf8mb4&connect_timeout=3",
        "mysql://u:p@host/db?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem&collation=utf8mb4_bin",
        "mysql://u:p@one,two:3307/db?autocommit=true",
        "postgresql://u:p@a,b:5433/db?target_session_attrs=read-write&connect_timeout=10",
        "postgresql://u:p@h/db?sslmode=require&channel_binding=require&application_name=shop",
        "postgresql://u:p@h/db?options=-c%20search_path%3Dweb%20--lock-timeout=100&gssencmode=disable",
        "mariadb://u@host/db",
        "mariadb+mariadbconnector://u:p@host/db",
        "sqlite:///:memory:",
        "sqlite:///relative.db",
        "sqlite:////absolute.db",
        "sqlite+pysqlite:///relative.db",
    ];
    check_urls(DRIVER, &urls, &[]);
}

#[test]
fn wrong_urls_are_refused_offline_by_name() {
    let refused = [
        ("postgresql://h/db?schem=a", "`schem`"),
        ("postgresql://h/db?sslmode=on", "`sslmode`"),
        ("postgresql://h/db?sslcert=a.pem", "`sslkey`"),
        ("postgresql://h/db?synchronous_commit=maybe", "`synchronous_commit`"),
        ("postgresql://h/db?max_connections=0", "`max_connections`"),
        ("postgresql://h/db?create=perhaps", "`create`"),
        ("postgresql://h/db/more", "database"),
        ("postgresql://h/db?target_session_attrs=standby", "`target_session_attrs`"),
        ("postgresql://h/db?options=nonsense", "`options`"),
        ("postgresql://h/db?gssencmode=require", "`gssencmode`"),
        ("postgresql://h/db?sslmode=disable&channel_binding=require", "`channel_binding`"),
        ("postgresql://h/db?connect_timeout=soon", "`connect_timeout`"),
        ("mysql://h/db?ssl-mode=required&sslmode=require", "two spellings"),
        ("postgresql://h/db?table=x;DROP%20TABLE%20users", "table"),
        ("postgresql://h/db?table=a.b", "table"),
        ("postgresql://h/db?schema=a%22b", "schema"),
        ("mysql://h/db?table=a`b", "table"),
        ("mysql://h/db?schema=web", "`schema`"),
        ("mysql://h/db?synchronous_commit=off", "`synchronous_commit`"),
        ("mysql://h", "database"),
        ("sqlite://file.db", "three slashes"),
        ("sqlite://u:p@/x.db", "three slashes"),
        ("sqlite:///", "sqlite://"),
        ("sqlite:///a.db?table=1", "table"),
        ("sqlite:///a.db?sslmode=require", "`sslmode`"),
        ("sqlite:///a.db?synchronous=off", "`synchronous`"),
        ("sqlite:///a.db?prefix=a*b", "`prefix`"),
    ];
    check_urls(DRIVER, &[], &refused);
}

#[tokio::test]
async fn wrong_password_is_denied_and_never_shown() {
    for engine in Engine::servers() {
        let (scheme, rest) = engine.url.split_once("://").unwrap();
        let (credentials, host) = rest.split_once('@').unwrap();
        let user = credentials.split(':').next().unwrap();
        let wrong = Engine { name: engine.name, url: format!("{scheme}://{user}:hunter2@{host}") };
        let error = wrong.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{}: {error}", engine.name);
        assert!(!shown(&error).contains("hunter2"), "{}", shown(&error));

        let storage = engine.open().await.unwrap();
        if let Some(password) = credentials.split(':').nth(1) {
            assert!(!format!("{storage:?}").contains(password));
        }
    }
}

#[tokio::test]
async fn database_that_does_not_exist_is_named_as_the_cause() {
    for engine in Engine::servers() {
        let url = format!("{}/no_such_database", engine.url.rsplit_once('/').unwrap().0);
        let error = Engine { name: engine.name, url }.open().await.unwrap_err();
        // A server that hides what exists refuses the user instead.
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Denied), "{error}");
    }
}

#[tokio::test]
async fn encryption_that_is_required_is_never_left_out() {
    for engine in Engine::servers() {
        if engine.with("sslmode=prefer").open().await.is_err() {
            continue;
        }
        // The test servers have no certificate.
        for mode in ["require", "verify-ca", "verify-full"] {
            let opened = engine.with(&format!("sslmode={mode}")).open().await;
            assert_eq!(
                opened.unwrap_err().kind(),
                ErrorKind::Unavailable,
                "{} {mode}",
                engine.name
            );
        }
        let missing = engine.with("sslmode=verify-full&sslrootcert=/no/such/ca.pem").open().await;
        assert!(missing.is_err(), "{}", engine.name);
    }
}
