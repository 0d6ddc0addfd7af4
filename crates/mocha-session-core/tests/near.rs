//! Reads from this process' memory: how old they may be, and that nothing else is weaker.

#![allow(clippy::unwrap_used, reason = "tests: a handler is a closure")]

mod support;

use std::time::Duration;

use mocha_session_core::store::{Capabilities, Durability};
use mocha_session_core::{
    Driver, ErrorKind, NearPolicy, Registry, Requirement, SessionManager, Storage, StoreUrl,
};
use support::{App, Browser, Fault, listed, logged_in};
use tokio::time::advance;

const NEAR: Duration = Duration::from_secs(2);

/// A process that reads from its memory.
fn near(app: &App) -> SessionManager {
    let storage = Storage::from(app.store.clone()).near(NearPolicy::within(NEAR));
    SessionManager::builder(storage).clock(app.clock.clone()).build().unwrap()
}

async fn with_value(manager: &SessionManager) -> Browser {
    let mut browser = Browser::new();
    browser.request(manager, |session| session.insert("count", 1)).await.unwrap();
    browser
}

#[tokio::test(start_paused = true)]
async fn what_was_read_or_written_a_moment_ago_costs_no_call() {
    let app = App::new();
    let (writer, reader) = (near(&app), near(&app));
    let browser = with_value(&writer).await;
    app.store.reset_calls();
    assert_eq!(browser.get(&writer, "count").await, Some(1));
    assert_eq!(app.store.calls().all(), 0, "the process that wrote it");
    for _ in 0..3 {
        assert_eq!(browser.get(&reader, "count").await, Some(1));
    }
    assert_eq!((app.store.calls().load, app.store.calls().all()), (1, 1), "another process");
    advance(NEAR).await;
    assert_eq!(browser.get(&reader, "count").await, Some(1));
    assert_eq!(app.store.calls().load, 2, "the engine is asked again");
}

#[tokio::test(start_paused = true)]
async fn a_change_elsewhere_is_seen_in_time_and_no_change_over_an_old_read_is_lost() {
    let app = App::new();
    let (one, two) = (near(&app), near(&app));
    let mut browser = with_value(&one).await;
    assert_eq!(browser.get(&two, "count").await, Some(1));
    browser
        .request(&one, |session| session.update("count", |n: Option<i32>| n.unwrap_or(0) + 10))
        .await
        .unwrap();
    // The old read may be shown, and is the base of the next change.
    assert_eq!(browser.get(&two, "count").await, Some(1));
    browser
        .request(&two, |session| session.update("count", |n: Option<i32>| n.unwrap_or(0) + 100))
        .await
        .unwrap();
    assert_eq!(browser.get(&two, "count").await, Some(111), "a request sees what it wrote");
    advance(NEAR).await;
    assert_eq!(browser.get(&one, "count").await, Some(111));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ended_elsewhere_is_shown_for_at_most_that_long_and_never_written() {
    let app = App::new();
    let (one, two) = (near(&app), near(&app));
    let mut browser = logged_in(&one, "ann").await;
    let stolen = browser.clone();
    assert!(stolen.is_live(&two).await);
    browser.request(&one, mocha_session_core::Session::destroy).await.unwrap();
    assert!(!stolen.is_live(&one).await, "the process that ended it knows at once");
    let (lazy, session) = stolen.start(&two).await;
    assert_eq!(session.owner().as_deref(), Some("ann"));
    session.insert("late", true).unwrap();
    assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Gone);
    two.finish(&lazy, 200).await.into_result().unwrap();
    assert!(!stolen.is_live(&two).await, "the refused write has shown it");

    let other = logged_in(&one, "ann").await;
    assert!(other.is_live(&two).await);
    one.revoke_all("ann").await.unwrap();
    assert!(other.is_live(&two).await);
    advance(NEAR).await;
    assert!(!other.is_live(&two).await);
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_over_an_old_read_of_its_own_process_ends_all_sessions() {
    let app = App::new();
    let (one, two) = (near(&app), near(&app));
    let first = logged_in(&one, "ann").await;
    assert_eq!(listed(&two, "ann").await, 1);
    let second = logged_in(&one, "ann").await;
    assert_eq!(listed(&two, "ann").await, 2, "owners' lists are read from the engine each time");
    two.revoke_all("ann").await.unwrap();
    advance(NEAR).await;
    for browser in [first, second] {
        assert!(!browser.is_live(&one).await && !browser.is_live(&two).await);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_the_engine_is_asked() {
    let app = App::new();
    let manager = near(&app);
    let mut browser = with_value(&manager).await;
    app.store.on("update", 0, Fault::LoseAnswer);
    app.store.reset_calls();
    browser.request(&manager, |session| session.insert("count", 2)).await.unwrap();
    assert_eq!((app.store.calls().load, app.store.calls().update), (1, 1), "found, not repeated");
    assert_eq!(browser.get(&manager, "count").await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_a_write_overtook_is_not_kept() {
    let app = App::new();
    let (manager, elsewhere) = (near(&app), app.other_process());
    let mut browser = with_value(&elsewhere).await;
    let mut slow = app.store.pause_after("load", 0);
    let reading = tokio::spawn({
        let (browser, manager) = (browser.clone(), manager.clone());
        async move { browser.get::<i32>(&manager, "count").await }
    });
    slow.arrived().await;
    browser.request(&manager, |session| session.insert("count", 2)).await.unwrap();
    slow.release();
    assert_eq!(reading.await.unwrap(), Some(1), "as it was when it was read");
    assert_eq!(browser.get(&manager, "count").await, Some(2));
}

#[tokio::test]
async fn a_requirement_of_final_logouts_is_refused_and_so_is_a_client_side_session() {
    let app = App::new();
    let storage = || Storage::from(app.store.clone()).near(NearPolicy::within(NEAR));
    let builder = SessionManager::builder(storage()).require(Requirement::FinalLogout);
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("FinalLogout") && error.contains("reads at most 2s old"), "{error}");
    let least = Requirement::Durability(Durability::Process);
    assert!(SessionManager::builder(storage()).require(least).build().is_ok());
    assert_eq!(near(&app).capabilities().reads_within(), Some(NEAR));
    assert_eq!(app.manager.capabilities().reads_within(), None);
    let client = Storage::client_side().near(NearPolicy::within(NEAR));
    let error = SessionManager::new(client).unwrap_err();
    assert!(error.is_invalid_config() && error.to_string().contains("`near`"), "{error}");
}

#[tokio::test]
async fn a_url_has_it_as_an_option_on_every_engine() {
    const DRIVER: Driver = Driver::new(&["scripted"], |_| {
        let store = support::ScriptedStore::new(&mocha_session_core::ManualClock::new());
        store.set_capabilities(Capabilities::new("scripted"));
        Ok(Box::pin(async { Ok(std::sync::Arc::new(store) as _) }))
    });
    let registry = Registry::new().register(DRIVER);
    let open = async |url: &str| registry.open_url(StoreUrl::parse(url)?).await;
    let opened = open("scripted://host?near=1500ms&timeout=3s").await.unwrap();
    assert_eq!(opened.capabilities().reads_within(), Some(Duration::from_millis(1_500)));
    assert_eq!(open("scripted://host").await.unwrap().capabilities().reads_within(), None);
    for wrong in ["near=0s", "near=soon", "near=-1s"] {
        let error = open(&format!("scripted://host?{wrong}")).await.unwrap_err().to_string();
        assert!(error.contains("`near`"), "{error}");
    }
}
