//! What a request may still do after a commit whose answer was lost: log out, reload, log in,
//! answer 5xx.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use mocha_session_core::{ErrorKind, LazySession, Session};
use support::{App, Browser, Fault, listed, logged_in};

fn count(session: &Session) -> u32 {
    session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap()
}

/// A request of a user who is logged in, with a commit that was done and whose answer was lost.
async fn in_doubt(app: &App, change: impl FnOnce(&Session)) -> (Browser, LazySession, Session) {
    let browser = logged_in(&app.manager, "alice").await;
    let (lazy, session) = browser.start(&app.manager).await;
    change(&session);
    (browser, lazy, session)
}

/// Commits, and loses the answer of the `nth` call of this operation; `asks` calls are in front of
/// the question.
async fn lose(app: &App, session: &Session, operation: &'static str, nth: usize, asks: usize) {
    app.store.on(operation, nth, Fault::LoseAnswer);
    app.store.on("load", asks, Fault::Fail(ErrorKind::Timeout));
    assert!(session.commit().await.unwrap_err().is_ambiguous());
    app.store.repair();
}

#[tokio::test]
async fn a_logout_after_a_lost_answer_ends_what_may_have_been_written() {
    type Before = (&'static str, fn(&Session), usize, usize);
    let before: [Before; 3] = [
        ("write", |session| assert!(count(session) > 0), 0, 0),
        ("rotation", |session| session.rotate().unwrap(), 1, 1),
        ("login", |session| session.login("alice").unwrap(), 1, 1),
    ];
    for (name, change, nth, asks) in before {
        let app = App::new();
        let (mut browser, lazy, session) = in_doubt(&app, change).await;
        lose(&app, &session, "update", nth, asks).await;
        session.destroy().unwrap();
        assert!(session.is_empty() && session.owner().is_none());
        browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
        assert_eq!((&browser.cookie, app.store.sessions()), (&None, 0), "{name}");
        assert_eq!(listed(&app.manager, "alice").await, 0, "{name}");
    }
}

#[tokio::test]
async fn a_logout_after_the_lost_answer_of_a_sessions_first_commit_leaves_none() {
    for owner in [false, true] {
        let app = App::new();
        let (lazy, session) = Browser::new().start(&app.manager).await;
        if owner {
            session.login("alice").unwrap();
        }
        count(&session);
        lose(&app, &session, "create", 0, usize::from(owner)).await;
        assert_eq!(app.store.sessions(), 1);
        session.destroy().unwrap();
        let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
        assert!(headers.set_cookie().is_none_or(|line| line.contains("Max-Age=0")), "{owner}");
        assert_eq!((app.store.sessions(), listed(&app.manager, "alice").await), (0, 0), "{owner}");
    }
}

#[tokio::test]
async fn a_reload_after_a_lost_answer_finds_what_was_written_and_does_not_apply_it_again() {
    for done in [false, true] {
        let app = App::new();
        let (browser, lazy, session) = in_doubt(&app, |session| assert!(count(session) > 0)).await;
        if done {
            lose(&app, &session, "update", 0, 0).await;
        } else {
            app.store.on("update", 0, Fault::Fail(ErrorKind::Ambiguous));
            app.store.on("load", 0, Fault::Fail(ErrorKind::Timeout));
            assert!(session.commit().await.unwrap_err().is_ambiguous());
        }
        browser.clone().request(&app.other_process(), |other| assert!(count(other) > 0)).await;
        session.reload().await.unwrap();
        assert_eq!(session.get::<u32>("n").unwrap(), Some(2), "{done}");
        assert_eq!(count(&session), 3, "{done}");
        app.manager.finish(&lazy, 200).await.into_result().unwrap();
        assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(3), "{done}");
    }
}

#[tokio::test]
async fn a_rotation_or_login_after_the_lost_answer_of_a_write_applies_the_write_once() {
    for login in [false, true] {
        let app = App::new();
        let (mut browser, lazy, session) =
            in_doubt(&app, |session| assert!(count(session) > 0)).await;
        let old = browser.clone();
        lose(&app, &session, "update", 0, 0).await;
        count(&session);
        if login {
            session.login("alice").unwrap();
        } else {
            session.rotate().unwrap();
        }
        browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
        assert!(browser != old && !old.is_live(&app.manager).await, "{login}");
        assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(2), "{login}");
        assert_eq!((app.store.sessions(), listed(&app.manager, "alice").await), (1, 1), "{login}");
    }
}

#[tokio::test]
async fn what_was_revoked_after_a_lost_answer_is_not_written_to_again() {
    let app = App::new();
    let (_browser, lazy, session) = in_doubt(&app, |session| assert!(count(session) > 0)).await;
    lose(&app, &session, "update", 0, 0).await;
    app.manager.revoke_all("alice").await.unwrap();
    count(&session);
    let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!((headers.set_cookie(), app.store.sessions()), (None, 0));
}

#[tokio::test]
async fn a_5xx_after_a_lost_answer_commits_nothing_more() {
    let app = App::new();
    let (browser, lazy, session) = in_doubt(&app, |session| assert!(count(session) > 0)).await;
    lose(&app, &session, "update", 0, 0).await;
    count(&session);
    app.store.reset_calls();
    app.manager.finish(&lazy, 500).await.into_result().unwrap();
    assert_eq!(app.store.calls().writes(), 0);
    assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1));
}

#[tokio::test]
async fn what_is_changed_after_the_lost_answer_of_a_first_commit_is_in_the_same_session() {
    let app = App::new();
    let mut browser = Browser::new();
    let (lazy, session) = browser.start(&app.manager).await;
    count(&session);
    lose(&app, &session, "create", 0, 0).await;
    count(&session);
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(2));
    assert_eq!(app.store.sessions(), 1);
}
