//! Flash that is taken is gone, and flash that nobody reads stands in nobody's way.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use mocha_session_core::{Level, Message};
use support::{App, Browser};

const SECRET: &str = "a secret of more than 32 bytes: kdU2hs8aa";

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.text().to_owned()).collect()
}

async fn waiting(app: &App, browser: &Browser) -> Vec<String> {
    texts(&browser.open(&app.manager).load().await.unwrap().flash().peek())
}

async fn filled(app: &App) -> Browser {
    let mut browser = Browser::new();
    browser
        .request_status(&app.manager, 303, |session| {
            let flash = session.flash();
            flash.info("i").unwrap().error("e").unwrap().set_data(&1).unwrap();
            flash.set_data_for("form", &2).unwrap();
        })
        .await;
    browser
}

#[tokio::test]
async fn what_was_taken_is_gone_after_every_response_that_commits() {
    let app = App::new();
    for status in [200, 204, 205, 302, 303, 307, 404] {
        let mut browser = filled(&app).await;
        browser
            .request_status(&app.manager, status, |session| {
                let flash = session.flash();
                for _ in 0..2 {
                    assert_eq!(texts(&flash.take(Level::Error).unwrap()), ["e"]);
                    assert_eq!(flash.take_data::<u8>().unwrap(), Some(1));
                    assert_eq!(flash.take_data_for::<u8>("form").unwrap(), Some(2));
                }
                flash.keep();
            })
            .await;
        assert_eq!(waiting(&app, &browser).await, ["i"], "{status}");
        let (_, session) = browser.start(&app.manager).await;
        assert_eq!(session.flash().take_data::<u8>().unwrap(), None, "{status}");
        assert_eq!(session.flash().take_data_for::<u8>("form").unwrap(), None, "{status}");
    }
}

#[tokio::test]
async fn what_was_taken_stays_after_a_response_that_does_not_commit() {
    let app = App::new();
    let mut browser = filled(&app).await;
    for status in [408, 500, 503] {
        browser
            .request_status(&app.manager, status, |session| {
                assert_eq!(texts(&session.flash().take(Level::Error).unwrap()), ["e"]);
                assert_eq!(session.flash().take_data::<u8>().unwrap(), Some(1), "{status}");
            })
            .await;
        assert_eq!(waiting(&app, &browser).await, ["i", "e"], "{status}");
    }
}

#[tokio::test]
async fn what_was_taken_and_committed_at_once_is_read_again_in_the_same_request() {
    let app = App::new();
    let mut browser = filled(&app).await;
    let (lazy, session) = browser.start(&app.manager).await;
    let flash = session.flash();
    assert_eq!(flash.take_data::<u8>().unwrap(), Some(1));
    assert_eq!(flash.take(Level::Info).unwrap().len(), 1);
    session.commit().await.unwrap();
    assert_eq!(waiting(&app, &browser).await, ["e"], "before the response");
    assert_eq!(flash.take_data::<u8>().unwrap(), Some(1));
    assert_eq!(texts(&flash.take(Level::Info).unwrap()), ["i"]);
    flash.discard().unwrap();
    assert_eq!(flash.take_data::<u8>().unwrap(), None, "discarded");
    browser.take(&app.manager.finish(&lazy, 500).await.into_result().unwrap());
    assert_eq!(waiting(&app, &browser).await, ["e"], "the discard was not committed");
}

#[tokio::test]
async fn what_is_taken_after_the_response_is_an_error_and_not_handed_out() {
    let app = App::new();
    let browser = filled(&app).await;
    let (lazy, session) = browser.start(&app.manager).await;
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert!(session.flash().take(Level::Info).is_err());
    assert!(session.flash().take_data::<u8>().is_err());
    assert_eq!(waiting(&app, &browser).await, ["i", "e"]);
}

#[tokio::test]
async fn slots_past_the_caps_push_out_the_oldest_and_say_so() {
    let app = App::new();
    let mut browser = filled(&app).await;
    // More than a record may hold, if they all stayed.
    for at in 0..70 {
        let (dropped, _) = browser
            .request_status(&app.manager, 303, |session| {
                let data = "x".repeat(16_340);
                session.flash().set_data_for(&format!("slot {at}"), &data).unwrap().dropped()
            })
            .await;
        assert_eq!(dropped, if at == 0 { 4 } else { 1 }, "{at}");
    }
    let (_, session) = browser.start(&app.manager).await;
    let flash = session.flash();
    assert_eq!(flash.take_data_for::<String>("slot 68").unwrap(), None);
    assert_eq!(flash.take_data_for::<String>("slot 69").unwrap().unwrap().len(), 16_340);
}

