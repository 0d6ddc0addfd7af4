//! Told is not moved: the cookie slides with the record, whatever responses carried no line in
//! between.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::{Duration, SystemTime};

use mocha_session_core::{Clock, CookiePolicy, ErrorKind, HeaderChanges, Session};
use support::{App, Browser, Calls, Fault, max_age};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A browser that drops its cookie when the line's time is over.
struct Clocked {
    browser: Browser,
    drops_at: SystemTime,
}

impl Clocked {
    async fn new(app: &App) -> Self {
        let mut it = Self { browser: Browser::new(), drops_at: app.clock.now() };
        let ((), headers) = it
            .browser
            .request_status(&app.manager, 200, |session| session.insert("a", 1).unwrap())
            .await;
        it.heard(app, &headers);
        it
    }

    fn heard(&mut self, app: &App, headers: &HeaderChanges) {
        if let Some(line) = headers.set_cookie() {
            self.drops_at = app.clock.now() + Duration::from_secs(max_age(line).unwrap());
        }
    }

    /// A page that reads its session. What the store was asked for, and whether it sent a line.
    async fn read(&mut self, app: &App, status: u16) -> (Calls, bool) {
        assert!(self.drops_at > app.clock.now(), "the browser has dropped its cookie");
        app.store.reset_calls();
        let (there, headers) = self
            .browser
            .request_status(&app.manager, status, |session| session.contains("a"))
            .await;
        assert!(there, "the session is over");
        self.heard(app, &headers);
        (app.store.calls(), headers.set_cookie().is_some())
    }

    async fn record_ends(&self, app: &App) -> SystemTime {
        self.browser.open(&app.manager).load().await.unwrap().expires_at()
    }
}

fn app() -> App {
    App::with(|rules| rules.idle_timeout(HOUR))
}

#[tokio::test]
async fn a_304_every_minute_and_a_page_every_seven_keep_the_cookie_as_long_as_the_record() {
    let app = app();
    let mut visitor = Clocked::new(&app).await;
    let mut writes = 0;
    for minute in 1..=4 * 60 {
        app.clock.advance(MINUTE);
        writes += visitor.read(&app, if minute % 7 == 0 { 200 } else { 304 }).await.0.writes();
        if minute % 7 == 0 {
            assert_eq!(visitor.drops_at, visitor.record_ends(&app).await, "minute {minute}");
        }
    }
    assert!((35..=45).contains(&writes), "a write for each refresh and none more: {writes}");
}

#[tokio::test]
async fn a_detached_commit_and_a_detached_touch_are_told_by_the_next_page_without_a_write() {
    for touch in [false, true] {
        let app = app();
        let mut visitor = Clocked::new(&app).await;
        let (lazy, session) = visitor.browser.start(&app.manager).await;
        let detached = session.detached();
        app.manager.finish(&lazy, 200).await.into_result().unwrap();
        for _ in 0..3 {
            app.clock.advance(30 * MINUTE);
            if touch {
                assert!(detached.touch().await.unwrap());
            } else {
                let session = detached.load().await.unwrap().unwrap();
                session.update("seen", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap();
                session.commit().await.unwrap();
            }
            let (calls, told) = visitor.read(&app, 200).await;
            assert!(told, "touch: {touch}");
            assert_eq!(calls.writes(), 0, "touch: {touch}");
            assert_eq!(visitor.drops_at, visitor.record_ends(&app).await, "touch: {touch}");
        }
    }
}

#[tokio::test]
async fn what_was_moved_in_silence_is_told_until_a_write_that_is_due_anyway_notes_it() {
    let app = app();
    let mut visitor = Clocked::new(&app).await;
    app.clock.advance(10 * MINUTE);
    let (calls, told) = visitor.read(&app, 304).await;
    assert_eq!((calls.update, told), (1, false));
    let (calls, told) = visitor.read(&app, 200).await;
    assert_eq!((calls.update, told), (0, true));
    // A response that cannot carry the line, or that failed, says nothing of it.
    for status in [304, 500] {
        assert!(!visitor.read(&app, status).await.1, "{status}");
    }
    app.clock.advance(10 * MINUTE);
    assert_eq!(visitor.read(&app, 200).await.0.update, 1);
    let (calls, told) = visitor.read(&app, 200).await;
    assert_eq!((calls.update, told), (0, false), "nothing is left to tell");
}

#[tokio::test]
async fn a_refresh_whose_answer_or_response_was_lost_is_told_by_the_next_page() {
    let app = app();
    let mut visitor = Clocked::new(&app).await;
    app.clock.advance(10 * MINUTE);
    // Done, but the process believes that it was not.
    app.store.on("update", 0, Fault::LoseAnswer);
    app.store.on("load", 1, Fault::Fail(ErrorKind::Timeout));
    assert!(!visitor.read(&app, 200).await.1);
    app.clock.advance(10 * MINUTE);
    assert!(visitor.read(&app, 200).await.1);
    assert_eq!(visitor.drops_at, visitor.record_ends(&app).await);
}

#[tokio::test]
async fn an_explicit_commit_is_told_with_its_response_whatever_its_status() {
    let app = app();
    let mut visitor = Clocked::new(&app).await;
    for status in [200, 304, 500] {
        app.clock.advance(10 * MINUTE);
        let (lazy, session) = visitor.browser.start(&app.manager).await;
        session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap();
        session.commit().await.unwrap();
        let headers = app.manager.finish(&lazy, status).await.into_result().unwrap();
        visitor.heard(&app, &headers);
        assert_eq!(visitor.drops_at, visitor.record_ends(&app).await, "{status}");
    }
}

#[tokio::test]
async fn a_cookie_that_ends_with_the_browser_is_told_once() {
    let app =
        App::with(|rules| rules.idle_timeout(HOUR).cookie(CookiePolicy::new().persistent(false)));
    let mut browser = Browser::new();
    let begin = |session: &Session| session.insert("a", 1).unwrap();
    let ((), headers) = browser.request_status(&app.manager, 200, begin).await;
    assert_eq!(max_age(headers.set_cookie().unwrap()), None);
    for status in [304, 200, 304, 200] {
        app.clock.advance(30 * MINUTE);
        let (_, headers) =
            browser.request_status(&app.manager, status, |session| session.contains("a")).await;
        assert_eq!(headers.set_cookie(), None, "it has no time that could slide");
    }
    assert!(browser.is_live(&app.manager).await);
}
