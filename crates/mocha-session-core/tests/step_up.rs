//! Asking again who somebody is, before something sensitive.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use mocha_session_core::{ErrorKind, Session};
use support::{App, Browser, logged_in};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_login_is_fresh_for_a_while_and_confirm_makes_it_fresh_again_under_a_new_id() {
    let app = App::new();
    let mut browser = logged_in(&app.manager, "alice").await;
    let (_, session) = browser.start(&app.manager).await;
    assert!(session.is_fresh(MINUTE));
    let login = session.authenticated_at().unwrap();
    app.clock.advance(5 * MINUTE);
    let (_, session) = browser.start(&app.manager).await;
    assert!(!session.is_fresh(MINUTE) && session.is_fresh(5 * MINUTE));
    let old = browser.clone();
    browser.request(&app.manager, Session::confirm).await.unwrap();
    assert_ne!(browser, old, "a privilege is raised under a new id");
    assert!(!old.is_live(&app.manager).await);
    let (_, session) = browser.start(&app.manager).await;
    assert!(session.is_fresh(MINUTE));
    assert_eq!(session.authenticated_at().unwrap(), login + 5 * MINUTE);
    // The login itself is as old as it was: the absolute timeout does not begin anew.
    assert_eq!(app.manager.sessions_of("alice").await.unwrap()[0].created_at(), login);
}

#[tokio::test]
async fn who_is_not_logged_in_cannot_be_confirmed_and_is_never_fresh() {
    let app = App::new();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("n", 1)).await.unwrap();
    let (_, session) = browser.start(&app.manager).await;
    assert_eq!(session.confirm().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(session.authenticated_at().is_none() && !session.is_fresh(100 * MINUTE));
}

#[tokio::test]
async fn a_confirmation_ends_with_the_login_it_belongs_to() {
    let app = App::new();
    let mut browser = logged_in(&app.manager, "alice").await;
    app.clock.advance(5 * MINUTE);
    browser.request(&app.manager, Session::confirm).await.unwrap();
    app.clock.advance(5 * MINUTE);
    browser.request(&app.manager, |session| session.login("bob")).await.unwrap();
    app.clock.advance(2 * MINUTE);
    let (_, session) = browser.start(&app.manager).await;
    assert!(session.is_fresh(2 * MINUTE) && !session.is_fresh(MINUTE), "bob's login counts");
}

#[tokio::test]
async fn two_confirmations_at_once_keep_the_later_one() {
    let app = App::new();
    let mut browser = logged_in(&app.manager, "alice").await;
    app.clock.advance(5 * MINUTE);
    let (late, session) = browser.start(&app.manager).await;
    session.confirm().unwrap();
    app.clock.advance(MINUTE);
    browser.request(&app.manager, Session::confirm).await.unwrap();
    // It lost the rotation: the session has its newer id already.
    app.manager.finish(&late, 200).await.into_result().unwrap();
    let (_, session) = browser.start(&app.manager).await;
    assert!(session.is_fresh(Duration::ZERO));
}
