//! Owners' indexes that are full or damaged, and labels and owners that did not come to be.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_conformance::tools::Trace;
use mocha_session_core::store::Capabilities;
use mocha_session_core::{ErrorKind, Session, SessionManager, WhenFull};
use support::{App, Browser, Fault, listed, logged_in};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The kind of an index' record.
const INDEX: u8 = 4;

#[tokio::test]
async fn an_index_that_outgrows_a_records_limit_or_the_engines_makes_room_by_the_least_recently_used()
 {
    for by_engine in [false, true] {
        let app = App::new();
        let manager = if by_engine {
            app.store.set_capabilities(Capabilities::new("small").with_max_value(1024));
            app.other_process()
        } else {
            app.process_with(|rules| rules.max_record_bytes(1024))
        };
        let mut daily = logged_in(&manager, "alice").await;
        let mut browsers = Vec::new();
        for day in 0..40 {
            app.clock.advance(DAY);
            let (owner, headers) =
                daily.request_status(&manager, 200, |session| session.owner()).await;
            assert!(owner.is_some(), "day {day}: used daily, and revoked {headers:?}");
            let mut browser = Browser::new();
            browser
                .request(&manager, |session| {
                    session.login("alice").unwrap();
                    session.set_label("a telephone with a long name").unwrap();
                })
                .await;
            browsers.push(browser);
        }
        let mut alive = 0;
        for (at, browser) in browsers.iter().enumerate() {
            let lives = browser.is_live(&manager).await;
            assert!(lives || alive == 0, "{at}: the latest live, the others made room");
            alive += usize::from(lives);
        }
        assert!((3..30).contains(&alive), "{alive}");
        assert_eq!(listed(&manager, "alice").await, alive + 1);
        assert_eq!(manager.revoke_all("alice").await.unwrap(), alive + 1);
        assert_eq!(app.store.sessions(), 0);
    }
}

#[tokio::test]
async fn at_the_limit_of_sessions_the_least_recently_used_goes_and_not_the_oldest_login() {
    let app = App::with(|rules| {
        rules.max_sessions_per_owner(3, WhenFull::RevokeOldest).idle_timeout(10 * HOUR)
    });
    let mut browsers = Vec::new();
    for _ in 0..3 {
        browsers.push(logged_in(&app.manager, "alice").await);
        app.clock.advance(2 * HOUR);
    }
    // The oldest login is used, by a refresh or a rotation; the second is not.
    for rotate in [false, true] {
        browsers[0]
            .request(&app.manager, |session| if rotate { session.rotate() } else { Ok(()) })
            .await
            .unwrap();
        app.clock.advance(Duration::from_secs(1));
    }
    let new = logged_in(&app.manager, "alice").await;
    assert!(browsers[0].is_live(&app.manager).await && new.is_live(&app.manager).await);
    assert!(!browsers[1].is_live(&app.manager).await && browsers[2].is_live(&app.manager).await);
    assert_eq!(listed(&app.manager, "alice").await, 3);
}

#[tokio::test]
async fn at_the_limit_a_login_whose_room_could_not_be_made_leaves_nobody_alive_and_unlisted() {
    for nth in 0..3 {
        let app = App::with(|rules| rules.max_sessions_per_owner(1, WhenFull::RevokeOldest));
        logged_in(&app.manager, "alice").await;
        app.clock.advance(HOUR);
        let (lazy, session) = Browser::new().start(&app.manager).await;
        session.login("alice").unwrap();
        app.store.on("update", nth, Fault::Fail(ErrorKind::Unavailable));
        let done = app.manager.finish(&lazy, 200).await.into_result();
        assert_eq!(done.is_err(), nth < 2, "a tombstone over the old session, then the index");
        app.store.repair();
        let alive = app.store.sessions();
        assert_eq!(listed(&app.manager, "alice").await, alive, "{nth}");
        app.manager.revoke_all("alice").await.unwrap();
        assert_eq!(app.store.sessions(), 0, "{nth}");
    }
}

type Damage = (&'static str, fn(&mut Vec<u8>));

#[tokio::test]
async fn a_user_whose_index_is_damaged_can_log_in_and_the_trace_says_so() {
    let damages: [Damage; 3] = [
        ("flipped", |record| *record.last_mut().unwrap() ^= 1),
        ("cut", |record| record.truncate(30)),
        ("foreign", |record| *record = b"{\"a\": 1}".to_vec()),
    ];
    for (what, damage) in damages {
        let app = App::new();
        let old = logged_in(&app.manager, "alice").await;
        app.store.tamper(|record| {
            if record[2] & 0x3f == INDEX {
                damage(record);
            }
        });
        let trace = Trace::start();
        let mut browser = logged_in(&app.manager, "alice").await;
        let errors = trace.at("ERROR");
        assert!(errors.iter().any(|line| line.contains("index is damaged")), "{what}: {errors:?}");
        assert!(!errors.concat().contains("alice"), "{what}");
        // It is rebuilt by the logins that come, and everything it lists can be ended.
        assert_eq!(listed(&app.manager, "alice").await, 1, "{what}");
        browser.request(&app.manager, |session| session.rotate()).await.unwrap();
        let second = logged_in(&app.manager, "alice").await;
        assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 2, "{what}");
        assert!(
            !browser.is_live(&app.manager).await && !second.is_live(&app.manager).await,
            "{what}"
        );
        // What nothing can list any more ends before it would be extended.
        app.clock.advance(13 * DAY);
        let mut old = old;
        old.request(&app.manager, |_| ()).await;
        app.clock.advance(2 * DAY);
        assert!(!old.is_live(&app.manager).await, "{what}");
    }
}

