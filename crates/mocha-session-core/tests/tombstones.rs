//! What lies where a session was: *moved* and *ended* were told to the browser, *revoked* was not.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_conformance::tools::Trace;
use mocha_session_core::{Session, WhenFull};
use support::{App, listed, logged_in, with_values};

type End = (&'static str, fn(&Session), usize);

/// What a session's own request may do to its id, and how many sessions are left.
const TOLD: [End; 3] = [
    ("rotate", |session| session.rotate().unwrap(), 1),
    ("login", |session| session.login("alice").unwrap(), 1),
    ("logout", |session| session.destroy().unwrap(), 0),
];

type Write = (&'static str, fn(&Session));

/// What a late request may try.
const WRITES: [Write; 6] = [
    ("insert", |session| session.insert("b", 2).unwrap()),
    ("update", |session| {
        assert_eq!(session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap(), 1);
    }),
    ("flash", |session| assert!(session.flash().info("late").is_ok())),
    ("rotate", |session| session.rotate().unwrap()),
    ("destroy", |session| session.destroy().unwrap()),
    ("destroy and flash", |session| {
        session.destroy().unwrap();
        session.flash().info("you are logged out").unwrap();
    }),
];

#[tokio::test]
async fn a_request_sent_before_a_login_or_logout_and_answered_after_it_sends_no_line_and_stores_nothing()
 {
    // It had loaded its session before, or it loads it after.
    for loaded_before in [true, false] {
        for (end, ends, left) in TOLD {
            for (name, write) in WRITES {
                let app = App::new();
                let mut browser = with_values(&app.manager).await;
                let old = browser.clone();
                let mut late = old.open(&app.manager);
                if loaded_before {
                    write(&late.load().await.unwrap());
                }
                browser.request(&app.manager, ends).await;
                if !loaded_before {
                    late = old.open(&app.manager);
                    let session = late.load().await.unwrap();
                    assert!(session.is_new() && session.is_empty(), "{end} {name}");
                    write(&session);
                }
                let headers = app.manager.finish(&late, 200).await.into_result().unwrap();
                let what = format!("{end}, then {name}, loaded before: {loaded_before}");
                // A logout follows a rotation that it crossed, and tells so.
                if loaded_before && name.starts_with("destroy") && end != "logout" {
                    assert!(headers.set_cookie().is_some(), "{what}");
                    assert!(!browser.is_live(&app.manager).await, "{what}");
                    continue;
                }
                assert_eq!(headers.set_cookie(), None, "{what}");
                assert_eq!(app.store.sessions(), left, "{what}");
                if left > 0 {
                    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1), "{what}");
                    assert!(
                        !browser.open(&app.manager).load().await.unwrap().contains("b"),
                        "{what}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_commit_on_an_id_that_was_moved_is_gone() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let old = browser.clone();
    browser.request(&app.manager, |session| session.rotate()).await.unwrap();
    let (_lazy, session) = old.start(&app.manager).await;
    session.insert("b", 2).unwrap();
    assert!(session.commit().await.unwrap_err().is_gone());
    assert_eq!(app.store.sessions(), 1);
}

#[tokio::test]
async fn a_login_with_an_id_that_was_moved_or_ended_starts_fresh_and_never_follows_to_the_successor()
 {
    for (end, ends, left) in TOLD {
        let app = App::new();
        let mut browser = with_values(&app.manager).await;
        let mut late = browser.clone();
        browser.request(&app.manager, ends).await;
        browser
            .request(&app.manager, |session| session.flash().info("mine").map(drop))
            .await
            .unwrap();
        let mine = app.store.sessions();
        assert!(mine >= left);
        late.request(&app.manager, |session| session.login("mallory")).await.unwrap();
        let (_, session) = late.start(&app.manager).await;
        assert_eq!(session.owner().as_deref(), Some("mallory"), "{end}");
        assert!(
            session.keys().is_empty() && session.flash().peek().is_empty(),
            "{end}: nothing is inherited"
        );
        assert_ne!(late, browser, "{end}");
        assert_eq!(app.store.sessions(), mine + 1, "{end}: the successor lives on");
        if left > 0 {
            assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1), "{end}");
        }
    }
}

#[tokio::test]
async fn a_revoked_id_is_as_an_unknown_one_its_browser_gets_a_new_session() {
    for by in ["revoke_all", "revoke", "revoke_others", "to make room"] {
        let app = App::with(|rules| rules.max_sessions_per_owner(2, WhenFull::RevokeOldest));
        let mut browser = logged_in(&app.manager, "alice").await;
        let revoked = browser.clone();
        app.clock.advance(Duration::from_secs(1));
        let other = logged_in(&app.manager, "alice").await;
        let handle = browser.open(&app.manager).load().await.unwrap().handle().unwrap();
        match by {
            "revoke_all" => assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 2),
            "revoke" => assert!(app.manager.revoke("alice", handle).await.unwrap()),
            "revoke_others" => {
                let session = other.open(&app.manager).load().await.unwrap();
                assert_eq!(app.manager.revoke_others(&session).await.unwrap(), 1);
            }
            _ => drop(logged_in(&app.manager, "alice").await),
        }
        let (new, headers) = browser
            .request_status(&app.manager, 200, |session| {
                session.insert("cart", 1).unwrap();
                session.is_new()
            })
            .await;
        assert!(new && headers.set_cookie().is_some(), "{by}");
        assert_ne!(browser, revoked, "{by}: under an id of its own");
        assert_eq!(browser.get::<u8>(&app.manager, "cart").await, Some(1), "{by}");
    }
}

#[tokio::test]
async fn after_a_tombstones_time_its_id_is_unknown() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let mut late = browser.clone();
    browser.request(&app.manager, |session| session.destroy()).await.unwrap();
    app.clock.advance(Duration::from_secs(61));
    late.request(&app.manager, |session| session.insert("b", 2)).await.unwrap();
    assert_eq!(late.get::<u8>(&app.manager, "b").await, Some(2));
}

#[tokio::test]
async fn who_ends_all_sessions_of_oneself_then_logs_out_sees_the_message_on_the_next_page() {
    let app = App::new();
    let mut browser = logged_in(&app.manager, "alice").await;
    let old = browser.clone();
    let (lazy, session) = browser.start(&app.manager).await;
    assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 1);
    session.destroy().unwrap();
    session.flash().info("logged out everywhere").unwrap();
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert!(browser.cookie.is_some() && browser != old);
    let texts = browser
        .request(&app.manager, |session| {
            assert_eq!(session.owner(), None);
            session
                .flash()
                .messages()
                .iter()
                .map(|message| message.text().to_owned())
                .collect::<Vec<_>>()
        })
        .await;
    assert_eq!(texts, ["logged out everywhere"]);
    assert_eq!(listed(&app.manager, "alice").await, 0);
}

#[tokio::test]
async fn changes_dropped_because_the_session_is_gone_leave_a_line_in_the_trace_with_the_fingerprint()
 {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("secret-key", "secret-value").unwrap();
    let fingerprint = session.fingerprint().unwrap();
    browser.request(&app.manager, |session| session.destroy()).await.unwrap();
    let trace = Trace::start();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    let lines = trace.at("DEBUG");
    let dropped: Vec<_> =
        lines.iter().filter(|line| line.contains("changes were dropped")).collect();
    assert_eq!(dropped.len(), 1, "{lines:?}");
    assert!(dropped[0].contains(&fingerprint) && !dropped[0].contains("secret-"), "{dropped:?}");
}
