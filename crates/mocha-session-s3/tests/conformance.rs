//! The store contract, proven on moto, on moto verifying signatures, and without conditional deletes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;

use mocha_session_conformance::{engine_url, suite};
use mocha_session_core::store::{KeySpace, SessionStore};
use mocha_session_s3::S3Store;
use support::{client, open, some_prefix};

async fn moto() -> Option<Arc<dyn SessionStore>> {
    open(&engine_url("MOCHA_TEST_S3_URL")?).await
}

async fn verifying_moto() -> Option<Arc<dyn SessionStore>> {
    open(&engine_url("MOCHA_TEST_S3_SIGNED_URL")?).await
}

suite!(s3, moto);
suite!(s3_signed, verifying_moto);

/// As on `MinIO` and R2, which ignore a condition on a delete: a store that was not told otherwise does not rely on it.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_without_conditional_deletes() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    open(&url).await.unwrap();
    let (client, bucket) = client(&url, None);
    // A prefix and a run of its own: a sweep that meets another sweep's grave sees it as taken for that moment.
    let store = S3Store::new(client, bucket, KeySpace::new(&some_prefix()).unwrap());
    assert!(format!("{store:?}").contains("conditional_delete: false"));
    let report = mocha_session_conformance::run(&Arc::new(store)).await;
    assert!(report.is_ok(), "{report}");
    assert!(
        report.outcome("sweep_removes_expired_and_keeps_live").is_some_and(|it| !it.is_failed()),
        "{report}"
    );
}

/// On Amazon itself, or wherever the URL points.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a bucket of yours: MOCHA_TEST_AWS_URL=s3://key:secret@s3.aws.amazon.com/bucket/folder"]
async fn the_contract_holds_on_a_real_bucket() {
    let url = std::env::var("MOCHA_TEST_AWS_URL").expect("MOCHA_TEST_AWS_URL names a bucket");
    let report = mocha_session_conformance::run(&open(&url).await.unwrap()).await;
    assert!(report.is_ok(), "{report}");
}
