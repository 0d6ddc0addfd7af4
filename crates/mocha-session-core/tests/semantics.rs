//! What a session means, whatever the engine: what is kept, what is never stored, which id is
//! whose.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::collections::BTreeMap;

use mocha_session_core::{ErrorKind, Key, RequestInfo};
use serde::{Deserialize, Serialize};
use support::{App, Browser, Calls, with_values};

/// An id that nobody minted.
fn unknown_id() -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut id: String = (0..42).map(|_| char::from(alphabet[fastrand::usize(..64)])).collect();
    id.push('A'); // two of its bits must be zero
    format!("__Host-session={id}")
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cart {
    items: Vec<(String, u32)>,
    note: Option<String>,
    total: f64,
}

#[tokio::test]
async fn roundtrip_of_every_kind_of_value() {
    const CART: Key<Cart> = Key::new("cart");
    let app = App::new();
    let mut browser = Browser::new();
    let json = serde_json::json!({
        "null": null, "yes": true, "int": -1, "big": u64::MAX, "small": i64::MIN, "float": 0.1, "text": "ünï\u{1f36b}\0",
        "empty": "", "list": [1, [2, {}], []], "map": {"": {"b": []}}
    });
    let cart = Cart { items: vec![("tea".into(), 2), (String::new(), 0)], note: None, total: 1.5 };
    let bytes: BTreeMap<u8, Vec<u8>> = [(1, vec![0, 255]), (2, vec![])].into();
    let long = "x".repeat(100_000);
    browser
        .request(&app.manager, |session| {
            session.insert("json", &json).unwrap();
            session.insert(CART, cart.clone()).unwrap();
            session.insert("bytes", &bytes).unwrap();
            session.insert("ключ 🔑", &long).unwrap();
            session.insert("unit", ()).unwrap();
        })
        .await;
    let (_, session) = browser.start(&app.other_process()).await;
    assert_eq!(session.get::<serde_json::Value>("json").unwrap().unwrap(), json);
    assert_eq!(session.get(CART).unwrap().unwrap(), cart);
    assert_eq!(session.get::<BTreeMap<u8, Vec<u8>>>("bytes").unwrap().unwrap(), bytes);
    assert_eq!(session.get::<String>("ключ 🔑").unwrap().unwrap(), long);
    assert_eq!(session.get::<()>("unit").unwrap(), Some(()));
    assert_eq!(session.keys(), ["bytes", "cart", "json", "unit", "ключ 🔑"]);
    assert!(session.contains(CART) && !session.contains("Cart") && !session.is_empty());
}

#[tokio::test]
async fn an_untouched_session_costs_nothing() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    app.store.reset_calls();
    let lazy = browser.open(&app.manager);
    let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert!(headers.is_none() && !lazy.is_touched());
    assert_eq!(app.store.calls(), Calls::default());
}

#[tokio::test]
async fn read_only_varies_and_sets_no_cookie_and_contains_counts_as_access() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    app.store.reset_calls();
    let (there, headers) =
        browser.request_status(&app.manager, 200, |session| session.contains("a")).await;
    assert!(there && !headers.is_none() && headers.set_cookie().is_none());
    assert_eq!(app.store.calls(), Calls { load: 1, ..Calls::default() });
    // Nor does looking at nobody's session make one.
    let (_, headers) =
        Browser::new().request_status(&app.manager, 200, |session| session.is_new()).await;
    assert!(!headers.is_none() && headers.set_cookie().is_none());
}

#[tokio::test]
async fn an_unknown_id_is_nothing_and_is_not_adopted() {
    let app = App::new();
    let mut browser = Browser { cookie: Some(unknown_id()) };
    let chosen = browser.clone();
    assert!(!browser.is_live(&app.manager).await);
    assert_eq!(app.store.len(), 0);
    browser.request(&app.manager, |session| session.insert("a", 1)).await.unwrap();
    assert_ne!(browser, chosen);
    assert!(browser.is_live(&app.manager).await && !chosen.is_live(&app.manager).await);
}

