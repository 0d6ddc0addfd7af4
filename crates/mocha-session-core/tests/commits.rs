//! Commits on engines that hang, are full or hold what cannot be read, and next to handles that go
//! on working.
// tidy: long because the rules of one commit are read together

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use mocha_session_core::{ErrorKind, FailurePolicy, Session};
use support::{App, Browser, Fault, finish_in_background, listed, logged_in, with_values};
use tokio::time::Instant;

#[tokio::test]
async fn destroying_by_a_clone_during_the_first_commit_of_a_session_logs_out() {
    for after in [false, true] {
        let app = App::new();
        let (lazy, session) = Browser::new().start(&app.manager).await;
        session.login("alice").unwrap();
        let mut paused =
            if after { app.store.pause_after("create", 0) } else { app.store.pause("create", 0) };
        let committing = tokio::spawn({
            let session = session.clone();
            async move { session.commit().await }
        });
        paused.arrived().await;
        session.destroy().unwrap();
        paused.release();
        committing.await.unwrap().unwrap();
        assert_eq!(session.owner(), None, "{after}");
        let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
        assert!(headers.set_cookie().is_none_or(|line| line.contains("Max-Age=0")), "{after}");
        assert_eq!((app.store.sessions(), listed(&app.manager, "alice").await), (0, 0), "{after}");
    }
}

#[tokio::test]
async fn destroying_by_a_clone_during_a_rotation_or_login_logs_out_of_the_new_id_too() {
    for login in [false, true] {
        for after in [false, true] {
            let app = App::new();
            let browser = with_values(&app.manager).await;
            let (lazy, session) = browser.start(&app.manager).await;
            if login {
                session.login("alice").unwrap();
            } else {
                session.rotate().unwrap();
            }
            let mut paused = if after {
                app.store.pause_after("update", 0)
            } else {
                app.store.pause("update", 0)
            };
            let committing = tokio::spawn({
                let session = session.clone();
                async move { session.commit().await }
            });
            paused.arrived().await;
            session.destroy().unwrap();
            paused.release();
            committing.await.unwrap().unwrap();
            let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
            assert!(
                headers.set_cookie().is_some_and(|line| line.contains("Max-Age=0")),
                "{login} {after}"
            );
            assert_eq!(app.store.sessions(), 0, "{login} {after}");
            assert_eq!(listed(&app.manager, "alice").await, 0);
        }
    }
}

