//! All output of all commands on all engines, searched for what must not be in it.

use std::path::Path;

use mocha_session::{Secrets, SessionManager};
use mocha_session_conformance::engine_url;

use super::{SECRET, run, sqlite, stderr, stdout};

const PAYLOAD: &str = "payload-4711";
const PASSWORD: &str = "hunter2";

/// An engine with a prefix of this test's own; `None` where the tests do not have it.
fn engine(variable: &str) -> Option<String> {
    let url = engine_url(variable)?;
    let mark = if url.contains('?') { '&' } else { '?' };
    Some(format!("{url}{mark}prefix=secrets-{}-", std::process::id()))
}

macro_rules! on_each {
    ($($name:ident: $variable:literal),* $(,)?) => {
        mod no_command_prints_an_id_a_secret_a_password_or_a_payload {
            #[cfg(feature = "gcs")]
            use mocha_session_gcs_double::Double;

            #[tokio::test]
            async fn sqlite() {
                let folder = tempfile::tempdir().unwrap();
                super::searched(crate::sqlite(folder.path(), "s.db"), folder.path()).await;
            }

            /// By a service account, and by an HMAC key.
            #[cfg(feature = "gcs")]
            #[tokio::test]
            async fn gcs() {
                for url in [Double::gs_url, Double::hmac_url] {
                    let double = Double::start().await;
                    let folder = tempfile::tempdir().unwrap();
                    super::searched(url(&double), folder.path()).await;
                }
            }

            $(
                #[tokio::test]
                async fn $name() {
                    let folder = tempfile::tempdir().unwrap();
                    if let Some(url) = super::engine($variable) {
                        super::searched(url, folder.path()).await;
                    }
                }
            )*
        }
    };
}

on_each! {
    redis: "MOCHA_TEST_REDIS_URL",
    valkey: "MOCHA_TEST_VALKEY_URL",
    memcached: "MOCHA_TEST_MEMCACHE_URL",
    s3: "MOCHA_TEST_S3_URL",
    postgres: "MOCHA_TEST_POSTGRES_URL",
    mysql: "MOCHA_TEST_MYSQL_URL",
}

async fn searched(url: String, folder: &Path) {
    let storage = mocha_session::open(&url).await.unwrap();
    let can = storage.capabilities().clone();
    let manager = SessionManager::builder(storage)
        .secrets(Secrets::parse(SECRET).unwrap())
        .check_owner_at_load(can.evicts())
        .build()
        .unwrap();
    let mut secrets = vec![PAYLOAD.to_owned(), PASSWORD.to_owned(), SECRET.to_owned()];
    for owner in ["alice", "bob"] {
        let cookie = manager
            .seed(|session| {
                session.login(owner)?;
                session.flash().info(PAYLOAD)?;
                session.insert("pin", PAYLOAD)
            })
            .await
            .unwrap();
        let value = cookie.split_once('=').unwrap().1;
        secrets.extend(value.split('.').filter(|part| part.len() > 8).map(ToOwned::to_owned));
    }
    let to = sqlite(folder, "to.db");
    let wrong = if url.contains("s3cret") {
        url.replace("s3cret", PASSWORD)
    } else {
        url.replace("://", &format!("://app:{PASSWORD}@"))
    };
    secrets.extend(Some("s3cret".to_owned()).filter(|password| url.contains(password)));
    secrets.extend(["wJalr/XUtn+FEMI=", "wJalr%2FXUtn%2BFEMI%3D"].map(ToOwned::to_owned));
    let handle = manager.sessions_of("alice").await.unwrap()[0].handle().to_string();
    let mut printed = String::new();
    let mut go = |url: &str, arguments: &[&str]| {
        for json in [&[][..], &["--json"]] {
            let output = run(url, &[arguments, json].concat());
            printed.extend(["$ ", arguments[0], "\n", &stdout(&output), &stderr(&output)]);
            assert_ne!(output.status.code(), Some(70), "{}", stderr(&output));
        }
    };
    for arguments in [
        &["check"][..],
        &["doctor", "--rounds", "2"],
        &["count"],
        &["sweep", "--dry-run"],
        &["sweep"],
        &["sessions", "alice"],
        &["sessions", "nobody"],
        &["revoke", "alice", &handle],
        &["schema"],
        &["revoke", "bob"],
        &["copy", &url, &to],
        &["completions", "zsh"],
        &["man"],
        &["cout"],
        &["copy", "--page", "none"],
        &["--help"],
    ] {
        go(&url, arguments);
    }
    for arguments in [&["check"][..], &["doctor", "--rounds", "1"], &["count"], &["prove"]] {
        go(&wrong, arguments);
        go(&format!("{wrong}&colour={PASSWORD}"), arguments);
    }
    assert!(printed.len() > 5_000, "{printed}");
    for secret in secrets {
        let found = printed.lines().find(|line| line.contains(&secret));
        assert_eq!(found, None, "{}", can.engine());
    }
}