#[tokio::test]
async fn an_empty_session_is_never_persisted() {
    let app = App::new();
    for at in 0..10_000 {
        let mut browser = Browser { cookie: Some(unknown_id()) };
        let ((), headers) = browser
            .request_status(&app.manager, 200, |session| match at % 5 {
                0 => session.destroy().unwrap(),
                1 => session.clear().unwrap(),
                2 => session.rotate().unwrap(),
                3 => {
                    session.insert("a", 1).unwrap();
                    assert!(session.remove("a").unwrap());
                    session.set_label("only a label").unwrap();
                }
                _ => assert!(session.is_empty()),
            })
            .await;
        assert_eq!(headers.set_cookie(), None);
    }
    assert_eq!((app.store.len(), app.store.calls().writes()), (0, 0));
}

#[tokio::test]
async fn after_a_rotation_the_new_id_loads_and_the_old_one_does_not() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let old = browser.clone();
    let before = old.open(&app.manager).load().await.unwrap().fingerprint();
    browser.request(&app.manager, |session| session.rotate()).await.unwrap();
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
    assert!(!old.is_live(&app.manager).await);
    assert_ne!(browser.open(&app.manager).load().await.unwrap().fingerprint(), before);
}

#[tokio::test]
async fn rotated_twice_before_the_commit_only_the_last_exists() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    browser
        .request(&app.manager, |session| {
            session.rotate().unwrap();
            session.rotate().unwrap();
        })
        .await;
    assert_eq!(app.store.sessions(), 1);
    // And with a commit between.
    let (lazy, session) = browser.start(&app.manager).await;
    let old = browser.clone();
    session.rotate().unwrap();
    session.commit().await.unwrap();
    session.rotate().unwrap();
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert_eq!(app.store.sessions(), 1);
    assert!(browser.is_live(&app.manager).await && !old.is_live(&app.manager).await);
}

#[tokio::test]
async fn rotated_then_destroyed_neither_exists() {
    for commit in [false, true] {
        let app = App::new();
        let mut browser = with_values(&app.manager).await;
        let (lazy, session) = browser.start(&app.manager).await;
        session.rotate().unwrap();
        if commit {
            session.commit().await.unwrap();
        }
        session.destroy().unwrap();
        session.rotate().unwrap();
        browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
        assert_eq!((app.store.sessions(), browser.cookie), (0, None));
    }
}

#[tokio::test]
async fn destroyed_then_written_begins_a_new_session_under_a_fresh_id() {
    let app = App::new();
    let mut browser = Browser::new();
    browser
        .request(&app.manager, |session| {
            session.insert("a", 1).unwrap();
            session.login("alice").unwrap();
        })
        .await;
    let old = browser.clone();
    browser
        .request(&app.manager, |session| {
            session.destroy().unwrap();
            assert!(session.is_new() && session.is_empty() && session.owner().is_none());
            session.insert("b", 2).unwrap();
        })
        .await;
    assert!(browser != old && browser.cookie.is_some());
    assert_eq!(browser.get::<u8>(&app.manager, "b").await, Some(2));
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, None);
    assert!(!old.is_live(&app.manager).await);
    assert_eq!(app.store.sessions(), 1);
}

#[tokio::test]
async fn a_type_mismatch_is_an_error_and_keeps_the_data() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    browser
        .request(&app.manager, |session| {
            assert!(session.get::<String>("a").unwrap_err().is_invalid_input());
            assert!(session.take::<String>("a").unwrap_err().is_invalid_input());
            assert!(
                session
                    .update("a", |a: Option<String>| a.unwrap_or_default())
                    .unwrap_err()
                    .is_invalid_input()
            );
            assert!(
                session.modify("a", |a: &mut Vec<u8>| a.clear()).unwrap_err().is_invalid_input()
            );
            assert!(session.get_or_insert_with("a", String::new).unwrap_err().is_invalid_input());
            assert_eq!(session.get::<u64>("a").unwrap(), Some(1));
        })
        .await;
    assert_eq!(browser.get::<u64>(&app.manager, "a").await, Some(1));
}

#[tokio::test]
async fn the_same_value_written_or_an_absent_key_removed_writes_nothing() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    app.store.reset_calls();
    let changes: [fn(&mocha_session_core::Session); 7] = [
        |session| session.insert("a", 1).unwrap(),
        |session| assert!(!session.remove("b").unwrap()),
        |session| assert_eq!(session.update("a", |a: Option<u8>| a.unwrap()).unwrap(), 1),
        |session| assert!(!session.modify("b", |_: &mut u8| ()).unwrap()),
        |session| assert_eq!(session.get_or_insert_with("a", || 9).unwrap(), 1),
        |session| {
            session.insert("b", 2).unwrap();
            session.remove("b").unwrap();
        },
        |session| {
            session.clear().unwrap();
            session.insert("a", 1).unwrap();
        },
    ];
    for change in changes {
        let ((), headers) = browser.request_status(&app.manager, 200, change).await;
        assert_eq!(headers.set_cookie(), None);
    }
    assert_eq!(app.store.calls(), Calls { load: 7, ..Calls::default() });
}

