//! The store contract, proven on moto, on moto verifying signatures, and without conditional
//! deletes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::{Arc, LazyLock};

use mocha_session_conformance::{engine_url, faults, suite};
use mocha_session_core::store::SessionStore;
use support::{ignoring, open, port, some_prefix, through};

/// moto answers one request after the other, and a case has dozens under way: on a busy machine
/// that takes longer than a call has by default.
fn unhurried(url: &str) -> String {
    format!("{url}{}timeout=30s", if url.contains('?') { '&' } else { '?' })
}

async fn moto() -> Option<Arc<dyn SessionStore>> {
    open(&unhurried(&engine_url("MOCHA_TEST_S3_URL")?)).await
}

async fn verifying_moto() -> Option<Arc<dyn SessionStore>> {
    open(&unhurried(&engine_url("MOCHA_TEST_S3_SIGNED_URL")?)).await
}

/// As on `MinIO` and R2: a bucket whose server ignores the condition of a delete. Each process has
/// a prefix of its own, because to a sweep another sweep's grave is taken for that moment.
async fn without_conditional_deletes() -> Option<Arc<dyn SessionStore>> {
    static PREFIX: LazyLock<String> = LazyLock::new(some_prefix);
    let url = ignoring("conditional-deletes", &engine_url("MOCHA_TEST_S3_URL")?);
    open(&unhurried(&format!("{url}&prefix={}", *PREFIX))).await
}

suite!(s3_moto_5, moto);
suite!(s3_moto_5_signed, verifying_moto);
suite!(s3_moto_5_without_conditional_deletes, without_conditional_deletes);

async fn server() -> Option<String> {
    Some(format!("127.0.0.1:{}", port(&engine_url("MOCHA_TEST_S3_URL")?)))
}

/// Under a prefix that all stores of this process share.
async fn at(address: String) -> Arc<dyn SessionStore> {
    static PREFIX: LazyLock<String> = LazyLock::new(some_prefix);
    let url = engine_url("MOCHA_TEST_S3_URL").expect("there is a server");
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
    let elsewhere = through(&url, port.expect("an address has a port"), None);
    let (elsewhere, _) = elsewhere.split_once("&prefix=").expect("it has a prefix");
    open(&format!("{elsewhere}&prefix={}", *PREFIX)).await.expect("it opens")
}

faults!(s3_moto_5_under_faults, server, at);

/// On Amazon itself, or wherever the URL points.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a bucket of yours: MOCHA_TEST_AWS_URL=s3://key:secret@s3.aws.amazon.com/bucket/folder"]
async fn the_contract_holds_on_a_real_bucket() {
    let url = std::env::var("MOCHA_TEST_AWS_URL").expect("MOCHA_TEST_AWS_URL names a bucket");
    let report = mocha_session_conformance::run(&open(&url).await.unwrap()).await;
    assert!(report.is_ok(), "{report}");
}
