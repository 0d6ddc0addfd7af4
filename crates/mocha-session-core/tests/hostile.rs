//! Hostile input: what does not look like ours never reaches the store.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use mocha_session_core::{RequestInfo, Secrets, SessionManager};
use support::{App, Calls, with_values};

async fn value_with(manager: &SessionManager, headers: Vec<Vec<u8>>) -> Option<u8> {
    let lazy = manager.open(RequestInfo::new(headers));
    let value = lazy.load().await.unwrap().get("a").unwrap();
    assert_eq!(manager.finish(&lazy, 200).await.into_result().unwrap().set_cookie(), None);
    value
}

#[tokio::test]
async fn hostile_ids_never_reach_the_store() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let good = browser.header();
    let id = good.strip_prefix("__Host-session=").unwrap();
    let signing = app.process_with(|rules| rules.secrets(Secrets::generate().unwrap()));
    app.store.reset_calls();
    let mut bad: Vec<Vec<u8>> = [
        "../../../../etc/passwd",
        "..%2f..%2f",
        "*",
        "",
        "\"\"",
        "null",
        "0",
        "' OR 1=1 --",
        "{\"a\":1}",
        "${jndi:ldap://x}",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    for byte in [0, b'\r', b'\n', b' ', b'*', b'/', b'+', b'.', b'=', b'"', b'%', 0x80, 0xff] {
        for at in [0, 20, 42] {
            let mut id = id.as_bytes().to_vec();
            id[at] = byte;
            bad.push(id);
        }
    }
    bad.push(vec![b'A'; 1 << 20]);
    bad.push(id.as_bytes()[1..].to_vec());
    bad.extend(
        [
            [id, "A"].concat(),
            [id, "."].concat(),
            [id, ".", &"A".repeat(22)].concat(),
            [id, id].concat(),
        ]
        .map(String::into_bytes),
    );
    for value in bad {
        let header = [b"__Host-session=".as_slice(), &value].concat();
        assert_eq!(value_with(&app.manager, vec![header]).await, None);
    }
    for header in [
        format!("__Host-Session={id}"),
        format!("\u{a0}__Host-session={id}"),
        format!("$Version=1; x__Host-session={id}"),
        format!("__Host-session ={id}"),
        format!("\"__Host-session\"={id}"),
        format!("__Host-session=\"{id}\""),
        format!("__Host-session%3D{id}"),
        "__Host-session".to_owned(),
        ";;;=;=;".to_owned(),
        ";".repeat(100_000),
    ] {
        assert_eq!(value_with(&app.manager, vec![header.into_bytes()]).await, None);
    }
    // Where cookies are signed a well-formed guess dies too.
    assert_eq!(value_with(&signing, vec![good.clone().into_bytes()]).await, None);
    assert_eq!(app.store.calls(), Calls::default(), "not one call");
    assert_eq!(value_with(&app.manager, vec![good.into_bytes()]).await, Some(1));
}

#[tokio::test]
async fn of_duplicate_cookies_a_bad_first_one_hides_no_valid_second_one() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let good = browser.header();
    let stale = with_values(&app.manager).await;
    stale.clone().request(&app.manager, |session| session.destroy()).await.unwrap();
    for bad in ["__Host-session=", "__Host-session=garbage", &stale.header()] {
        let one_line = format!("a=b; {bad}; {good}; c=d").into_bytes();
        assert_eq!(value_with(&app.manager, vec![one_line]).await, Some(1), "{bad}");
        let two_lines = vec![bad.as_bytes().to_vec(), good.clone().into_bytes()];
        assert_eq!(value_with(&app.manager, two_lines).await, Some(1));
    }
    app.store.reset_calls();
    assert_eq!(
        value_with(&app.manager, vec![format!("{good}; {good}; {good}").into_bytes()]).await,
        Some(1)
    );
    assert_eq!(app.store.calls().all(), 1, "the same one thrice is one");
}

#[tokio::test]
async fn two_different_live_sessions_are_nobody() {
    let app = App::new();
    let (one, two) = (with_values(&app.manager).await, with_values(&app.manager).await);
    for (first, second) in [(&one, &two), (&two, &one)] {
        let header = format!("{}; {}", first.header(), second.header());
        let lazy = app.manager.open(RequestInfo::new(header));
        assert!(lazy.load_existing().await.unwrap().is_none());
        assert_eq!(app.manager.finish(&lazy, 200).await.into_result().unwrap().set_cookie(), None);
    }
    assert!(one.is_live(&app.manager).await && two.is_live(&app.manager).await);
}

#[tokio::test]
async fn of_many_cookies_at_most_three_are_tried() {
    let app = App::new();
    let mut headers = Vec::new();
    for _ in 0..50 {
        let dead = with_values(&app.manager).await;
        dead.clone().request(&app.manager, |session| session.destroy()).await.unwrap();
        headers.push(dead.header().into_bytes());
    }
    headers.push(with_values(&app.manager).await.header().into_bytes());
    app.store.reset_calls();
    assert_eq!(value_with(&app.manager, headers).await, None);
    assert_eq!(app.store.calls(), Calls { load: 3, ..Calls::default() });
}
