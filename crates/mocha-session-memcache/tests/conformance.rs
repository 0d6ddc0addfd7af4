//! The published contract on one memcached server and on three, and the published faults.

#![allow(clippy::panic, reason = "tests")]

mod support;

use mocha_session_conformance::{engine_url, faults, suite};
use mocha_session_memcache::MemcacheStore;
use support::try_open;

async fn one() -> Option<MemcacheStore> {
    open("MOCHA_TEST_MEMCACHE_URL").await
}

async fn three() -> Option<MemcacheStore> {
    open("MOCHA_TEST_MEMCACHE_THREE_URL").await
}

async fn open(variable: &str) -> Option<MemcacheStore> {
    let url = engine_url(variable)?;
    Some(try_open(&url).await.unwrap_or_else(|error| panic!("{variable}: {error}")))
}

suite!(memcached_1_6, one);
suite!(memcached_1_6_three_servers, three);

async fn server() -> Option<String> {
    Some(engine_url("MOCHA_TEST_MEMCACHE_URL")?.replace("memcache://", ""))
}

async fn at(address: String) -> MemcacheStore {
    let opened = try_open(&format!("memcache://{address}")).await;
    opened.unwrap_or_else(|error| panic!("{address}: {error}"))
}

faults!(memcached_1_6_under_faults, server, at);
