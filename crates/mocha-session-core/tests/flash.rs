//! Flash: shown by the page that shows it, once, and eaten by nothing else.
// tidy: long because the rules of flash are read together

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use mocha_session_core::{Level, Message, RequestInfo};
use support::{App, Browser};

async fn pushed(app: &App, texts: &[&str]) -> Browser {
    let mut browser = Browser::new();
    browser
        .request_status(&app.manager, 303, |session| {
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

/// What the flash shows in a request that ends like this.
async fn shown(app: &App, browser: &mut Browser, status: u16) -> Vec<String> {
    browser
        .request_status(&app.manager, status, |session| texts(&session.flash().messages()))
        .await
        .0
}

/// What waits, without consuming it.
async fn waiting(app: &App, browser: &Browser) -> Vec<String> {
    texts(&browser.open(&app.manager).load().await.unwrap().flash().peek())
}

#[tokio::test]
async fn post_redirect_get_shows_the_message_once() {
    let app = App::new();
    let mut browser = pushed(&app, &["saved"]).await;
    assert_eq!(shown(&app, &mut browser, 200).await, ["saved"]);
    assert_eq!(browser.cookie, None, "nothing else was in the session");
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("a", 1)).await.unwrap();
    browser
        .request_status(&app.manager, 302, |session| session.flash().error("no").map(drop))
        .await
        .0
        .unwrap();
    assert_eq!(shown(&app, &mut browser, 200).await, ["no"]);
    assert_eq!(shown(&app, &mut browser, 200).await, Vec::<String>::new());
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
}

#[tokio::test]
async fn through_three_redirects_that_read_it_the_message_stays() {
    let app = App::new();
    let mut browser = pushed(&app, &["saved"]).await;
    for status in [302, 303, 307] {
        assert_eq!(shown(&app, &mut browser, status).await, ["saved"]);
    }
    assert_eq!(shown(&app, &mut browser, 200).await, ["saved"]);
    assert!(waiting(&app, &browser).await.is_empty());
}

#[tokio::test]
async fn read_twice_in_a_request_gives_the_same() {
    let app = App::new();
    let mut browser = pushed(&app, &["a", "b"]).await;
    browser
        .request(&app.manager, |session| {
            for _ in 0..2 {
                assert_eq!(texts(&session.flash().messages()), ["a", "b"]);
                assert_eq!(texts(&session.flash().take(Level::Info).unwrap()), ["a", "b"]);
            }
        })
        .await;
    assert!(waiting(&app, &browser).await.is_empty());
}

#[tokio::test]
async fn of_one_level_taken_the_others_stay() {
    let app = App::new();
    let mut browser = Browser::new();
    browser
        .request(&app.manager, |session| {
            let flash = session.flash();
            flash
                .debug("d")
                .unwrap()
                .info("i")
                .unwrap()
                .success("s")
                .unwrap()
                .warning("w")
                .unwrap()
                .error("e")
                .unwrap();
        })
        .await;
    browser
        .request(&app.manager, |session| {
            assert_eq!(texts(&session.flash().take(Level::Warning).unwrap()), ["w"]);
        })
        .await;
    assert_eq!(waiting(&app, &browser).await, ["d", "i", "s", "e"]);
    let levels: Vec<_> =
        browser.start(&app.manager).await.1.flash().peek().iter().map(Message::level).collect();
    assert_eq!(levels, [Level::Debug, Level::Info, Level::Success, Level::Error]);
}

#[tokio::test]
async fn what_an_error_an_empty_or_a_cached_response_read_stays() {
    let app = App::new();
    let mut browser = pushed(&app, &["saved"]).await;
    for status in [100, 103, 500, 502, 503, 204, 205, 304, 301, 308, 408] {
        assert_eq!(shown(&app, &mut browser, status).await, ["saved"], "{status}");
    }
    let (_panicked, session) = browser.start(&app.manager).await;
    assert_eq!(texts(&session.flash().messages()), ["saved"]);
    for status in [404, 200] {
        let mut browser = pushed(&app, &["saved"]).await;
        assert_eq!(shown(&app, &mut browser, status).await, ["saved"]);
        assert!(waiting(&app, &browser).await.is_empty(), "{status}");
    }
    assert_eq!(waiting(&app, &browser).await, ["saved"]);
}

#[tokio::test]
async fn what_a_head_or_a_prefetch_read_stays() {
    let app = App::new();
    let browser = pushed(&app, &["saved"]).await;
    let info = || RequestInfo::new(browser.header());
    for info in
        [info().head(true), info().purpose(b"prefetch;prerender"), info().purpose(b"prefetch")]
    {
        let lazy = app.manager.open(info);
        assert_eq!(texts(&lazy.load().await.unwrap().flash().messages()), ["saved"]);
        app.manager.finish(&lazy, 200).await.into_result().unwrap();
        assert_eq!(waiting(&app, &browser).await, ["saved"]);
    }
}

#[tokio::test]
async fn assets_and_polling_that_do_not_read_it_leave_it() {
    let app = App::new();
    let mut browser = pushed(&app, &["saved"]).await;
    for _ in 0..5 {
        let asset = browser.open(&app.manager);
        app.manager.finish(&asset, 200).await.into_result().unwrap();
        browser
            .request(&app.manager, |session| {
                session.update("polls", |n: Option<u8>| n.unwrap_or(0) + 1)
            })
            .await
            .unwrap();
        browser.request(&app.manager, |session| session.flash().peek().len()).await;
        browser
            .request(&app.manager, |session| session.flash().take(Level::Error).unwrap().len())
            .await;
    }
    assert_eq!(shown(&app, &mut browser, 200).await, ["saved"]);
}

#[tokio::test]
async fn pushed_after_the_read_is_shown_next_time() {
    let app = App::new();
    let mut browser = pushed(&app, &["first"]).await;
    browser
        .request(&app.manager, |session| {
            let flash = session.flash();
            assert_eq!(texts(&flash.messages()), ["first"]);
            flash.info("second").unwrap();
            assert_eq!(texts(&flash.messages()), ["first"], "not by this request");
        })
        .await;
    assert_eq!(shown(&app, &mut browser, 200).await, ["second"]);
    // Not even when the push was committed before the read.
    let (lazy, session) = browser.start(&app.manager).await;
    session.flash().info("third").unwrap();
    session.commit().await.unwrap();
    assert!(session.flash().messages().is_empty());
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert_eq!(shown(&app, &mut browser, 200).await, ["third"]);
}

#[tokio::test]
async fn pushed_by_another_request_between_read_and_commit_is_kept() {
    let app = App::new();
    let mut browser = pushed(&app, &["first"]).await;
    let (lazy, session) = browser.start(&app.manager).await;
    assert_eq!(texts(&session.flash().messages()), ["first"]);
    browser
        .clone()
        .request(&app.other_process(), |session| session.flash().info("second").map(drop))
        .await
        .unwrap();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(shown(&app, &mut browser, 200).await, ["second"]);
}

#[tokio::test]
async fn now_is_for_this_request_alone() {
    let app = App::new();
    let mut browser = pushed(&app, &["first"]).await;
    browser
        .request(&app.manager, |session| {
            session.flash().now(Level::Error, "now");
            assert_eq!(texts(&session.flash().messages()), ["first", "now"]);
            assert_eq!(texts(&session.flash().take(Level::Error).unwrap()), ["now"]);
        })
        .await;
    assert!(waiting(&app, &browser).await.is_empty());
    app.store.reset_calls();
    Browser::new()
        .request(&app.manager, |session| drop(session.flash().now(Level::Info, "x").messages()))
        .await;
    assert_eq!(app.store.calls().all(), 0, "and makes no session");
}

#[tokio::test]
async fn keep_keeps_all_keep_level_one_and_discard_nothing() {
    let app = App::new();
    let mut browser = Browser::new();
    browser
        .request(&app.manager, |session| {
            session.insert("a", 1).unwrap();
            session.flash().info("i").unwrap().error("e").unwrap().set_data("d").unwrap();
        })
        .await;
    browser
        .request(&app.manager, |session| {
            assert_eq!(session.flash().keep().messages().len(), 2);
            assert_eq!(session.flash().take_data::<String>().unwrap().as_deref(), Some("d"));
        })
        .await;
    assert_eq!(waiting(&app, &browser).await, ["i", "e"]);
    browser
        .request(&app.manager, |session| session.flash().keep_level(Level::Error).messages().len())
        .await;
    assert_eq!(waiting(&app, &browser).await, ["e"]);
    let ((), headers) = browser
        .request_status(&app.manager, 302, |session| {
            session.flash().info("new").unwrap();
            session.flash().now(Level::Info, "now");
            session.flash().discard().unwrap();
            assert!(session.flash().messages().is_empty());
            assert_eq!(session.flash().take_data::<String>().unwrap(), None);
        })
        .await;
    assert_eq!(headers.set_cookie(), None);
    assert!(waiting(&app, &browser).await.is_empty());
}

#[tokio::test]
async fn a_message_survives_login_and_rotation_and_dies_with_destroy_unless_pushed_after_it() {
    let app = App::new();
    let mut browser = pushed(&app, &["welcome"]).await;
    browser.request(&app.manager, |session| session.login("alice")).await.unwrap();
    browser.request(&app.manager, |session| session.rotate()).await.unwrap();
    assert_eq!(waiting(&app, &browser).await, ["welcome"]);
    browser
        .request_status(&app.manager, 303, |session| {
            session.flash().info("lost").unwrap();
            session.destroy().unwrap();
            assert!(session.flash().messages().is_empty());
            session.flash().info("you are logged out").unwrap();
        })
        .await;
    assert_eq!(shown(&app, &mut browser, 200).await, ["you are logged out"]);
    assert_eq!((app.store.sessions(), browser.cookie), (1, None), "what is left is emptied");
    app.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test]
async fn past_a_cap_the_oldest_is_dropped_and_reported() {
    let app = App::with(|rules| rules.flash_limits(3, 500));
    let mut browser = pushed(&app, &["1", "2"]).await;
    let dropped = browser
        .request(&app.manager, |session| {
            session.flash().info("3").unwrap().info("4").unwrap();
            session.flash().dropped()
        })
        .await;
    assert_eq!(
        (dropped, waiting(&app, &browser).await),
        (1, vec!["2".into(), "3".into(), "4".into()])
    );
    let long = "x".repeat(400);
    browser
        .request(&app.manager, |session| session.flash().info(long.clone()).map(drop))
        .await
        .unwrap();
    assert_eq!(waiting(&app, &browser).await, ["3", "4", &long]);
    browser
        .request(&app.manager, |session| {
            let too_long = "x".repeat(501);
            assert!(session.flash().info(too_long.clone()).unwrap_err().is_too_large());
            assert!(session.flash().set_data(&too_long).unwrap_err().is_too_large());
        })
        .await;
    // The cap holds too when requests push at once: the replay counts again.
    let (lazy, session) = browser.start(&app.manager).await;
    session.flash().info("mine").unwrap();
    browser
        .clone()
        .request(&app.other_process(), |session| session.flash().info("theirs").map(drop))
        .await
        .unwrap();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(waiting(&app, &browser).await, [&long, "theirs", "mine"]);
}

#[tokio::test]
async fn below_the_least_level_nothing_is_kept() {
    let app = App::with(|rules| rules.flash_minimum(Level::Success));
    let mut browser = Browser::new();
    let now = browser
        .request(&app.manager, |session| {
            session.flash().debug("d").unwrap().info("i").unwrap().success("s").unwrap();
            texts(&session.flash().now(Level::Info, "n").now(Level::Error, "e").messages())
        })
        .await;
    assert_eq!((now, waiting(&app, &browser).await), (vec!["e".to_owned()], vec!["s".to_owned()]));
}

#[tokio::test]
async fn data_waits_in_slots_and_is_none_where_nothing_was_left() {
    let app = App::new();
    let mut browser = Browser::new();
    browser
        .request_status(&app.manager, 303, |session| {
            assert_eq!(session.flash().take_data::<u8>().unwrap(), None);
            session
                .flash()
                .set_data(&70)
                .unwrap()
                .set_data(&71)
                .unwrap()
                .set_data_for("form", "x")
                .unwrap();
            assert_eq!(session.flash().take_data::<u8>().unwrap(), None, "not by this request");
        })
        .await;
    browser
        .request(&app.manager, |session| {
            assert!(session.flash().take_data::<String>().unwrap_err().is_invalid_input());
            assert_eq!(session.flash().take_data_for::<u8>("other").unwrap(), None);
        })
        .await;
    browser
        .request(&app.manager, |session| {
            for _ in 0..2 {
                assert_eq!(session.flash().take_data::<u8>().unwrap(), Some(71), "it had stayed");
            }
            session.flash().set_data(&72).unwrap();
        })
        .await;
    browser
        .request(&app.manager, |session| {
            assert_eq!(
                session.flash().take_data::<u8>().unwrap(),
                Some(72),
                "left anew, not consumed with the old"
            );
            assert_eq!(
                session.flash().take_data_for::<String>("form").unwrap().as_deref(),
                Some("x")
            );
        })
        .await;
    let (_, session) = browser.start(&app.manager).await;
    assert_eq!(session.flash().take_data::<u8>().unwrap(), None);
}

#[tokio::test]
async fn a_message_comes_back_as_it_was_pushed_markup_tags_and_data() {
    let app = App::new();
    let mut browser = Browser::new();
    let message = Message::new(Level::Warning, "<script>alert('ü')</script>")
        .with_tag("account")
        .with_tag("")
        .with_data(&[1, 2])
        .unwrap();
    browser
        .request(&app.manager, |session| session.flash().push(message.clone()).map(drop))
        .await
        .unwrap();
    let (_, session) = browser.start(&app.manager).await;
    let back = session.flash().messages();
    assert_eq!(back, [message]); // as it is: escaping is the template's
    assert_eq!(back[0].data::<Vec<u8>>().unwrap(), Some(vec![1, 2]));
    assert!(back[0].data::<String>().unwrap_err().is_invalid_input());
}
