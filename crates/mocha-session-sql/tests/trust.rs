//! The authorities that TLS trusts: those of the system, which `SSL_CERT_FILE` names here.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "_sqlite"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::Engine;
use common::servers::Server;
use mocha_session_conformance::rerun;

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
    rerun("opens", &[("TEST_URL", &url), ("SSL_CERT_FILE", &certificate)]).await.unwrap();
    // The default trust store, with the web's authorities, does not have it.
    let refused = rerun("opens", &[("TEST_URL", &url)]).await.unwrap_err();
    assert!(refused.contains("Unavailable") && refused.contains("no TLS connection"), "{refused}");
    // An authority of the URL is trusted beside those of the system.
    let url = format!("{url}&sslrootcert={certificate}");
    rerun("opens", &[("TEST_URL", &url)]).await.unwrap();
}