#[tokio::test]
async fn destroying_by_a_clone_during_a_reload_logs_out() {
    for after in [false, true] {
        let app = App::new();
        let browser = logged_in(&app.manager, "alice").await;
        let (lazy, session) = browser.start(&app.manager).await;
        let mut paused =
            if after { app.store.pause_after("load", 0) } else { app.store.pause("load", 0) };
        let reloading = tokio::spawn({
            let session = session.clone();
            async move { session.reload().await }
        });
        paused.arrived().await;
        session.destroy().unwrap();
        paused.release();
        reloading.await.unwrap().unwrap();
        assert_eq!(session.owner(), None, "what was loaded does not come back");
        let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
        assert!(headers.set_cookie().is_some_and(|line| line.contains("Max-Age=0")));
        assert_eq!((app.store.sessions(), listed(&app.manager, "alice").await), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn ten_writers_of_one_session_on_a_hanging_engine_are_each_bounded_and_a_refresh_never_waits()
{
    let limit = Duration::from_secs(2);
    let app = App::with(|rules| rules.store_timeout(limit));
    let browser = with_values(&app.manager).await;
    let mut requests = Vec::new();
    for _ in 0..10 {
        let (lazy, session) = browser.start(&app.manager).await;
        session.insert("b", 2).unwrap();
        requests.push(lazy);
    }
    let (reader, session) = browser.start(&app.manager).await;
    assert!(session.contains("a"));
    app.clock.advance(Duration::from_secs(3 * 24 * 60 * 60)); // the reader's refresh is due
    for _ in 0..50 {
        app.store.on("update", 0, Fault::Hang);
        app.store.on("load", 0, Fault::Hang);
    }
    let began = Instant::now();
    let commits: Vec<_> =
        requests.into_iter().map(|lazy| finish_in_background(&app.manager, lazy)).collect();
    tokio::task::yield_now().await; // one of them has the turn now
    app.manager.finish(&reader, 200).await.into_result().unwrap();
    assert!(began.elapsed() < Duration::from_millis(10), "the reader's response waited");
    for commit in commits {
        let error = commit.await.unwrap().unwrap_err();
        assert!(error.is_unavailable() || error.is_ambiguous(), "{error}");
        // A deadline for the turn, one for the write, one to ask what became of it.
        assert!(began.elapsed() <= 3 * limit + Duration::from_millis(100), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_closure_that_holds_its_session_is_freed_with_the_request_whatever_the_response() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    for end in ["200", "500", "408", "failed", "closed"] {
        let held = Arc::new(());
        let alive = Arc::downgrade(&held);
        let (lazy, session) = browser.start(&app.manager).await;
        let own = session.clone();
        session
            .update("n", move |n: Option<u32>| {
                assert_eq!(Arc::strong_count(&held), 1);
                n.unwrap_or(0) + own.get::<u32>("a").unwrap().unwrap()
            })
            .unwrap();
        if end == "failed" {
            app.store.fail("update", 1, ErrorKind::Unavailable);
        }
        match end.parse::<u16>() {
            Ok(status) => drop(app.manager.finish(&lazy, status).await),
            Err(_) if end == "closed" => lazy.close(),
            Err(_) => assert!(app.manager.finish(&lazy, 200).await.error().is_some()),
        }
        assert!(alive.upgrade().is_none(), "{end}: the closure is still held");
        drop((lazy, session));
    }
}

/// Runs a request in a thread of its own, so that a lock that is held for good is found and not
/// waited for.
fn in_time(request: impl AsyncFnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(request());
        done.send(()).unwrap();
    });
    is_done
        .recv_timeout(Duration::from_secs(10))
        .expect("a lock was held, or the request panicked");
}

/// Adds one, and asks the session for something else meanwhile.
fn nosy(session: &Session) -> impl Fn(Option<u32>) -> u32 + Send + Sync + 'static {
    let session = session.clone();
    move |n| {
        assert!(!session.keys().is_empty() && session.owner().is_none());
        n.unwrap_or(0) + 1
    }
}

#[test]
fn closures_that_a_reload_runs_may_use_their_session() {
    in_time(async || {
        let app = App::new();
        let browser = with_values(&app.manager).await;
        let (lazy, session) = browser.start(&app.manager).await;
        session.update("n", nosy(&session)).unwrap();
        browser.clone().request(&app.other_process(), |other| other.insert("n", 10)).await.unwrap();
        session.reload().await.unwrap();
        assert_eq!(session.get::<u32>("n").unwrap(), Some(11));
        app.manager.finish(&lazy, 200).await.into_result().unwrap();
    });
}

#[test]
fn closures_that_a_commit_runs_again_may_use_their_session() {
    in_time(async || {
        let app = App::new();
        let browser = with_values(&app.manager).await;
        let (lazy, session) = browser.start(&app.manager).await;
        session.update("n", nosy(&session)).unwrap();
        browser.clone().request(&app.other_process(), |other| other.insert("n", 10)).await.unwrap();
        // What is changed while the commit is under way is applied over what it wrote.
        let mut paused = app.store.pause_after("update", 0);
        let committing = tokio::spawn({
            let session = session.clone();
            async move { session.commit().await }
        });
        paused.arrived().await;
        session.update("n", nosy(&session)).unwrap();
        paused.release();
        committing.await.unwrap().unwrap();
        assert_eq!(session.get::<u32>("n").unwrap(), Some(12));
        app.manager.finish(&lazy, 200).await.into_result().unwrap();
        assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(12));
    });
}

#[tokio::test]
async fn a_logout_on_an_engine_that_is_full_deletes_the_record() {
    for owner in [false, true] {
        let app = App::new();
        let mut browser = if owner {
            logged_in(&app.manager, "alice").await
        } else {
            with_values(&app.manager).await
        };
        let old = browser.clone();
        app.store.fail("update", 50, ErrorKind::Full);
        app.store.fail("create", 50, ErrorKind::Full);
        browser.request(&app.manager, |session| session.destroy()).await.unwrap();
        assert_eq!((&browser.cookie, app.store.sessions()), (&None, 0));
        app.store.repair();
        assert!(!old.is_live(&app.manager).await);
        assert_eq!(listed(&app.manager, "alice").await, 0);
    }
}

#[tokio::test]
async fn a_page_that_shows_flash_is_shown_when_its_consumption_cannot_be_stored() {
    for kind in [ErrorKind::Full, ErrorKind::Unavailable, ErrorKind::Denied, ErrorKind::Timeout] {
        let app = App::new();
        let mut browser = with_values(&app.manager).await;
        browser
            .request(&app.manager, |session| session.flash().info("saved").map(drop))
            .await
            .unwrap();
        let show = |session: &Session| session.flash().messages().len();
        app.store.fail("update", 5, kind);
        assert_eq!(browser.request(&app.manager, show).await, 1, "{kind:?}");
        app.store.repair();
        assert_eq!(browser.request(&app.manager, show).await, 1, "{kind:?}: shown once more");
        assert_eq!(browser.request(&app.manager, show).await, 0, "{kind:?}");
        // A page that changed something as well has failed.
        app.store.fail("update", 1, kind);
        let (lazy, session) = browser.start(&app.manager).await;
        session.insert("b", 2).unwrap();
        session.flash().messages();
        let failed = app.manager.finish(&lazy, 200).await.error().is_some();
        assert_eq!(failed, kind != ErrorKind::Timeout, "{kind:?}: a timeout is tried again");
    }
}

#[tokio::test]
async fn where_the_logout_worked_and_the_new_session_did_not_the_dead_cookie_is_removed_and_the_error_told()
 {
    let app = App::new();
    let mut browser = logged_in(&app.manager, "alice").await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.destroy().unwrap();
    session.flash().info("you are logged out").unwrap();
    app.store.fail("create", 1, ErrorKind::Unavailable);
    let finished = app.manager.finish(&lazy, 200).await;
    assert!(finished.error().is_some_and(|error| error.is_unavailable()));
    assert!(finished.set_cookie().is_some_and(|line| line.contains("Max-Age=0")));
    browser.take(&finished.into_parts().0);
    assert_eq!((&browser.cookie, app.store.sessions()), (&None, 0));
}

#[tokio::test]
async fn where_the_logout_worked_and_the_new_session_did_not_another_try_stores_it() {
    let app = App::new();
    let mut browser = logged_in(&app.manager, "alice").await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.destroy().unwrap();
    session.flash().info("you are logged out").unwrap();
    app.store.fail("create", 1, ErrorKind::Unavailable);
    assert!(session.commit().await.unwrap_err().is_unavailable());
    session.commit().await.unwrap();
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    let waiting = browser.request(&app.manager, |session| session.flash().messages().len()).await;
    assert_eq!((waiting, app.store.sessions()), (1, 1));
    assert_eq!(browser.open(&app.manager).load().await.unwrap().owner(), None);
}

type Damage = (&'static str, fn(&mut Vec<u8>));

const DAMAGES: [Damage; 4] = [
    ("newer", |record| record[1] = 2),
    ("flipped", |record| *record.last_mut().unwrap() ^= 1),
    ("cut", |record| record.truncate(20)),
    ("foreign", |record| *record = b"{}".to_vec()),
];

#[tokio::test]
async fn abandon_ends_a_record_that_cannot_be_read_and_begins_an_empty_session() {
    for (what, damage) in DAMAGES {
        for write in [false, true] {
            let app = App::new();
            let mut browser = with_values(&app.manager).await;
            let old = browser.clone();
            app.store.tamper(damage);
            let lazy = browser.open(&app.manager);
            assert!(lazy.load().await.unwrap_err().is_corrupt(), "{what}");
            let session = lazy.abandon().await.unwrap();
            assert!(session.is_new() && session.is_empty());
            if write {
                session.insert("b", 2).unwrap();
            }
            let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
            let removed = headers.set_cookie().unwrap().contains("Max-Age=0");
            assert_eq!(removed, !write, "{what}");
            browser.take(&headers);
            assert_ne!(browser, old, "{what}: another id");
            assert_eq!(app.store.sessions(), usize::from(write), "{what}");
            assert!(!old.is_live(&app.manager).await, "{what}: and no error any more");
        }
    }
}

#[tokio::test]
async fn abandon_by_two_handles_at_once_begins_one_session() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    app.store.tamper(DAMAGES[0].1);
    let lazy = browser.open(&app.manager);
    let mut keeper = app.store.pause("delete", 0);
    let first = tokio::spawn({
        let lazy = lazy.clone();
        async move { lazy.abandon().await.map(|session| session.insert("first", 1)) }
    });
    keeper.arrived().await;
    let second = tokio::spawn({
        let lazy = lazy.clone();
        async move { lazy.abandon().await.map(drop) }
    });
    tokio::task::yield_now().await;
    keeper.release();
    first.await.unwrap().unwrap().unwrap();
    second.await.unwrap().unwrap();
    // Whoever abandons what another handle has begun ends that: what comes next is the session.
    lazy.load().await.unwrap().insert("n", 2).unwrap();
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert_eq!(app.store.sessions(), 1);
    assert_eq!(browser.get::<u8>(&app.manager, "n").await, Some(2));
}

#[tokio::test]
async fn abandon_of_a_session_that_can_be_read_ends_it_as_a_logout_does() {
    for loaded in [false, true] {
        let app = App::new();
        let mut browser = logged_in(&app.manager, "alice").await;
        let lazy = browser.open(&app.manager);
        if loaded {
            lazy.load().await.unwrap();
        }
        let session = lazy.abandon().await.unwrap();
        assert!(session.is_new() && session.owner().is_none());
        browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
        assert_eq!((&browser.cookie, app.store.sessions()), (&None, 0), "{loaded}");
        assert_eq!(listed(&app.manager, "alice").await, 0);
    }
}

#[tokio::test]
async fn abandon_by_a_request_that_a_rotation_overtook_leaves_the_cookie_alone() {
    let app = App::new();
    let mut browser = logged_in(&app.manager, "alice").await;
    let crossing = browser.open(&app.manager);
    browser.request(&app.manager, |session| session.rotate()).await.unwrap();
    crossing.abandon().await.unwrap();
    let headers = app.manager.finish(&crossing, 200).await.into_result().unwrap();
    assert_eq!(headers.set_cookie(), None);
    assert!(browser.is_live(&app.manager).await);
}

#[tokio::test]
async fn in_anonymous_mode_a_user_whose_record_cannot_be_read_can_log_in() {
    for (what, damage) in DAMAGES {
        let app = App::with(|rules| rules.on_failure(FailurePolicy::Anonymous));
        let mut browser = with_values(&app.manager).await;
        app.store.tamper(damage);
        // Public pages stay up, and nothing else can be changed.
        let (lazy, session) = browser.start(&app.manager).await;
        assert!(session.is_empty() && session.insert("b", 2).unwrap_err().is_corrupt(), "{what}");
        assert_eq!(app.manager.finish(&lazy, 200).await.into_result().unwrap().set_cookie(), None);
        browser.request(&app.manager, |session| session.login("alice")).await.unwrap();
        let owner = browser.request(&app.manager, |session| session.owner()).await;
        assert_eq!(owner.as_deref(), Some("alice"), "{what}");
        assert_eq!(listed(&app.manager, "alice").await, 1, "{what}");
    }
}
