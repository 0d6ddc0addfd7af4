//! When the engine fails: an error that says so, never an empty session, never a cookie, nothing
//! lost.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::{Duration, Instant};

use mocha_session_core::{Error, ErrorKind, FailurePolicy, Session, SessionManager};
use support::{App, Browser, Fault, with_values};

type Named<T> = (&'static str, T);
type Damage = fn(&mut Vec<u8>);

const DOWN: [ErrorKind; 5] = [
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Ambiguous,
    ErrorKind::Full,
    ErrorKind::Denied,
];

fn down(app: &App, operations: &[&'static str], calls: usize, kind: ErrorKind) {
    for operation in operations {
        for _ in 0..calls {
            app.store.on(operation, 0, Fault::Fail(kind));
        }
    }
}

async fn failing(
    manager: &SessionManager,
    browser: &Browser,
    change: impl FnOnce(&Session),
) -> Error {
    let (lazy, session) = browser.start(manager).await;
    change(&session);
    let (headers, error) = manager.finish(&lazy, 200).await.into_parts();
    assert_eq!(headers.set_cookie(), None, "{error:?}");
    error.unwrap()
}

#[tokio::test]
async fn down_at_load_is_an_error_and_the_cookie_stays() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    for kind in DOWN {
        let lazy = browser.open(&app.manager);
        app.store.on("load", 0, Fault::Fail(kind));
        let error = lazy.load().await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.http_status(), if kind == ErrorKind::Denied { 500 } else { 503 });
        assert!(error.to_string().starts_with("scripted: load: "), "{error}");
        app.store.on("load", 0, Fault::Fail(kind));
        assert_eq!(
            lazy.load_existing().await.unwrap_err().kind(),
            kind,
            "a failing engine is not \"none\""
        );
        assert_eq!(app.manager.finish(&lazy, 503).await.into_result().unwrap().set_cookie(), None);
        // It works again as soon as the engine does.
        assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
    }
    // The same request may try again.
    let lazy = browser.open(&app.manager);
    app.store.on("load", 0, Fault::Fail(ErrorKind::Unavailable));
    assert!(lazy.load().await.is_err());
    assert_eq!(lazy.load().await.unwrap().get::<u8>("a").unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn down_at_commit_is_an_error_without_a_cookie_line_and_loses_nothing() {
    let changes: [Named<fn(&Session)>; 5] = [
        ("insert", |session| session.insert("a", 2).unwrap()),
        ("rotate", |session| session.rotate().unwrap()),
        ("login", |session| session.login("alice").unwrap()),
        ("destroy", |session| session.destroy().unwrap()),
        ("clear", |session| session.clear().unwrap()),
    ];
    for kind in DOWN {
        for (name, change) in changes {
            let app = App::new();
            let mut browser = with_values(&app.manager).await;
            let (lazy, session) = browser.start(&app.manager).await;
            change(&session);
            down(&app, &["create", "update", "delete", "load"], 20, kind);
            let (headers, error) = app.manager.finish(&lazy, 200).await.into_parts();
            assert_eq!(error.unwrap().kind(), kind, "{name}");
            assert_eq!(headers.set_cookie(), None);
            app.store.repair();
            assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1), "{name} {kind:?}");
            // And works again, without a restart.
            browser.request(&app.manager, change).await;
        }
    }
    // A new session.
    let app = App::new();
    down(&app, &["create", "load"], 20, ErrorKind::Unavailable);
    let error =
        failing(&app.manager, &Browser::new(), |session| session.insert("a", 1).unwrap()).await;
    assert!(error.is_unavailable());
    assert_eq!(app.store.len(), 0);
}

