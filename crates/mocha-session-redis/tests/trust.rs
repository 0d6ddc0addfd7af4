//! The authorities that TLS trusts: those of the system, which `SSL_CERT_FILE` names here.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use mocha_session_conformance::{engine_url, rerun};
use mocha_session_core::Registry;

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
    rerun("opens", &[("TEST_URL", &url), ("SSL_CERT_FILE", &ca)]).await.unwrap();
    let refused = rerun("opens", &[("TEST_URL", &url)]).await.unwrap_err();
    assert!(refused.contains("Unavailable") && refused.contains("certificate"), "{refused}");
}