#[tokio::test]
async fn a_damaged_index_keeps_no_login_that_was_revoked_before_the_damage() {
    // A login reads the index; then everybody is logged out; then the index is damaged.
    let app = App::new();
    logged_in(&app.manager, "alice").await;
    let (lazy, session) = Browser::new().start(&app.manager).await;
    session.login("alice").unwrap();
    let mut paused = app.store.pause("create", 0);
    let logging_in = support::finish_in_background(&app.manager, lazy);
    paused.arrived().await;
    app.other_process().revoke_all("alice").await.unwrap();
    app.store.tamper(|record| {
        if record[2] & 0x3f == INDEX {
            *record.last_mut().unwrap() ^= 1;
        }
    });
    paused.release();
    assert!(logging_in.await.unwrap().unwrap_err().is_gone());
    assert_eq!(app.store.sessions(), 0);
}

async fn labels(manager: &SessionManager, owner: &str) -> Vec<Option<String>> {
    let sessions = manager.sessions_of(owner).await.unwrap();
    sessions.iter().map(|session| session.label().map(ToOwned::to_owned)).collect()
}

#[tokio::test]
async fn a_label_that_was_set_in_a_commit_that_did_not_happen_is_not_listed() {
    // A write, a write with a refresh of the index before it, and a rotation; each fails at its
    // last write.
    for (due, rotate, last) in [(false, false, 0), (true, false, 1), (false, true, 1)] {
        let app = App::new();
        let mut browser = logged_in(&app.manager, "alice").await;
        browser.request(&app.manager, |session| session.set_label("first")).await.unwrap();
        if due {
            app.clock.advance(3 * DAY);
        }
        let set = |session: &Session| {
            session.set_label("second").unwrap();
            if rotate {
                session.rotate().unwrap();
            }
        };
        let (lazy, session) = browser.start(&app.manager).await;
        set(&session);
        app.store.on("update", last, Fault::Fail(ErrorKind::Unavailable));
        app.manager.finish(&lazy, 200).await.into_result().unwrap_err();
        app.store.repair();
        assert_eq!(
            labels(&app.manager, "alice").await,
            [Some("first".to_owned())],
            "{due} {rotate}"
        );
        browser.request(&app.manager, set).await;
        assert_eq!(
            labels(&app.manager, "alice").await,
            [Some("second".to_owned())],
            "{due} {rotate}"
        );
    }
}

#[tokio::test]
async fn a_label_whose_index_could_not_be_written_is_listed_after_the_next_refresh() {
    let app = App::new();
    let mut browser = logged_in(&app.manager, "alice").await;
    app.store.on("update", 1, Fault::Fail(ErrorKind::Unavailable));
    browser.request(&app.manager, |session| session.set_label("phone")).await.unwrap();
    assert_eq!(labels(&app.manager, "alice").await, [None]);
    app.clock.advance(3 * DAY);
    browser
        .request(&app.manager, |session| assert_eq!(session.label().as_deref(), Some("phone")))
        .await;
    assert_eq!(labels(&app.manager, "alice").await, [Some("phone".to_owned())]);
}

#[tokio::test]
async fn a_session_whose_owner_changed_and_that_ended_then_is_listed_under_neither() {
    let app = App::new();
    let mut browser = logged_in(&app.manager, "alice").await;
    browser.request(&app.manager, |session| session.login("bob")).await.unwrap();
    assert_eq!((listed(&app.manager, "alice").await, listed(&app.manager, "bob").await), (0, 1));
    browser.request(&app.manager, |session| session.destroy()).await.unwrap();
    assert_eq!((listed(&app.manager, "alice").await, listed(&app.manager, "bob").await), (0, 0));
    // The first owner's index has no entry left that a revocation would count or follow.
    let mut browser = logged_in(&app.manager, "alice").await;
    browser.request(&app.manager, |session| session.login("bob")).await.unwrap();
    assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 0);
    assert!(browser.is_live(&app.manager).await);
    browser.request(&app.manager, |session| session.destroy()).await.unwrap();
    // In one request, too.
    let mut browser = logged_in(&app.manager, "alice").await;
    browser
        .request(&app.manager, |session| {
            session.login("bob").unwrap();
            session.destroy().unwrap();
        })
        .await;
    assert_eq!((listed(&app.manager, "alice").await, listed(&app.manager, "bob").await), (0, 0));
    assert_eq!(app.store.sessions(), 0);
    // And where the first owner's entry could not be removed at once.
    let mut browser = logged_in(&app.manager, "alice").await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.login("bob").unwrap();
    app.store.on("update", 2, Fault::Fail(ErrorKind::Unavailable));
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    app.store.repair();
    assert_eq!((listed(&app.manager, "alice").await, listed(&app.manager, "bob").await), (0, 1));
}

#[tokio::test]
async fn a_device_was_last_seen_when_its_deadline_was_last_moved() {
    let app = App::with(|rules| rules.idle_timeout(10 * HOUR));
    let mut browser = logged_in(&app.manager, "alice").await;
    let listed = async || app.manager.sessions_of("alice").await.unwrap().remove(0);
    let begun = listed().await.last_seen();
    // A tenth of the idle timeout passes before a request moves the deadline.
    for (later, seen) in [(HOUR / 2, Duration::ZERO), (HOUR, HOUR * 3 / 2)] {
        app.clock.advance(later);
        browser.request(&app.manager, |session| session.owner()).await;
        let device = listed().await;
        assert_eq!(device.last_seen().duration_since(begun).unwrap(), seen);
        assert_eq!(device.created_at(), begun);
        assert_eq!(device.expires_at().duration_since(begun).unwrap(), 10 * HOUR + seen);
    }
}
