//! Whom TLS trusts: the authorities of the system, which `SSL_CERT_FILE` names here.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "_sqlite"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::process::Command;

use common::Engine;
use common::servers::Server;

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
    if let Err(error) = (Engine { name: "", url }).open().await {
        panic!("{:?}: {error}", error.kind());
    }
}

#[tokio::test]
async fn an_authority_of_the_systems_trust_store_is_trusted_without_an_option() {
    if Engine::postgres().is_none() {
        return;
    }
    let (server, certificate) = Server::postgres_with_tls().await;
    let url = format!("{}?sslmode=verify-full", server.url());
    opened_with(&url, &[("SSL_CERT_FILE", &certificate)]).await.unwrap();
    // Any other store, the web's authorities too, does not know it.
    let refused = opened_with(&url, &[]).await.unwrap_err();
    assert!(refused.contains("Unavailable") && refused.contains("no TLS connection"), "{refused}");
    // An authority that the URL names is trusted beside them.
    opened_with(&format!("{url}&sslrootcert={certificate}"), &[]).await.unwrap();
}
