//! Claiming flash messages: each goes to exactly one request.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use mocha_session_core::{ErrorKind, Level, Message};
use support::{App, Browser, Fault};

async fn pushed(app: &App, texts: &[&str]) -> Browser {
    let mut browser = Browser::new();
    browser
        .request(&app.manager, |session| {
            session.insert("a", 1).unwrap();
            for text in texts {
                session.flash().info(*text).unwrap();
            }
        })
        .await;
    browser
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.text().to_owned()).collect()
}

async fn waiting(app: &App, browser: &Browser) -> Vec<String> {
    texts(&browser.open(&app.manager).load().await.unwrap().flash().peek())
}

#[tokio::test]
async fn claimed_by_two_requests_at_once_each_message_goes_to_one() {
    let app = App::new();
    let browser = pushed(&app, &["one", "two"]).await;
    let (one, two) = (app.manager.clone(), app.other_process());
    let (first, session_1) = browser.start(&one).await;
    let (second, session_2) = browser.start(&two).await;
    assert_eq!(texts(&session_1.flash().claim().await.unwrap()), ["one", "two"]);
    assert!(waiting(&app, &browser).await.is_empty(), "gone before the response");
    assert!(session_2.flash().claim().await.unwrap().is_empty());
    assert!(session_2.flash().messages().is_empty());
    one.finish(&first, 500).await.into_result().unwrap();
    two.finish(&second, 200).await.into_result().unwrap();
    assert!(waiting(&app, &browser).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_16_tabs_that_claim_at_once_one_gets_each_message() {
    let app = App::new();
    let browser = pushed(&app, &["one", "two", "three"]).await;
    let mut tabs = Vec::new();
    for tab in 0..16 {
        let (browser, manager) =
            (browser.clone(), if tab % 2 == 0 { app.manager.clone() } else { app.other_process() });
        tabs.push(tokio::spawn(async move {
            let (lazy, session) = browser.start(&manager).await;
            let got = texts(&session.flash().claim().await.unwrap());
            manager.finish(&lazy, 200).await.into_result().unwrap();
            got
        }));
    }
    let mut got = Vec::new();
    for tab in tabs {
        got.extend(tab.await.unwrap());
    }
    got.sort();
    assert_eq!(got, ["one", "three", "two"]);
}

#[tokio::test]
async fn who_claimed_reads_and_claims_the_same_again() {
    let app = App::new();
    let browser = pushed(&app, &["one"]).await;
    let (lazy, session) = browser.start(&app.manager).await;
    let flash = session.flash();
    flash.now(Level::Info, "now");
    for _ in 0..2 {
        assert_eq!(texts(&flash.claim().await.unwrap()), ["one", "now"]);
        assert_eq!(texts(&flash.messages()), ["one", "now"]);
    }
    flash.info("later").unwrap();
    assert_eq!(texts(&flash.claim().await.unwrap()), ["one", "now"]);
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(waiting(&app, &browser).await, ["later"]);
}

#[tokio::test]
async fn a_claim_that_failed_consumes_nothing() {
    let app = App::new();
    let browser = pushed(&app, &["one"]).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("b", 2).unwrap();
    app.store.on("update", 0, Fault::Fail(ErrorKind::Unavailable));
    assert!(session.flash().claim().await.unwrap_err().is_unavailable());
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u8>(&app.manager, "b").await, Some(2));
    assert_eq!(waiting(&app, &browser).await, ["one"], "nobody has seen it");
}

#[tokio::test]
async fn nothing_to_claim_costs_no_write() {
    let app = App::new();
    let browser = pushed(&app, &[]).await;
    app.store.reset_calls();
    let (lazy, session) = browser.start(&app.manager).await;
    assert!(session.flash().claim().await.unwrap().is_empty());
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!((app.store.calls().load, app.store.calls().all()), (1, 1));
}

#[tokio::test]
async fn nothing_can_be_claimed_from_a_cookie() {
    let (_, manager) = App::client_side("a secret of more than 32 bytes: kdU2hs8Qwx");
    let (_lazy, session) = Browser::new().start(&manager).await;
    assert!(session.flash().claim().await.unwrap_err().is_unsupported());
}
