//! Sessions in the client's cookie: the promises this mode keeps, and those it cannot.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_core::{
    CookiePolicy, ErrorKind, ManualClock, Requirement, Secrets, SessionManager,
    SessionManagerBuilder, Storage,
};
use support::{App, Browser, with_values};

const OLD: &str = "an old secret of more than 32 bytes: kdU2hs8";
const NEW: &str = "a new secret of more than 32 bytes: pqP82jdn";
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn with(
    secrets: &str,
    clock: &ManualClock,
    rules: impl FnOnce(SessionManagerBuilder) -> SessionManagerBuilder,
) -> SessionManager {
    let builder = SessionManager::builder(Storage::client_side());
    rules(builder.secrets(Secrets::parse(secrets).unwrap()).clock(clock.clone())).build().unwrap()
}

#[tokio::test]
async fn values_flash_owner_and_lifetime_are_kept_across_requests_and_processes() {
    let (clock, manager) = App::client_side(OLD);
    let mut browser = Browser::new();
    browser
        .request_status(&manager, 303, |session| {
            session.insert("a", "ünï").unwrap();
            session.flash().info("saved").unwrap().set_data(&7).unwrap();
            session.login("alice").unwrap();
            session.set_label("phone").unwrap();
        })
        .await;
    let other = with(OLD, &clock, |rules| rules);
    let ((), headers) = browser
        .request_status(&other, 200, |session| {
            assert_eq!(session.get::<String>("a").unwrap().as_deref(), Some("ünï"));
            assert_eq!(
                (session.owner().as_deref(), session.label().as_deref()),
                (Some("alice"), Some("phone"))
            );
            assert_eq!((session.handle(), session.fingerprint()), (None, None), "it has no id");
            assert_eq!(session.flash().messages()[0].text(), "saved");
            assert_eq!(session.flash().take_data::<u8>().unwrap(), Some(7));
        })
        .await;
    assert!(headers.set_cookie().is_some(), "the flash was consumed");
    let (shown, headers) =
        browser.request_status(&other, 200, |session| session.flash().messages().len()).await;
    assert_eq!((shown, headers.set_cookie()), (0, None), "a mere read sends nothing");
}

#[tokio::test]
async fn what_is_untouched_empty_or_equal_sends_nothing_and_what_is_emptied_is_removed() {
    let (_, manager) = App::client_side(OLD);
    let lazy = Browser::new().open(&manager);
    assert!(manager.finish(&lazy, 200).await.into_result().unwrap().is_none());
    let ((), headers) =
        Browser::new().request_status(&manager, 200, |session| session.clear().unwrap()).await;
    assert_eq!(headers.set_cookie(), None);
    let mut browser = with_values(&manager).await;
    let ((), headers) =
        browser.request_status(&manager, 200, |session| session.insert("a", 1).unwrap()).await;
    assert_eq!(headers.set_cookie(), None);
    let before = browser.clone();
    browser.request_status(&manager, 500, |session| session.insert("a", 2).unwrap()).await;
    assert_eq!(browser, before, "a 5xx commits nothing");
    browser.request(&manager, |session| session.remove("a")).await.unwrap();
    assert_eq!(browser.cookie, None);
    let mut browser = with_values(&manager).await;
    browser.request(&manager, |session| session.destroy()).await.unwrap();
    assert_eq!(browser.cookie, None);
    let mut browser = with_values(&manager).await;
    browser
        .request(&manager, |session| {
            session.login("alice").unwrap();
            session.login("bob").unwrap();
            session.insert("b", 2).unwrap();
        })
        .await;
    let (_, session) = browser.start(&manager).await;
    assert_eq!((session.owner().as_deref(), session.keys()), (Some("bob"), vec!["b".to_owned()]));
}

