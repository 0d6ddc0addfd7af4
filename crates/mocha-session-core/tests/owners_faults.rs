//! Owners, when something fails half-way or secrets change: nothing alive goes unlisted, and what
//! stopped goes on.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_core::{ErrorKind, Secrets, SessionManager};
use support::{App, Browser, Fault};

const OLD: &str = "an old secret of more than 32 bytes: kdU2hs8";
const NEW: &str = "a new secret of more than 32 bytes: pqP82jdn";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn login(manager: &SessionManager, owner: &str) -> Browser {
    let mut browser = Browser::new();
    browser.request(manager, |session| session.login(owner)).await.unwrap();
    browser
}

async fn listed(manager: &SessionManager, owner: &str) -> usize {
    manager.sessions_of(owner).await.unwrap().len()
}

#[tokio::test]
async fn an_interrupted_revoke_all_is_resumed() {
    // Its writes: the marks, then one tombstone for each of three sessions, then the marks are
    // cleared.
    for fails in 0..5 {
        for kind in [ErrorKind::Unavailable, ErrorKind::Full] {
            let app = App::new();
            let mut browsers = Vec::new();
            for _ in 0..3 {
                browsers.push(login(&app.manager, "alice").await);
            }
            app.store.on("update", fails, Fault::Fail(kind));
            let revoked = app.manager.revoke_all("alice").await;
            if kind == ErrorKind::Full && (1..4).contains(&fails) {
                assert_eq!(revoked.unwrap(), 3, "an engine that takes no tombstone deletes");
                assert_eq!(app.store.sessions(), 0);
                continue;
            }
            assert_eq!(revoked.unwrap_err().kind(), kind);
            if fails > 0 {
                assert_eq!(
                    listed(&app.manager, "alice").await,
                    app.store.sessions(),
                    "what is alive is listed"
                );
                // A session that is marked and not ended yet cannot rotate. Who logs in on it gets
                // another one.
                let (lazy, session) = browsers[2].start(&app.manager).await;
                if !session.is_new() {
                    session.rotate().unwrap();
                    let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
                    assert_eq!(headers.set_cookie(), None, "{fails}");
                    browsers[2]
                        .request(&app.manager, |session| session.login("alice"))
                        .await
                        .unwrap();
                    assert_eq!(
                        listed(&app.manager, "alice").await,
                        app.store.sessions(),
                        "{fails}"
                    );
                    app.manager.revoke_all("alice").await.unwrap();
                    assert_eq!(app.store.sessions(), 0);
                    continue;
                }
            }
            let (by_anyone, left) = (app.other_process(), app.store.sessions());
            assert_eq!(by_anyone.revoke_all("alice").await.unwrap(), left, "{fails}");
            assert_eq!(app.store.sessions(), 0);
            assert_eq!(by_anyone.revoke_all("alice").await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn a_login_that_failed_half_way_leaves_nothing_alive_and_unlisted() {
    for (operation, nth) in [("load", 0), ("create", 0), ("create", 1)] {
        for fault in [
            Fault::Fail(ErrorKind::Unavailable),
            Fault::Fail(ErrorKind::Ambiguous),
            Fault::LoseAnswer,
        ] {
            let app = App::new();
            let (lazy, session) = Browser::new().start(&app.manager).await;
            session.login("alice").unwrap();
            app.store.on(operation, nth, fault);
            let done = app.manager.finish(&lazy, 200).await.into_result();
            app.store.repair();
            let alive = app.store.sessions();
            assert!(alive <= 1);
            assert!(done.is_ok() || operation == "load" || alive == 0, "{operation} {nth}");
            app.manager.revoke_all("alice").await.unwrap();
            if done.is_ok() {
                assert_eq!(alive, 1, "{operation} {nth}");
                assert_eq!(app.store.sessions(), 0, "{operation} {nth}");
            }
        }
    }
}

#[tokio::test]
async fn indexes_made_under_an_old_secret_are_found_and_rewritten() {
    let app = App::new();
    let under =
        |secrets: &str| app.process_with(|rules| rules.secrets(Secrets::parse(secrets).unwrap()));
    let old = under(OLD);
    let (mut first, second) = (login(&old, "alice").await, login(&old, "bob").await);
    let both = under(&format!("{NEW},{OLD}"));
    assert_eq!(listed(&both, "alice").await, 1);
    let third = login(&both, "alice").await;
    let new = under(NEW);
    assert_eq!((listed(&new, "alice").await, listed(&both, "alice").await), (1, 2));
    app.clock.advance(3 * DAY);
    first.request(&both, |session| assert!(!session.is_new())).await;
    assert_eq!(listed(&new, "alice").await, 2, "a refresh adds it under the new secret");
    assert_eq!(
        (listed(&old, "alice").await, listed(&both, "alice").await),
        (1, 2),
        "and leaves it where it was"
    );
    assert_eq!(listed(&new, "bob").await, 0);
    assert_eq!(both.revoke_all("alice").await.unwrap(), 2);
    assert!(
        !first.is_live(&both).await && !third.is_live(&both).await && second.is_live(&both).await
    );
    assert_eq!(both.revoke_all("bob").await.unwrap(), 1);
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test]
async fn an_index_that_expired_and_was_not_swept_is_in_nobodys_way() {
    let app = App::new();
    app.store.keep_expired();
    login(&app.manager, "alice").await;
    app.clock.advance(20 * DAY);
    assert_eq!(listed(&app.manager, "alice").await, 0);
    let back = login(&app.manager, "alice").await;
    assert!(back.is_live(&app.manager).await);
    assert_eq!(listed(&app.manager, "alice").await, 1);
    app.clock.advance(20 * DAY);
    assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 0);
}