#[tokio::test]
async fn an_emptied_session_is_gone_within_a_minute_and_its_cookie_at_once() {
    let empties: [fn(&mocha_session_core::Session); 3] = [
        |session| session.clear().unwrap(),
        |session| assert!(session.remove("a").unwrap()),
        |session| {
            session.rotate().unwrap();
            assert_eq!(session.take::<u8>("a").unwrap(), Some(1));
        },
    ];
    for empty in empties {
        let app = App::new();
        let mut browser = with_values(&app.manager).await;
        let old = browser.clone();
        browser.request(&app.manager, empty).await;
        assert_eq!(browser.cookie, None);
        // A tab that was under way reads an empty session, and reading does not keep it.
        let (_, headers) =
            old.clone().request_status(&app.manager, 200, |session| session.is_empty()).await;
        assert_eq!(headers.set_cookie(), None);
        app.clock.advance(std::time::Duration::from_secs(61));
        assert_eq!(app.store.len(), 0);
        assert!(!old.is_live(&app.manager).await);
    }
}

#[tokio::test]
async fn a_login_keeps_what_an_anonymous_session_held_and_drops_the_first_owners() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let anonymous = browser.clone();
    browser
        .request(&app.manager, |session| {
            session.flash().info("welcome").unwrap();
            session.login("alice").unwrap();
        })
        .await;
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
    assert!(!anonymous.is_live(&app.manager).await);
    let alice = browser.clone();
    browser
        .request(&app.manager, |session| {
            session.set_label("hers").unwrap();
            session.remember_for(std::time::Duration::from_secs(77)).unwrap();
            session.login("bob").unwrap();
            assert!(session.is_empty() && session.label().is_none());
            assert!(session.flash().messages().is_empty());
            session.flash().info("hello bob").unwrap();
        })
        .await;
    assert!(!alice.is_live(&app.manager).await);
    let (_, session) = browser.start(&app.manager).await;
    assert_eq!((session.owner().as_deref(), session.keys()), (Some("bob"), vec![]));
    let texts: Vec<_> =
        session.flash().messages().iter().map(|message| message.text().to_owned()).collect();
    assert_eq!((texts, session.label()), (vec!["hello bob".to_owned()], None));
    let idle = session.expires_at().duration_since(session.created_at()).unwrap();
    assert_eq!(idle.as_secs(), 14 * 24 * 3600, "nor her lifetime");
    assert_eq!(app.store.sessions(), 1);
}

#[tokio::test]
async fn what_the_first_owner_was_shown_is_not_shown_to_the_second_in_the_same_request() {
    let app = App::new();
    let mut browser = Browser::new();
    browser
        .request(&app.manager, |session| {
            session.login("alice").unwrap();
            session.flash().info("for alice").unwrap().set_data("hers").unwrap();
        })
        .await;
    browser
        .request(&app.manager, |session| {
            assert_eq!(session.flash().messages().len(), 1);
            assert_eq!(session.flash().take_data::<String>().unwrap().as_deref(), Some("hers"));
            session.login("bob").unwrap();
            assert!(session.flash().messages().is_empty());
            assert_eq!(session.flash().take_data::<String>().unwrap(), None);
        })
        .await;
    let lazy = app.manager.open(RequestInfo::new(browser.header()));
    assert!(lazy.load().await.unwrap().flash().messages().is_empty());
}

#[tokio::test]
async fn names_that_are_not_allowed_are_refused() {
    let app = App::new();
    let (_, session) = Browser::new().start(&app.manager).await;
    for name in ["", "__flash", &"x".repeat(257)] {
        assert_eq!(session.insert(name, 1).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(session.get::<u8>(name).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(session.remove(name).unwrap_err().is_invalid_input());
    }
    assert!(session.insert("f", f64::NAN).is_ok());
}
