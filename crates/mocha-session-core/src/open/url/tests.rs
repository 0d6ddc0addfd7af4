//! Every form of session URL that users write.

use super::*;

fn parse(text: &str) -> StoreUrl {
    StoreUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_form_of_the_table_is_read() {
    for (text, scheme, hosts, path) in [
        ("memory:", "memory", "", ""),
        ("memory://", "memory", "", ""),
        ("redis://username:password@host:6379/0", "redis", "host:6379", "/0"),
        ("rediss://host", "rediss", "host:1", ""),
        ("redis+cluster://a:7000,b:7001", "redis+cluster", "a:7000 b:7001", ""),
        ("redis+sentinel://a:26379,b/mymaster", "redis+sentinel", "a:26379 b:1", "/mymaster"),
        ("redis+unix:///run/redis.sock", "redis+unix", "", "/run/redis.sock"),
        ("memcache://host:11211", "memcache", "host:11211", ""),
        ("s3://username:password@s3.aws.amazon.com/bucket", "s3", "s3.aws.amazon.com:1", "/bucket"),
        (
            "google_storage://username:password@cloud.google.com/bucket",
            "google_storage",
            "cloud.google.com:1",
            "/bucket",
        ),
        ("postgresql://username:password@host:3306/db", "postgresql", "host:3306", "/db"),
        ("mysql+pysql://username:password@host:3306/db", "mysql+pysql", "host:3306", "/db"),
        ("sqlite://", "sqlite", "", ""),
        ("sqlite:///relative.db", "sqlite", "", "/relative.db"),
        ("sqlite:////absolute.db", "sqlite", "", "//absolute.db"),
        ("MEMORY:", "memory", "", ""),
        ("redis://my_redis:6379", "redis", "my_redis:6379", ""),
    ] {
        let url = parse(text);
        assert_eq!(url.scheme(), scheme, "{text}");
        assert_eq!(
            url.hosts().iter().map(|h| h.authority(1)).collect::<Vec<_>>().join(" "),
            hosts,
            "{text}"
        );
        assert_eq!(url.path(), path, "{text}");
    }
}

#[test]
fn credentials_are_decoded() {
    let url = parse("s3://AK%2FIA:a%2Fb%2Bc%40%25@h/b");
    assert_eq!((url.username(), url.password()), (Some("AK/IA"), Some("a/b+c@%")));
    let url = parse("redis://:only@h");
    assert_eq!((url.username(), url.password()), (None, Some("only")));
    let url = parse("redis://name@h");
    assert_eq!((url.username(), url.password()), (Some("name"), None));
    assert_eq!(parse("redis://u:a:b@h").password(), Some("a:b"));
}

#[test]
fn a_raw_character_in_a_secret_is_named_and_nothing_is_repeated() {
    for (text, code) in [
        ("s3://KEY:hunter2/x@s3.aws.amazon.com/bucket", "%2F"),
        ("s3://KEY:hunter2+x@s3.aws.amazon.com/bucket", "%2B"),
        ("redis://u:hunter2@x@host", "%40"),
        ("redis://u:hunter2?x@host", "%3F"),
        ("redis://u:hunter2#x@host", "%23"),
        ("redis://u:hunter2%zz@host", "%25"),
        ("redis://u:hunter2@ss/word@host:6379/0", "%40"),
        ("redis://u:hunter2@ss/word@host:6379/0", "seems not to be percent-encoded"),
    ] {
        let message = StoreUrl::parse(text).unwrap_err().to_string();
        assert!(message.contains(code), "{text}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn an_at_sign_in_a_path_without_a_host_belongs_to_the_path() {
    assert_eq!(parse("sqlite:////srv/me@host/app.db").path(), "//srv/me@host/app.db");
}

#[test]
fn what_is_no_url_is_refused() {
    for text in [
        "",
        "redis",
        "://x",
        "1redis://x",
        "re dis://x",
        "redis://a:0",
        "redis://a:99999",
        "redis://a:+1",
        "redis://::1",
        "redis://[::1",
        "redis://[::1]x",
        "redis://a b",
        "redis://a,,b",
        "redis://a%2cb",
        "redis://a%2Bb=c",
        "redis://h/%ff",
        "redis://h/%0a",
        "redis://h?a=1&a=2",
    ] {
        let error = StoreUrl::parse(text).expect_err(text);
        assert!(error.is_invalid_config(), "{text}");
    }
}

#[test]
fn options_nobody_took_are_refused_by_name() {
    let mut url = parse("redis://h?prefix=a:&timout=5s");
    url.take_key_space("").unwrap();
    let message = url.finish().unwrap_err().to_string();
    assert!(message.contains("`timout`") && message.contains("prefix, timeout"), "{message}");
}

#[test]
fn the_deadline_is_read_with_the_url_whatever_the_engine() {
    let url = parse("x://h?timeout=700ms");
    assert_eq!((url.deadline(), url.timeout), (Duration::from_millis(700), Some(url.deadline())));
    assert!(url.finish().is_ok(), "nobody need take it");
    assert_eq!((parse("x://h").deadline(), parse("x://h").timeout), (DEFAULT_DEADLINE, None));
    for bad in ["x://h?timeout=0", "x://h?timeout=soon", "x://h?timeout="] {
        let message = StoreUrl::parse(bad).unwrap_err().to_string();
        assert!(message.contains("`timeout`"), "{bad}: {message}");
    }
}

#[test]
fn durations_and_switches() {
    let mut url = parse("x:?a=500ms&b=5&c=2m&d=0&e=fast&f=yes&g=maybe&h=4294967295h");
    assert_eq!(url.take_duration("a").unwrap(), Some(Duration::from_millis(500)));
    assert_eq!(url.take_duration("b").unwrap(), Some(Duration::from_secs(5)));
    assert_eq!(url.take_duration("c").unwrap(), Some(Duration::from_secs(120)));
    assert!(url.take_duration("d").is_err());
    assert!(url.take_duration("e").is_err());
    assert_eq!(url.take_bool("f").unwrap(), Some(true));
    assert!(url.take_bool("g").is_err());
    assert!(url.take_duration("h").is_ok());
}

#[test]
fn nothing_secret_is_shown() {
    let url = parse("redis://app:hunter2@[::1]:1,b/2?credentials=hunter2");
    for shown in [url.to_string(), format!("{url:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("redis://app:***@[::1]:1,b/2?credentials=…"), "{shown}");
    }
}