#[tokio::test]
async fn a_rotation_that_fails_at_any_call_leaves_one_session_under_a_known_id() {
    for login in [false, true] {
        for operation in ["load", "create", "update"] {
            for nth in 0..3 {
                for fault in [
                    Fault::Fail(ErrorKind::Unavailable),
                    Fault::Fail(ErrorKind::Ambiguous),
                    Fault::LoseAnswer,
                ] {
                    let app = App::new();
                    let mut browser = with_values(&app.manager).await;
                    if login {
                        browser
                            .request(&app.manager, |session| session.login("alice"))
                            .await
                            .unwrap();
                    }
                    let old = browser.clone();
                    let (lazy, session) = browser.start(&app.manager).await;
                    session.rotate().unwrap();
                    app.store.on(operation, nth, fault);
                    let done = app.manager.finish(&lazy, 200).await.into_result();
                    app.store.repair();
                    if let Ok(headers) = done {
                        browser.take(&headers);
                        assert!(browser != old && !old.is_live(&app.manager).await);
                    }
                    assert_eq!(app.store.sessions(), 1, "{login} {operation} {nth}");
                    assert_eq!(
                        browser.get::<u8>(&app.manager, "a").await,
                        Some(1),
                        "{login} {operation} {nth}"
                    );
                    if login {
                        assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 1);
                        assert_eq!(app.store.sessions(), 0);
                    }
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_engine_is_bounded_by_the_deadline() {
    let limit = Duration::from_secs(2);
    for (operation, writes) in [("load", false), ("update", true), ("create", true)] {
        let app = App::with(|rules| rules.store_timeout(limit));
        let browser =
            if operation == "create" { Browser::new() } else { with_values(&app.manager).await };
        for _ in 0..20 {
            app.store.on(operation, 0, Fault::Hang);
            if writes {
                app.store.on("load", usize::from(operation == "update"), Fault::Hang);
            }
        }
        let began = tokio::time::Instant::now();
        let lazy = browser.open(&app.manager);
        let error = match lazy.load().await {
            Err(error) => error,
            Ok(session) => {
                session.insert("b", 1).unwrap();
                app.manager.finish(&lazy, 200).await.into_result().unwrap_err()
            }
        };
        assert_eq!(error.kind(), ErrorKind::Timeout, "{operation}");
        // A read: once. A write: once, and one look at what became of it.
        let most = if writes { 2 * limit } else { limit } + Duration::from_millis(100);
        assert!(began.elapsed() <= most, "{operation}: {:?}", began.elapsed());
    }
    let app = App::with(|rules| rules.store_timeout(limit));
    app.store.on("ping", 0, Fault::Hang);
    assert_eq!(app.manager.ping().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(app.manager.ping().await.is_ok());
}

#[tokio::test]
async fn a_write_that_hung_and_was_done_is_found_done() {
    let app = App::with(|rules| rules.store_timeout(Duration::from_millis(50)));
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap();
    let held = app.store.pause_after("update", 0); // done, and never answered
    let began = Instant::now();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(browser.get::<u8>(&app.manager, "n").await, Some(1));
    drop(held);
}

#[tokio::test]
async fn the_failure_policy_anonymous_serves_an_empty_session_that_cannot_change() {
    let app = App::with(|rules| rules.on_failure(FailurePolicy::Anonymous));
    let browser = with_values(&app.manager).await;
    app.store.on("load", 0, Fault::Fail(ErrorKind::Unavailable));
    let (lazy, session) = browser.start(&app.manager).await;
    assert!(session.is_empty() && session.is_new() && session.owner().is_none());
    assert!(session.flash().messages().is_empty());
    for refused in [
        session.insert("a", 2).unwrap_err(),
        session.login("alice").unwrap_err(),
        session.rotate().unwrap_err(),
        session.destroy().unwrap_err(),
        session.flash().info("x").map(drop).unwrap_err(),
        session.commit().await.unwrap_err(),
        session.reload().await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
    }
    let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert!(headers.set_cookie().is_none() && !headers.is_none(), "it varies and keeps the cookie");
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
    // A failing commit is an error under this policy too.
    down(&app, &["update"], 1, ErrorKind::Unavailable);
    assert!(
        failing(&app.manager, &browser, |session| session.insert("a", 2).unwrap())
            .await
            .is_unavailable()
    );
}

#[tokio::test]
async fn a_corrupt_or_newer_record_is_a_typed_error_and_is_kept() {
    let damages: [Named<Damage>; 7] = [
        ("newer version", |record| record[1] = 2),
        ("foreign", |record| *record = b"{\"a\":1}".to_vec()),
        ("cut", |record| record.truncate(60)),
        ("empty", Vec::clear),
        ("flipped", |record| *record.last_mut().unwrap() ^= 1),
        ("unknown kind", |record| record[2] = 9),
        ("said to be plain", |record| record[2] |= 0x80),
    ];
    for (what, damage) in damages {
        let app = App::new();
        let browser = with_values(&app.manager).await;
        app.store.tamper(damage);
        let before = app.store.snapshot();
        let lazy = browser.open(&app.manager);
        let error = lazy.load().await.unwrap_err();
        assert!(error.is_corrupt() && error.http_status() == 500, "{what}: {error}");
        assert_eq!(app.manager.finish(&lazy, 500).await.into_result().unwrap().set_cookie(), None);
        assert_eq!(app.store.snapshot(), before, "{what}");
    }
    // Damaged between load and commit: what was there is not written over.
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("b", 2).unwrap();
    app.store.tamper(|record| record[1] = 2);
    let before = app.store.snapshot();
    assert!(app.manager.finish(&lazy, 200).await.into_result().unwrap_err().is_corrupt());
    assert_eq!(app.store.snapshot(), before);
}

#[tokio::test]
async fn a_full_engine_is_an_error_and_the_session_lives() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    down(&app, &["update"], 1, ErrorKind::Full);
    let error = failing(&app.manager, &browser, |session| session.insert("a", 2).unwrap()).await;
    assert_eq!((error.kind(), error.http_status()), (ErrorKind::Full, 503));
    browser
        .request(&app.manager, |session| assert_eq!(session.get::<u8>("a").unwrap(), Some(1)))
        .await;
    // Over the limit of the record: nothing is written, and the next request is none the worse.
    let app = App::with(|rules| rules.max_record_bytes(1024));
    let browser = with_values(&app.manager).await;
    app.store.reset_calls();
    let error =
        failing(&app.manager, &browser, |session| session.insert("b", "x".repeat(1024)).unwrap())
            .await;
    assert!(error.is_too_large() && error.http_status() == 500);
    assert_eq!(app.store.calls().writes(), 0);
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
}

#[tokio::test]
async fn an_ambiguous_create_makes_one_session_and_no_more() {
    for (operation, fault) in [
        ("create", Fault::LoseAnswer),
        ("create", Fault::Fail(ErrorKind::Ambiguous)),
        ("create", Fault::Fail(ErrorKind::Timeout)),
    ] {
        let app = App::new();
        let mut browser = Browser::new();
        app.store.on(operation, 0, fault);
        browser.request(&app.manager, |session| session.insert("a", 1)).await.unwrap();
        assert_eq!(app.store.sessions(), 1);
        assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
    }
    // The engine says "taken" because its client tried twice.
    let app = App::new();
    let mut browser = Browser::new();
    app.store.on("create", 0, Fault::LoseAnswer);
    app.store.on("load", 0, Fault::Fail(ErrorKind::Unavailable));
    browser.request(&app.manager, |session| session.insert("a", 1)).await.unwrap();
    assert_eq!((app.store.sessions(), browser.get::<u8>(&app.manager, "a").await), (1, Some(1)));
}

#[tokio::test]
async fn an_evicted_session_is_absent_and_not_an_error() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("b", 2).unwrap();
    app.store.evict(1);
    assert_eq!(app.manager.finish(&lazy, 200).await.into_result().unwrap().set_cookie(), None);
    assert!(!browser.is_live(&app.manager).await);
    browser.request(&app.manager, |session| session.insert("a", 3)).await.unwrap();
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(3));
}

#[tokio::test]
async fn a_commit_that_failed_may_be_tried_again() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap();
    session.rotate().unwrap();
    app.store.on("create", 0, Fault::Fail(ErrorKind::Unavailable));
    assert!(session.commit().await.unwrap_err().is_unavailable());
    session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap();
    assert_eq!(session.get::<u8>("n").unwrap(), Some(2));
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert_eq!((browser.get::<u8>(&app.manager, "n").await, app.store.sessions()), (Some(2), 1));
}
