//! The contract, by both APIs, against the test double.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use mocha_session_gcs::GcsStore;

async fn official() -> Option<GcsStore> {
    Some(common::open(&common::shared().await.gs_url()).await.unwrap())
}

async fn hmac() -> Option<GcsStore> {
    Some(common::open(&common::shared().await.hmac_url()).await.unwrap())
}

mocha_session_conformance::suite!(by_official_client, official);
mocha_session_conformance::suite!(by_hmac_key, hmac);
