//! The contract, by both APIs, against the test double.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use mocha_session_conformance::faults;
use mocha_session_gcs::GcsStore;

async fn official() -> Option<GcsStore> {
    Some(common::open(&common::shared().await.gs_url()).await.unwrap())
}

async fn hmac() -> Option<GcsStore> {
    Some(common::open(&common::shared().await.hmac_url()).await.unwrap())
}

mocha_session_conformance::suite!(by_official_client, official);
mocha_session_conformance::suite!(by_hmac_key, hmac);

async fn server() -> Option<String> {
    Some(common::shared().await.endpoint().replace("http://", ""))
}

/// Opens this URL of the double with its requests sent to another address.
async fn at(url: String, address: String) -> GcsStore {
    let double = common::shared().await.endpoint();
    common::open(&url.replace(&double, &format!("http://{address}"))).await.unwrap()
}

async fn official_at(address: String) -> GcsStore {
    at(common::shared().await.gs_url(), address).await
}

async fn hmac_at(address: String) -> GcsStore {
    at(common::shared().await.hmac_url(), address).await
}

faults!(by_official_client_under_faults, server, official_at);
faults!(by_hmac_key_under_faults, server, hmac_at);
