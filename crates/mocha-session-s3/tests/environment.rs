//! The environment that a URL uses: a proxy before Amazon's own hosts, and credentials.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use mocha_session_conformance::rerun;
use mocha_session_core::Registry;
use support::{Double, Reply};

const URL: &str = "TEST_URL";

/// Runs the test below in a process that has this environment and no other. Returns what it
/// printed.
async fn open_in(environment: &[(&str, &str)]) -> String {
    let nothing_else = [("AWS_EC2_METADATA_DISABLED", "true"), ("HOME", "/nonexistent")];
    let environment = [&nothing_else[..], environment].concat();
    rerun("opens_and_works", &environment).await.unwrap_or_else(|printed| printed)
}

#[tokio::test]
#[ignore = "run by the tests below, in an environment of its own"]
async fn opens_and_works() {
    let url = std::env::var(URL).unwrap();
    let storage = match Registry::new().register(mocha_session_s3::DRIVER).open(&url).await {
        Ok(storage) => storage,
        Err(error) => panic!("{:?}: {error}", error.kind()),
    };
    let (store, key) = (storage.store().unwrap(), support::fresh_key());
    store.create(&key, b"value", support::within(60)).await.unwrap().unwrap();
    assert_eq!(store.load(&key).await.unwrap().unwrap().value(), &b"value"[..]);
    assert!(store.delete(&key).await.unwrap());
}

/// A proxy that lets nobody through: it shows where a request would have gone.
async fn proxy() -> (Double, String) {
    let double = Double::start(0, |_| Reply::Answer(502, String::new(), Vec::new())).await;
    let url = format!("http://127.0.0.1:{}", double.port);
    (double, url)
}

fn hosts(double: &Double) -> Vec<String> {
    let mut hosts: Vec<_> =
        double.take_requests().into_iter().map(|request| request.target()).collect();
    hosts.dedup();
    hosts
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_mocha_goes_to_amazon() {
    for (url, host) in [
        ("s3.aws.amazon.com/my-bucket", "my-bucket.s3.us-east-1.amazonaws.com:443"),
        ("s3.aws.amazon.com/b-2?region=eu-west-1", "b-2.s3.eu-west-1.amazonaws.com:443"),
        ("s3.cn-north-1.amazonaws.com.cn/b-3", "b-3.s3.cn-north-1.amazonaws.com.cn:443"),
    ] {
        let (double, proxy) = proxy().await;
        let url = format!("s3://key:hunter2@{url}");
        let printed = open_in(&[(URL, &*url), ("HTTPS_PROXY", &proxy)]).await;
        assert!(printed.contains("Unavailable: s3: open"), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
        assert_eq!(hosts(&double), [host]);
    }
}

#[cfg(feature = "default-credentials")]
mod default_credentials {
    use super::*;
    use mocha_session_conformance::engine_url;
    use mocha_session_core::StoreUrl;

    const KEYS: [(&str, &str); 2] =
        [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_come_from_the_environment() {
        let Some(with_keys) = engine_url("MOCHA_TEST_S3_SIGNED_URL") else { return };
        support::open(&with_keys).await.unwrap();
        let parsed = StoreUrl::parse(&with_keys).unwrap();
        let port = support::port(&with_keys);
        let url = format!("s3://{}/folder?endpoint=http://127.0.0.1:{port}", parsed.split_path().0);
        let (key, secret) = (parsed.username().unwrap(), parsed.password().unwrap());
        for (secret, says) in [(secret, "1 passed"), ("wrong", "Denied: s3: open")] {
            let keys =
                [(URL, &*url), ("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)];
            let printed = open_in(&keys).await;
            assert!(printed.contains(says), "{printed}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_region_comes_from_the_environment_and_the_endpoint_does_not() {
        let (elsewhere, endpoint) = proxy().await;
        for (url, host) in [
            ("s3://my-bucket/folder", "my-bucket.s3.eu-north-1.amazonaws.com:443"),
            ("s3://my-bucket?region=eu-west-1", "my-bucket.s3.eu-west-1.amazonaws.com:443"),
        ] {
            let (double, proxy) = proxy().await;
            let environment = [
                (URL, url),
                ("HTTPS_PROXY", &proxy),
                ("AWS_REGION", "eu-north-1"),
                ("AWS_ENDPOINT_URL", &endpoint),
                ("AWS_ENDPOINT_URL_S3", &endpoint),
            ];
            let printed = open_in(&[&environment[..], &KEYS].concat()).await;
            assert!(
                printed.contains("Unavailable: s3: open") && !printed.contains("hunter2"),
                "{printed}"
            );
            assert_eq!(hosts(&double), [host]);
        }
        assert!(hosts(&elsewhere).is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_come_from_the_process_that_a_profile_names() {
        let Some(with_keys) = engine_url("MOCHA_TEST_S3_SIGNED_URL") else { return };
        support::open(&with_keys).await.unwrap();
        let parsed = StoreUrl::parse(&with_keys).unwrap();
        let port = support::port(&with_keys);
        let url =
            format!("s3://{}/process?endpoint=http://127.0.0.1:{port}", parsed.split_path().0);
        let folder = std::env::temp_dir().join(support::some_prefix());
        std::fs::create_dir_all(&folder).unwrap();
        let (config, keys) = (folder.join("config"), folder.join("keys.json"));
        let (key, secret) = (parsed.username().unwrap(), parsed.password().unwrap());
        let json = format!(r#"{{"Version":1,"AccessKeyId":"{key}","SecretAccessKey":"{secret}"}}"#);
        std::fs::write(&keys, json).unwrap();
        let profile = format!("[default]\ncredential_process = /bin/cat {}\n", keys.display());
        std::fs::write(&config, profile).unwrap();
        let printed = open_in(&[(URL, &*url), ("AWS_CONFIG_FILE", config.to_str().unwrap())]).await;
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(printed.contains("1 passed"), "{printed}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_credentials_is_an_error_that_says_so() {
        let printed = open_in(&[(URL, "s3://bucket/folder?endpoint=http://127.0.0.1:9")]).await;
        assert!(
            printed.contains("Denied: s3: open") && printed.contains("AWS_ACCESS_KEY_ID"),
            "{printed}"
        );
    }
}
