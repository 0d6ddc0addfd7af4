//! Session URLs: never a panic, never a secret in what is shown, and a host that reads the same
//! twice.

use std::time::Duration;

use mocha_session_core::{Driver, Error, ErrorKind, Registry, StoreUrl};

/// Two passwords that nothing tells apart but what they are.
const SECRETS: [&str; 2] = ["Kanarienvogel", "Rotkehlchen99"];

/// A driver that takes an option of every kind.
const EVERYTHING: Driver = Driver::new(&["all", "all+*", "redis", "sqlite"], |url| {
    url.take("name");
    url.take_parsed::<u32>("size")?;
    url.take_bool("create")?;
    url.take_duration("ttl")?;
    let space = url.take_key_space("session:")?;
    assert!(space.prefix().len() <= 128);
    let _ = (url.single_host(), url.split_path());
    Ok(Box::pin(async { Err(Error::new(ErrorKind::Unavailable, "nothing here")) }))
});

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(url) = StoreUrl::parse(text) {
        parsed(url);
    }
    let registry = Registry::new()
        .register(mocha_session_memory::DRIVER)
        .register(EVERYTHING)
        .with_absent("s3", "more");
    if let Err(error) = registry.check(text) {
        assert!(error.is_invalid_config(), "{error:?}");
    }
    secret(text, &registry);
}

fn parsed(mut url: StoreUrl) {
    assert!(
        !url.scheme().is_empty() && url.scheme().bytes().all(|byte| !byte.is_ascii_uppercase())
    );
    for host in url.hosts() {
        let authority = host.authority(1);
        let again =
            StoreUrl::parse(&format!("x://{authority}")).expect("a host is written as it is read");
        assert_eq!((again.hosts().len(), again.hosts()[0].name()), (1, host.name()));
        assert_eq!(again.hosts()[0].port(), Some(host.port().unwrap_or(1)));
    }
    let shown = [url.username().unwrap_or_default(), url.path()].concat();
    assert!(!shown.contains(char::is_control));
    let (first, rest) = url.split_path();
    assert!(first.len() + rest.len() <= url.path().len());
    if let Ok(Some(time)) = url.take_duration("ttl") {
        assert!(time > Duration::ZERO);
    }
    let _ = url.take_bool("create");
    let _ = url.take_parsed::<u16>("size");
    for error in [url.finish().err(), url.single_host().err()].into_iter().flatten() {
        assert!(error.is_invalid_config());
        assert!(
            error.to_string().len() < 400 + url.scheme().len(),
            "an error repeats little of the URL"
        );
    }
}

/// The same URL with one password and with another, wherever the rest of it stands: nothing that is
/// shown differs.
fn secret(text: &str, registry: &Registry) {
    let Some((scheme, rest)) = text.split_once("://") else { return };
    for before in ["user:", ":x"] {
        for behind in ["@", ""] {
            let [one, other] = SECRETS.map(|secret| {
                shown(&format!("{scheme}://{before}{secret}{behind}{rest}"), secret, registry)
            });
            assert_eq!(one, other, "a secret is shown");
        }
    }
}

/// All that is shown of a URL; nothing where the secret is no password, because no `@` is behind
/// it.
fn shown(text: &str, secret: &str, registry: &Registry) -> String {
    let parsed = match StoreUrl::parse(text) {
        Ok(url) if url.password().is_none_or(|password| !password.contains(secret)) => {
            return String::new();
        }
        parsed => parsed.map(|url| format!("{url} {url:?}")),
    };
    let checked = registry.check(text);
    format!(
        "{parsed:?} {checked:?} {}",
        checked.as_ref().err().map(ToString::to_string).unwrap_or_default()
    )
}
