//! What an observer is told: each event once, by fingerprint and owner, and nothing secret.

#![allow(clippy::unwrap_used, clippy::let_underscore_must_use, reason = "tests")]

mod support;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mocha_session_core::observe::{Event, Observer};
use mocha_session_core::{ErrorKind, RequestInfo, SessionManager, Storage, WhenFull};
use support::{App, Browser, Fault, logged_in};

/// Writes down every event, as a log would.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Observer for Log {
    fn observe(&self, event: &Event<'_>) {
        let mut line = format!("{event:?}");
        // The kind first, so that a test can name it.
        if let Event::Rotated { session, from, .. } = event {
            assert_ne!(session.fingerprint(), Some(*from));
        }
        if let Event::StoreCall { error: Some(error), .. } = event {
            write!(line, " {error}").unwrap();
        }
        self.0.lock().unwrap().push(line);
    }
}

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// The kinds of what happened since the last look, without store calls.
    fn kinds(&self) -> Vec<String> {
        let kind = |line: &String| line.split([' ', '{']).next().unwrap().to_owned();
        self.take().iter().map(kind).filter(|kind| kind != "StoreCall").collect()
    }
}

fn app() -> (App, Log) {
    let log = Log::default();
    let app = App::with(|builder| builder.observer(log.clone()).idle_timeout(HOUR));
    (app, log)
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn each_step_of_a_sessions_life_is_told_once() {
    let (app, log) = app();
    let mut browser = Browser::new();
    browser.request(&app.manager, |_| ()).await;
    assert!(log.take().is_empty(), "nothing is asked for a request without a cookie");
    browser.request(&app.manager, |session| session.insert("n", 1)).await.unwrap();
    assert_eq!(log.kinds(), ["Created"]);
    browser.request(&app.manager, |session| session.insert("n", 2)).await.unwrap();
    assert_eq!(log.kinds(), ["Loaded", "Committed"]);
    browser.request(&app.manager, |_| ()).await;
    assert_eq!(log.kinds(), ["Loaded"]);
    app.clock.advance(HOUR / 2);
    browser.request(&app.manager, |_| ()).await;
    assert_eq!(log.kinds(), ["Loaded", "Refreshed"]);
    let old = browser.clone();
    browser.request(&app.manager, mocha_session_core::Session::rotate).await.unwrap();
    assert_eq!(log.kinds(), ["Loaded", "Rotated"]);
    old.start(&app.manager).await;
    assert!(log.take().iter().any(|line| line.contains("outcome: Superseded")));
    browser.request(&app.manager, |session| session.login("alice")).await.unwrap();
    assert_eq!(log.kinds(), ["Loaded", "Rotated", "LoggedIn"]);
    browser.request(&app.manager, mocha_session_core::Session::destroy).await.unwrap();
    let lines = log.take();
    assert!(lines.iter().any(|line| line.contains("how: Destroyed")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("owner: Some(\"alice\")")), "{lines:?}");
    let mut emptied = Browser::new();
    emptied.request(&app.manager, |session| session.insert("n", 1)).await.unwrap();
    emptied.request(&app.manager, |session| session.remove("n")).await.unwrap();
    assert!(log.take().iter().any(|line| line.contains("how: Emptied")));
}

#[tokio::test]
async fn what_is_not_found_says_why() {
    let (app, log) = app();
    let browser = logged_in(&app.manager, "alice").await;
    assert_eq!(log.kinds(), ["Created", "LoggedIn"]);
    app.manager.revoke_all("alice").await.unwrap();
    assert!(log.take().iter().any(|line| line.contains("how: Revoked")));
    browser.start(&app.manager).await;
    assert!(log.take().iter().any(|line| line.contains("outcome: Absent")));
    let browser = logged_in(&app.manager, "bob").await;
    // The engine of this test removes what has expired, so the time is over by a stricter rule.
    let strict = app.process_with(|builder| {
        builder.observer(log.clone()).idle_timeout(HOUR / 4).refresh_interval(HOUR / 8)
    });
    app.clock.advance(HOUR / 2);
    log.take();
    browser.start(&strict).await;
    assert!(log.take().iter().any(|line| line.contains("outcome: Expired")));
}

#[tokio::test]
async fn a_login_that_needs_room_tells_whose_session_ended() {
    let log = Log::default();
    let app = App::with(|builder| {
        builder.observer(log.clone()).max_sessions_per_owner(1, WhenFull::RevokeOldest)
    });
    logged_in(&app.manager, "alice").await;
    logged_in(&app.manager, "alice").await;
    assert!(log.take().iter().any(|line| line.contains("how: MadeRoom")));
}

#[tokio::test]
async fn conflicts_dropped_changes_and_failures_are_told() {
    let (app, log) = app();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("n", 1)).await.unwrap();
    let other = app.other_process();
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("m", 1).unwrap();
    browser.clone().request(&other, |session| session.insert("n", 2)).await.unwrap();
    log.take();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(log.kinds(), ["Conflicted", "Committed"]);

    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("m", 2).unwrap();
    browser.clone().request(&other, mocha_session_core::Session::destroy).await.unwrap();
    log.take();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(log.kinds(), ["Dropped"]);

    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("n", 1)).await.unwrap();
    app.store.on("load", 0, Fault::Fail(ErrorKind::Unavailable));
    log.take();
    browser.open(&app.manager).load().await.unwrap_err();
    assert_eq!(log.kinds(), ["Failed"]);
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("n", 3).unwrap();
    app.store.on("update", 0, Fault::Fail(ErrorKind::Full));
    app.manager.finish(&lazy, 200).await.into_result().unwrap_err();
    let lines = log.take();
    assert!(lines.iter().any(|line| line.starts_with("Failed { during: \"commit\"")), "{lines:?}");
    let call = lines.iter().find(|line| line.contains("operation: \"update\"")).unwrap();
    assert!(call.contains("Full") || call.contains("full"), "{call}");
}

