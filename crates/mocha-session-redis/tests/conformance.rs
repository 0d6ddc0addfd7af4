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

suite!(redis_7_0, plain);
suite!(redis_7_0_unix, unix);
suite!(redis_7_0_tls_acl, tls);
suite!(redis_7_0_mtls, mtls);
suite!(redis_7_0_cluster, cluster);
suite!(redis_7_0_sentinel, sentinel);
suite!(valkey_8_1, valkey);

async fn redis_server() -> Option<String> {
    Some(engine_url("MOCHA_TEST_REDIS_URL")?.replace("redis://", ""))
}

async fn valkey_server() -> Option<String> {
    Some(engine_url("MOCHA_TEST_VALKEY_URL")?.replace("valkey://", ""))
}

async fn at(address: String) -> Arc<dyn SessionStore> {
    open(&format!("redis://{address}")).await.unwrap()
}

faults!(redis_7_0_under_faults, redis_server, at);
faults!(valkey_8_1_under_faults, valkey_server, at);