#[tokio::test]
async fn the_promises_it_cannot_keep_it_does_not_make() {
    let (clock, manager) = App::client_side(OLD);
    assert!(!manager.capabilities().compare_and_set() && !manager.capabilities().listing());
    for requirement in [Requirement::FinalLogout, Requirement::OwnerIndex, Requirement::Listing] {
        let built = SessionManager::builder(Storage::client_side())
            .secrets(Secrets::generate().unwrap())
            .require(requirement)
            .build();
        assert!(built.unwrap_err().is_invalid_config(), "{requirement:?}");
    }
    assert!(manager.sessions_of("alice").await.unwrap_err().is_unsupported());
    assert!(manager.revoke_all("alice").await.unwrap_err().is_unsupported());
    let mut browser = with_values(&manager).await;
    let (_, session) = browser.start(&manager).await;
    assert!(session.flash().claim().await.unwrap_err().is_unsupported());
    assert!(session.detached().load().await.unwrap_err().is_unsupported());
    assert!(manager.revoke_others(&session).await.unwrap_err().is_unsupported());
    // Logout is not final: a copy of the cookie lives on, until the absolute timeout.
    let copy = browser.clone();
    browser.request(&manager, |session| session.destroy()).await.unwrap();
    assert!(copy.is_live(&manager).await);
    clock.advance(14 * DAY);
    assert!(!copy.is_live(&manager).await);
    assert!(manager.ping().await.is_ok());
}

#[tokio::test]
async fn an_absolute_timeout_there_always_is() {
    let (clock, manager) = App::client_side(OLD);
    assert_eq!(manager.absolute_timeout(), Some(30 * DAY));
    let mut browser = with_values(&manager).await;
    browser.request(&manager, |session| session.remember_for(300 * DAY)).await.unwrap();
    for _ in 0..29 {
        clock.advance(DAY);
        let (live, _) =
            browser.request_status(&manager, 200, |session| session.contains("a")).await;
        assert!(live);
    }
    clock.advance(DAY);
    assert!(!browser.is_live(&manager).await);
    let own = with(OLD, &clock, |rules| rules.absolute_timeout(HOUR));
    let browser = with_values(&own).await;
    clock.advance(HOUR);
    assert!(!browser.is_live(&own).await);
}

#[tokio::test]
async fn idle_sessions_expire_and_a_tightened_configuration_takes_effect() {
    let (clock, manager) = App::client_side(OLD);
    let mut browser = with_values(&manager).await;
    clock.advance(2 * HOUR);
    assert!(!browser.is_live(&with(OLD, &clock, |rules| rules.idle_timeout(HOUR))).await);
    clock.advance(2 * DAY);
    let (_, headers) = browser.request_status(&manager, 200, |session| session.contains("a")).await;
    assert!(headers.set_cookie().unwrap().contains("Max-Age=1209600;"), "refreshed: {headers:?}");
    let (_, headers) = browser.request_status(&manager, 200, |session| session.contains("a")).await;
    assert_eq!(headers.set_cookie(), None, "within the interval");
    clock.advance(14 * DAY);
    assert!(!browser.is_live(&manager).await);
    // What expired while a request was under way sends nothing.
    let browser = with_values(&manager).await;
    let (lazy, session) = browser.start(&manager).await;
    session.insert("b", 2).unwrap();
    clock.advance(14 * DAY);
    assert_eq!(manager.finish(&lazy, 200).await.into_result().unwrap().set_cookie(), None);
}

#[tokio::test]
async fn over_4096_bytes_is_a_typed_error_and_nothing_is_truncated() {
    let (_, manager) = App::client_side(OLD);
    let mut browser = with_values(&manager).await;
    let mut largest = 0;
    for size in (2_000..4_000).step_by(7) {
        let (lazy, session) = browser.start(&manager).await;
        session.insert("big", "x".repeat(size)).unwrap();
        match manager.finish(&lazy, 200).await.into_parts() {
            (headers, None) => {
                browser.take(&headers);
                let pair = browser.header();
                assert!(pair.len() - 1 <= 4096, "name and value");
                assert_eq!(browser.get::<String>(&manager, "big").await.unwrap().len(), size);
                largest = size;
            }
            (headers, Some(error)) => {
                assert!(error.is_too_large() && error.http_status() == 500, "{error}");
                assert_eq!(headers.set_cookie(), None);
            }
        }
    }
    assert!((2_900..3_050).contains(&largest), "{largest}");
    assert_eq!(
        browser.get::<String>(&manager, "big").await.unwrap().len(),
        largest,
        "the last good one is kept"
    );
}

