//! Rules of time that an application may set, and what happens at their edges.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_core::{
    Clock, CookiePolicy, Session, SessionManager, SessionManagerBuilder, Storage, WhenFull,
};
use support::{App, Browser, listed, logged_in, max_age, with_values};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Rules = fn(SessionManagerBuilder) -> SessionManagerBuilder;
type Handler = fn(&Session);

#[tokio::test]
async fn remember_for_shorter_than_the_time_since_the_last_refresh_counts_from_now() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    app.clock.advance(DAY); // no refresh was due yet
    let ((), headers) = browser
        .request_status(&app.manager, 200, |session| session.remember_for(HOUR).unwrap())
        .await;
    assert_eq!(max_age(headers.set_cookie().unwrap()), Some(60 * 60));
    app.clock.advance(59 * MINUTE);
    assert!(browser.is_live(&app.manager).await, "it does not end at once");
    app.clock.advance(2 * MINUTE);
    assert!(!browser.is_live(&app.manager).await);
}

#[tokio::test]
async fn a_session_with_a_lifetime_below_the_refresh_interval_is_refreshed_in_time() {
    // By default a tenth of two weeks, and one set by hand.
    let rules: [Rules; 2] =
        [|rules| rules, |rules| rules.idle_timeout(2 * HOUR).refresh_interval(90 * MINUTE)];
    for (own, rules) in rules.into_iter().enumerate() {
        let app = App::with(rules);
        let mut browser = with_values(&app.manager).await;
        browser.request(&app.manager, |session| session.remember_for(HOUR)).await.unwrap();
        for request in 0..20 {
            app.clock.advance(31 * MINUTE);
            let there = browser.request(&app.manager, |session| session.contains("a")).await;
            assert!(there, "expired under use, rules {own}, request {request}");
        }
        app.clock.advance(61 * MINUTE);
        assert!(!browser.is_live(&app.manager).await);
    }
}

#[tokio::test]
async fn rules_under_which_sessions_would_expire_under_use_or_nothing_would_fit_are_refused() {
    let refused: [(&str, Rules); 7] = [
        ("refresh interval", |rules| rules.idle_timeout(HOUR).refresh_interval(HOUR)),
        ("refresh interval", |rules| rules.idle_timeout(HOUR).refresh_interval(2 * HOUR)),
        ("remember_for", |rules| rules.idle_timeout(2 * HOUR).remember_at_most(HOUR)),
        ("max_record_bytes", |rules| rules.max_record_bytes(0)),
        ("flash_limits", |rules| rules.flash_limits(0, 0)),
        ("flash_limits", |rules| rules.flash_limits(0, 1024)),
        ("max_sessions_per_owner", |rules| rules.max_sessions_per_owner(0, WhenFull::RevokeOldest)),
    ];
    for (names, rules) in refused {
        let app = App::new();
        let error =
            rules(SessionManager::builder(Storage::from(app.store.clone()))).build().unwrap_err();
        assert!(error.is_invalid_config() && error.to_string().contains(names), "{names}: {error}");
    }
    let accepted: [Rules; 3] = [
        |rules| rules.idle_timeout(HOUR).refresh_interval(59 * MINUTE),
        |rules| rules.idle_timeout(HOUR).remember_at_most(HOUR),
        |rules| {
            rules
                .max_record_bytes(1024)
                .flash_limits(1, 1)
                .max_sessions_per_owner(1, WhenFull::RevokeOldest)
        },
    ];
    for rules in accepted {
        App::with(rules);
    }
}

#[tokio::test]
async fn a_refresh_interval_just_below_the_idle_timeout_keeps_a_used_session() {
    let app = App::with(|rules| rules.idle_timeout(HOUR).refresh_interval(59 * MINUTE));
    let mut browser = with_values(&app.manager).await;
    for _ in 0..20 {
        app.clock.advance(31 * MINUTE);
        assert!(browser.request(&app.manager, |session| session.contains("a")).await);
    }
}

#[tokio::test]
async fn a_socket_that_only_reads_keeps_its_session_alive_by_touch() {
    let app = App::with(|rules| rules.idle_timeout(HOUR));
    let browser = logged_in(&app.manager, "alice").await;
    let (lazy, session) = browser.start(&app.manager).await;
    let detached = session.detached();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    app.store.reset_calls();
    for _ in 0..60 {
        app.clock.advance(5 * MINUTE);
        assert!(detached.touch().await.unwrap());
    }
    assert!(app.store.calls().update <= 60, "a write where a refresh is due, and its index");
    assert!(browser.is_live(&app.manager).await);
    assert_eq!(listed(&app.manager, "alice").await, 1, "its entry moved along");
    app.manager.revoke_all("alice").await.unwrap();
    assert!(!detached.touch().await.unwrap(), "who was logged out is told so and stays out");
    assert_eq!(app.store.sessions(), 0);
    app.clock.advance(2 * HOUR);
    assert!(!detached.touch().await.unwrap());
}

#[tokio::test]
async fn touch_does_not_outlive_the_absolute_timeout() {
    let app = App::with(|rules| rules.idle_timeout(HOUR).absolute_timeout(3 * HOUR));
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    let detached = session.detached();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    for _ in 0..5 {
        app.clock.advance(30 * MINUTE);
        assert!(detached.touch().await.unwrap());
    }
    app.clock.advance(30 * MINUTE);
    assert!(!detached.touch().await.unwrap());
}

#[tokio::test]
async fn the_remember_me_box_is_asked_at_each_login() {
    let ticked: Handler = |session| {
        session.login("alice").unwrap();
        session.remember_for(30 * DAY).unwrap();
    };
    let unticked: Handler = |session| {
        session.login("alice").unwrap();
        session.forget_on_close().unwrap();
    };
    // Whatever the policy's default is.
    for persistent in [false, true] {
        let app = App::with(|rules| rules.cookie(CookiePolicy::new().persistent(persistent)));
        let mut browser = Browser::new();
        for (handler, lasts) in
            [(unticked, false), (ticked, true), (unticked, false), (ticked, true)]
        {
            let ((), headers) = browser.request_status(&app.manager, 200, handler).await;
            let age = max_age(headers.set_cookie().unwrap());
            assert_eq!(age, lasts.then_some(30 * 24 * 60 * 60), "{persistent}");
            let until = browser.open(&app.manager).load().await.unwrap().expires_at();
            let life = until.duration_since(app.clock.now()).unwrap();
            assert_eq!(life, if lasts { 30 * DAY } else { 14 * DAY }, "{persistent}");
            // It sticks through refreshes and rotations.
            app.clock.advance(5 * DAY);
            let ((), headers) = browser
                .request_status(&app.manager, 200, |session| session.rotate().unwrap())
                .await;
            assert_eq!(max_age(headers.set_cookie().unwrap()).is_some(), lasts, "{persistent}");
        }
        assert_eq!(listed(&app.manager, "alice").await, 1);
    }
}

#[tokio::test]
async fn client_side_the_remember_me_box_is_asked_at_each_login() {
    let (clock, manager) = App::client_side("a secret of more than 32 bytes: kdU2hs8dm2M");
    let mut browser = Browser::new();
    for lasts in [false, true, false] {
        clock.advance(DAY);
        let ((), headers) = browser
            .request_status(&manager, 200, |session| {
                session.login("alice").unwrap();
                if lasts {
                    session.remember_for(20 * DAY).unwrap();
                } else {
                    session.forget_on_close().unwrap();
                }
            })
            .await;
        let age = max_age(headers.set_cookie().unwrap());
        assert_eq!(age, lasts.then_some(20 * 24 * 60 * 60));
    }
}
