//! The published contract on one memcached server and on three, and the published faults.

use mocha_session_conformance::{engine_url, faults, suite};
use mocha_session_memcache::MemcacheStore;

async fn one() -> Option<MemcacheStore> {
    open("MOCHA_TEST_MEMCACHE_URL").await
}

async fn three() -> Option<MemcacheStore> {
    open("MOCHA_TEST_MEMCACHE_THREE_URL").await
}

#[allow(clippy::panic, reason = "tests")]
async fn open(variable: &str) -> Option<MemcacheStore> {
    let url = engine_url(variable)?;
    Some(MemcacheStore::connect(&url).await.unwrap_or_else(|error| panic!("{variable}: {error}")))
}

suite!(memcached_1_6, one);
suite!(memcached_1_6_three_servers, three);

async fn server() -> Option<String> {
    Some(engine_url("MOCHA_TEST_MEMCACHE_URL")?.replace("memcache://", ""))
}

#[allow(clippy::panic, reason = "tests")]
async fn at(address: String) -> MemcacheStore {
    let opened = MemcacheStore::connect(&format!("memcache://{address}")).await;
    opened.unwrap_or_else(|error| panic!("{address}: {error}"))
}

faults!(memcached_1_6_under_faults, server, at);