#[tokio::test]
async fn secrets_rotate_the_old_one_opens_the_new_one_seals() {
    let (clock, old) = App::client_side(OLD);
    let both = with(&format!("{NEW},{OLD}"), &clock, |rules| rules);
    let new = with(NEW, &clock, |rules| rules);
    let mut browser = with_values(&old).await;
    assert!(!browser.is_live(&new).await, "an unknown secret opens nothing");
    let (a, headers) =
        browser.request_status(&both, 200, |session| session.get::<u8>("a").unwrap()).await;
    assert_eq!(a, Some(1));
    assert!(headers.set_cookie().is_some(), "sealed anew although it was only read");
    assert!(browser.is_live(&new).await && !browser.is_live(&old).await);
    let (_, headers) = browser.request_status(&both, 200, |session| session.contains("a")).await;
    assert_eq!(headers.set_cookie(), None, "once");
    let unset = SessionManager::new(Storage::client_side());
    assert_eq!(unset.unwrap_err().kind(), ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn a_value_of_another_cookie_name_flipped_plain_or_stale_is_refused() {
    let (clock, manager) = App::client_side(OLD);
    let admin = with(OLD, &clock, |rules| rules.cookie(CookiePolicy::named("__Host-admin")));
    let browser = with_values(&manager).await;
    let value = browser.header().split_once('=').unwrap().1.to_owned();
    let as_admin = Browser { cookie: Some(format!("__Host-admin={value}")) };
    assert!(!as_admin.is_live(&admin).await);
    for at in 0..value.len() {
        let mut flipped = value.clone().into_bytes();
        flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
        let flipped = Browser {
            cookie: Some(format!("__Host-session={}", String::from_utf8(flipped).unwrap())),
        };
        assert!(!flipped.is_live(&manager).await, "{at}");
    }
    for bad in [
        "",
        "eyJhIjoxfQ",
        "{\"a\":1}",
        &"A".repeat(5_000),
        &format!("{value}A"),
        &value[..value.len() - 1],
    ] {
        let bad = Browser { cookie: Some(format!("__Host-session={bad}")) };
        assert!(!bad.is_live(&manager).await);
    }
    assert!(browser.is_live(&manager).await);
    // An id of a store-backed session is no client-side session, nor the other way round.
    let app = App::with(|rules| rules.secrets(Secrets::parse(OLD).unwrap()));
    let stored =
        Browser { cookie: Some(app.manager.seed(|session| session.insert("a", 1)).await.unwrap()) };
    assert!(!stored.is_live(&manager).await && !browser.is_live(&app.manager).await);
}

#[tokio::test]
async fn of_duplicates_one_live_one_wins_and_of_two_live_ones_the_one_sealed_last() {
    let (clock, manager) = App::client_side(OLD);
    let one = with_values(&manager).await;
    clock.advance(Duration::from_millis(5));
    let mut two = Browser::new();
    two.request(&manager, |session| session.insert("newer", true)).await.unwrap();
    for both in [[&one, &two], [&two, &one]] {
        let cookies = both.map(Browser::header).join("; ");
        let browser = Browser { cookie: Some(cookies) };
        assert_eq!(browser.get::<bool>(&manager, "newer").await, Some(true));
    }
    for (cookies, live) in [
        (format!("__Host-session=garbage; {}", one.header()), true),
        (format!("{}; {}", one.header(), one.header()), true),
        (format!("__Host-session=a; __Host-session=b; __Host-session=c; {}", one.header()), false),
    ] {
        assert_eq!(Browser { cookie: Some(cookies) }.is_live(&manager).await, live);
    }
}

#[tokio::test]
async fn two_cookies_of_one_session_differ_in_every_byte_that_hides_something() {
    let (_, manager) = App::client_side(OLD);
    let (one, two) = (with_values(&manager).await.header(), with_values(&manager).await.header());
    assert_ne!(one, two);
    let same =
        one.bytes().zip(two.bytes()).skip("__Host-session=".len()).filter(|(a, b)| a == b).count();
    assert!(same < 20, "fresh salt, nonce and key: {same}");
}
