//! URLs without keys: the credentials come from the environment.
#![cfg(feature = "default-credentials")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::process::{Command, Output};

use mocha_session_conformance::engine_url;
use mocha_session_core::{ErrorKind, Registry, StoreUrl};

const URL: &str = "TEST_URL_WITHOUT_KEYS";

/// Runs the test below in a process with this environment and no other credentials.
fn in_environment(url: &str, keys: Option<(&str, &str)>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "opens_what_the_environment_says", "--ignored", "--nocapture"]);
    command.env_clear().env(URL, url).env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    if let Some((key, secret)) = keys {
        command
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_REGION", "us-east-1");
    }
    command.output().unwrap()
}

#[test]
#[ignore = "run by the tests below, in an environment of its own"]
fn opens_what_the_environment_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opened =
            Registry::new().register(mocha_session_s3::DRIVER).open(&std::env::var(URL).unwrap()).await;
        if std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
            assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
            return;
        }
        let storage = opened.unwrap();
        let (store, key) = (storage.store().unwrap(), support::some_key());
        store.create(&key, b"value", support::within(60)).await.unwrap().unwrap();
        assert_eq!(store.load(&key).await.unwrap().unwrap().value(), &b"value"[..]);
        assert!(store.delete(&key).await.unwrap());
    });
}

#[test]
fn keys_come_from_the_environment() {
    let Some(with_keys) = engine_url("MOCHA_TEST_S3_SIGNED_URL") else { return };
    let parsed = StoreUrl::parse(&with_keys).unwrap();
    let bucket = parsed.split_path().0;
    let url = format!("s3://{bucket}/folder?endpoint=http://127.0.0.1:{}", support::port(&with_keys));
    let keys = (parsed.username().unwrap(), parsed.password().unwrap());
    let output = in_environment(&url, Some(keys));
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    assert!(!in_environment(&url, Some((keys.0, "wrong"))).status.success(), "the server verifies");
}

#[test]
fn no_credentials_is_an_error_that_says_so() {
    let output = in_environment("s3://bucket/folder?endpoint=http://127.0.0.1:9", None);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}
