//! The graceful end of a process: commits whose clients went away are waited for.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use mocha_session_core::{ErrorKind, Session};
use support::{App, Browser, finish_in_background, listed, logged_in};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn without_a_commit_under_way_it_returns_at_once() {
    let app = App::new();
    logged_in(&app.manager, "alice").await;
    app.manager.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_login_and_a_revocation_whose_clients_went_away_are_waited_for() {
    let app = App::new();
    let (lazy, session) = Browser::new().start(&app.manager).await;
    session.login("alice").unwrap();
    let mut paused = app.store.pause("create", 1);
    let request = finish_in_background(&app.manager, lazy);
    paused.arrived().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    let late = app.manager.shutdown(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    assert!(late.to_string().contains("shutdown: 1 commits were still waiting"), "{late}");
    let manager = app.manager.clone();
    let ending = tokio::spawn(async move { manager.shutdown(LONG).await });
    tokio::task::yield_now().await;
    assert!(!ending.is_finished());
    paused.release();
    ending.await.unwrap().unwrap();
    assert_eq!((app.store.sessions(), listed(&app.manager, "alice").await), (1, 1));

    let mut paused = app.store.pause("update", 0);
    let manager = app.manager.clone();
    let revoking = tokio::spawn(async move { manager.revoke_all("alice").await });
    paused.arrived().await;
    revoking.abort();
    paused.release();
    app.manager.shutdown(LONG).await.unwrap();
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test]
async fn a_manager_works_on_after_a_shutdown() {
    let app = App::new();
    app.manager.shutdown(LONG).await.unwrap();
    let mut browser = logged_in(&app.manager, "alice").await;
    browser.request(&app.manager, Session::destroy).await.unwrap();
    app.manager.shutdown(LONG).await.unwrap();
}
