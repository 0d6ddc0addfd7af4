//! The published contract on every form of Redis that the test servers offer, and the published
//! faults.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use mocha_session_conformance::{engine_url, faults, suite};
use mocha_session_core::Registry;
use mocha_session_core::store::SessionStore;

async fn open(url: &str) -> Option<Arc<dyn SessionStore>> {
    let storage = Registry::new().register(mocha_session_redis::DRIVER).open(url).await.unwrap();
    storage.store().cloned()
}

async fn plain() -> Option<Arc<dyn SessionStore>> {
    open(&engine_url("MOCHA_TEST_REDIS_URL")?).await
}

async fn unix() -> Option<Arc<dyn SessionStore>> {
    open(&format!("redis+unix://{}?db=1", engine_url("MOCHA_TEST_REDIS_SOCKET")?)).await
}

/// One user of an ACL, and an authority of our own.
async fn tls() -> Option<Arc<dyn SessionStore>> {
    let [url, ca] = ["URL", "CA"].map(|part| engine_url(&format!("MOCHA_TEST_REDIS_TLS_{part}")));
    open(&format!("{}?ca={}", url?, ca?)).await
}

/// A server that wants to see a certificate.
async fn mtls() -> Option<Arc<dyn SessionStore>> {
    let [ca, cert, key] =
        ["CA", "CERT", "KEY"].map(|part| engine_url(&format!("MOCHA_TEST_REDIS_TLS_{part}")));
    let url = engine_url("MOCHA_TEST_REDIS_MTLS_URL");
    open(&format!("{}?ca={}&cert={}&key={}", url?, ca?, cert?, key?)).await
}

async fn cluster() -> Option<Arc<dyn SessionStore>> {
    open(&engine_url("MOCHA_TEST_REDIS_CLUSTER_URL")?).await
}

async fn sentinel() -> Option<Arc<dyn SessionStore>> {
    open(&engine_url("MOCHA_TEST_REDIS_SENTINEL_URL")?).await
}

async fn valkey() -> Option<Arc<dyn SessionStore>> {
    open(&engine_url("MOCHA_TEST_VALKEY_URL")?).await
}

suite!(valkey_8_1, valkey);
suite!(redis_plain, plain);
suite!(redis_unix, unix);
suite!(redis_tls_acl, tls);
suite!(redis_mtls, mtls);
suite!(redis_cluster, cluster);
suite!(redis_sentinel, sentinel);

async fn server() -> Option<String> {
    Some(engine_url("MOCHA_TEST_REDIS_URL")?.replace("redis://", ""))
}

async fn at(address: String) -> Arc<dyn SessionStore> {
    open(&format!("redis://{address}")).await.unwrap()
}

faults!(redis_under_faults, server, at);