#[tokio::test]
async fn client_side_sessions_are_told_without_a_name() {
    let log = Log::default();
    let manager = SessionManager::builder(
        Storage::client_side().with_secrets(mocha_session_core::Secrets::generate().unwrap()),
    )
    .observer(log.clone())
    .build()
    .unwrap();
    let mut browser = Browser::new();
    browser.request(&manager, |session| session.insert("n", 1)).await.unwrap();
    browser.request(&manager, |session| session.insert("n", 2)).await.unwrap();
    let lines = log.take();
    assert!(lines.iter().all(|line| line.contains("fingerprint: None")), "{lines:?}");
    let kinds: Vec<_> = lines.iter().filter_map(|line| line.split(" {").next()).collect();
    assert_eq!(kinds, ["Created", "Loaded", "Committed"]);
}

#[tokio::test]
async fn no_event_holds_an_id_a_secret_or_a_payload() {
    const SECRET: &str = "mQ0aVZ2kqf8d1n5p9rJt3uXwB7yCzE4G";
    let log = Log::default();
    let app = App::with(|builder| {
        builder
            .observer(log.clone())
            .secrets(mocha_session_core::Secrets::parse(SECRET).unwrap())
            .max_sessions_per_owner(1, WhenFull::RevokeOldest)
    });
    let mut ids = Vec::new();
    for fault in [None, Some(ErrorKind::Unavailable), Some(ErrorKind::Full)] {
        let mut browser = Browser::new();
        browser
            .request(&app.manager, |session| session.insert("pin", "payload-4711"))
            .await
            .unwrap();
        ids.push(browser.header());
        browser.request(&app.manager, |session| session.login("alice")).await.unwrap();
        ids.push(browser.header());
        if let Some(kind) = fault {
            app.store.fail("update", 3, kind);
        }
        for end in [mocha_session_core::Session::rotate, mocha_session_core::Session::destroy] {
            let lazy = app.manager.open(RequestInfo::new(browser.header()));
            let session = lazy.load().await.unwrap();
            let _ = session.flash().info("payload-4712");
            let _ = end(&session);
            let _ = app.manager.finish(&lazy, 200).await.into_result().map(|h| browser.take(&h));
            ids.push(browser.header());
        }
        app.store.repair();
    }
    let told = log.take().join("\n");
    assert!(told.len() > 2_000, "{told}");
    for id in ids.iter().filter_map(|header| header.split_once('=')) {
        for part in id.1.split('.').filter(|part| part.len() > 8) {
            assert!(!told.contains(part));
        }
    }
    assert!(!told.contains("payload") && !told.contains(SECRET));
}