#[tokio::test]
async fn messages_and_slots_count_together() {
    let app = App::with(|rules| rules.flash_limits(3, 10_000));
    let mut browser = Browser::new();
    let dropped = browser
        .request(&app.manager, |session| {
            let flash = session.flash();
            flash.set_data_for("a", &1).unwrap().info("m").unwrap().set_data_for("b", &1).unwrap();
            flash.set_data_for("b", &2).unwrap();
            assert_eq!(flash.dropped(), 0, "a slot that is set again is still one");
            flash.set_data_for("c", &3).unwrap().info("n").unwrap();
            flash.dropped()
        })
        .await;
    assert_eq!(dropped, 2, "slot a, then the first message");
    assert_eq!(waiting(&app, &browser).await, ["n"]);
}

#[tokio::test]
async fn client_side_flash_that_nobody_reads_does_not_lock_the_user_out() {
    let (_, manager) = App::client_side(SECRET);
    let mut browser = Browser::new();
    browser.request(&manager, |session| session.insert("kept", "x".repeat(500))).await.unwrap();
    for at in 0..100 {
        browser
            .request_status(&manager, 303, |session| {
                let text = format!("message {at} that nobody will read {}", "x".repeat(60));
                session.flash().info(text).unwrap().set_data(&at).unwrap();
            })
            .await;
    }
    let (lazy, session) = browser.start(&manager).await;
    assert_eq!(session.get::<String>("kept").unwrap().unwrap().len(), 500);
    let shown = texts(&session.flash().messages());
    assert!(shown.len() > 10, "{}", shown.len());
    assert!(shown.last().unwrap().starts_with("message 99 "), "the newest stay");
    assert_eq!(session.flash().take_data::<u8>().unwrap(), Some(99));
    manager.finish(&lazy, 303).await.into_result().unwrap();
    // A value that needs the room gets it.
    let large = "y".repeat(2_000);
    browser.request(&manager, |session| session.insert("large", large)).await.unwrap();
    let (_, session) = browser.start(&manager).await;
    assert!(session.flash().peek().len() < shown.len() && session.contains("large"));
}

#[tokio::test]
async fn client_side_the_message_of_this_request_is_not_dropped_in_silence() {
    let (_, manager) = App::client_side(SECRET);
    let mut browser = Browser::new();
    browser.request(&manager, |session| session.insert("large", "x".repeat(2_900))).await.unwrap();
    let (lazy, session) = browser.start(&manager).await;
    session.flash().info("x".repeat(200)).unwrap();
    assert!(manager.finish(&lazy, 303).await.into_result().unwrap_err().is_too_large());
    assert!(browser.get::<String>(&manager, "large").await.is_some());
}

#[tokio::test]
async fn flash_that_nobody_reads_does_not_fill_a_small_record() {
    let app = App::with(|rules| rules.max_record_bytes(2_000));
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("kept", 1)).await.unwrap();
    let mut dropped = 0;
    for at in 0..60 {
        let (lazy, session) = browser.start(&app.manager).await;
        session.flash().info(format!("message {at} that nobody will read")).unwrap();
        session.commit().await.unwrap();
        dropped += session.flash().dropped();
        browser.take(&app.manager.finish(&lazy, 303).await.into_result().unwrap());
    }
    let waiting = waiting(&app, &browser).await;
    assert!(waiting.len() > 10 && waiting.len() + dropped == 60, "{} and {dropped}", waiting.len());
    assert!(waiting.last().unwrap().starts_with("message 59 "));
    assert_eq!(browser.get::<u8>(&app.manager, "kept").await, Some(1));
    // Another request pushed meanwhile: what is left out is left out of the new base too.
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("large", "x".repeat(1_000)).unwrap();
    browser
        .clone()
        .request(&app.other_process(), |session| session.flash().info("theirs").map(drop))
        .await
        .unwrap();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<String>(&app.manager, "large").await.unwrap().len(), 1_000);
}

#[tokio::test]
async fn flash_is_not_dropped_for_a_value_that_would_not_fit_without_it() {
    let app = App::with(|rules| rules.max_record_bytes(2_000));
    let mut browser = filled(&app).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("large", "x".repeat(3_000)).unwrap();
    assert!(session.commit().await.unwrap_err().is_too_large());
    session.remove("large").unwrap();
    session.insert("small", 1).unwrap();
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert_eq!(waiting(&app, &browser).await, ["i", "e"]);
    assert_eq!(browser.get::<u8>(&app.manager, "small").await, Some(1));
}
