//! Whom TLS trusts: the authorities of the system, which `SSL_CERT_FILE` names here.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::process::Command;

use mocha_session_conformance::engine_url;
use mocha_session_core::Registry;

/// Runs the test below in a process that has this variable, and returns what it printed.
async fn opened_with(url: &str, variables: &[(&str, &str)]) -> Result<(), String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "opens", "--ignored", "--nocapture"]).env("TEST_URL", url);
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[tokio::test]
#[ignore = "run by the test below, in an environment of its own"]
async fn opens() {
    let url = std::env::var("TEST_URL").unwrap();
    if let Err(error) = Registry::new().register(mocha_session_redis::DRIVER).open(&url).await {
        panic!("{:?}: {error}", error.kind());
    }
}

#[tokio::test]
async fn an_authority_of_the_systems_trust_store_is_trusted_without_an_option() {
    let [url, ca] = ["URL", "CA"].map(|part| engine_url(&format!("MOCHA_TEST_REDIS_TLS_{part}")));
    let (Some(url), Some(ca)) = (url, ca) else { return };
    opened_with(&url, &[("SSL_CERT_FILE", &ca)]).await.unwrap();
    let refused = opened_with(&url, &[]).await.unwrap_err();
    assert!(refused.contains("Unavailable") && refused.contains("certificate"), "{refused}");
}
