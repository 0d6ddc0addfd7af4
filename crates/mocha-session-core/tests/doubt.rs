//! Commits whose answer was lost: applied once, recognised by whoever tries again, and never called
//! undone.
// tidy: long because the ways in which an answer is lost are read together

#![allow(
    clippy::type_complexity,
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use mocha_session_core::store::Capabilities;
use mocha_session_core::{
    Clock, Error, ErrorKind, LazySession, ManualClock, Session, SessionManager,
};
use support::{App, Browser, Fault, listed, logged_in};
use tokio::time::Instant;

type Change = (&'static str, fn(&Session));

/// The changes that give a session a new id.
const NEW_IDS: [Change; 2] = [
    ("rotate", |session| session.rotate().unwrap()),
    ("login", |session| session.login("alice").unwrap()),
];

/// How a test tries again after an error that it ignores.
const AGAIN: [&str; 2] = ["commit", "finish"];

async fn with_values(app: &App) -> Browser {
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("token", "t")).await.unwrap();
    browser
}

fn count(session: &Session) -> u32 {
    session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap()
}

/// The next call of this operation is done, but its answer is lost, and nobody can ask what became
/// of it.
fn lose_answer(app: &App, operation: &'static str, nth: usize) {
    app.store.on(operation, nth, Fault::LoseAnswer);
    app.store.fail("load", 4, ErrorKind::Unavailable);
}

async fn ambiguous(session: &Session) -> Error {
    let error = session.commit().await.unwrap_err();
    assert!(error.is_ambiguous(), "{error}");
    error
}

/// Goes on after an error: by a commit and the response, or by the response alone.
async fn go_on(app: &App, browser: &mut Browser, lazy: &LazySession, session: &Session, how: &str) {
    app.store.repair();
    if how == "commit" {
        session.commit().await.unwrap();
    }
    browser.take(&app.manager.finish(lazy, 200).await.into_result().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_is_recognised_by_the_next_one_and_applied_once() {
    for again in AGAIN {
        let app = App::new();
        let mut browser = with_values(&app).await;
        let (lazy, session) = browser.start(&app.manager).await;
        count(&session);
        lose_answer(&app, "update", 0);
        ambiguous(&session).await;
        assert_eq!(
            session.get::<u32>("n").unwrap(),
            Some(1),
            "the request goes on with what it did"
        );
        go_on(&app, &mut browser, &lazy, &session, again).await;
        assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1), "{again}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_changed_after_the_lost_answer_is_applied_over_it() {
    for again in AGAIN {
        let app = App::new();
        let mut browser = with_values(&app).await;
        let (lazy, session) = browser.start(&app.manager).await;
        count(&session);
        lose_answer(&app, "update", 0);
        ambiguous(&session).await;
        assert_eq!(count(&session), 2);
        app.store.repair();
        browser.clone().request(&app.other_process(), |other| assert!(count(other) > 0)).await;
        session.insert("b", 2).unwrap();
        go_on(&app, &mut browser, &lazy, &session, again).await;
        assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(3), "{again}");
        assert_eq!(browser.get::<u8>(&app.manager, "b").await, Some(2), "{again}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_a_commit_that_was_not_done_is_made_good_by_the_next_one() {
    for again in AGAIN {
        let app = App::new();
        let mut browser = with_values(&app).await;
        let (lazy, session) = browser.start(&app.manager).await;
        count(&session);
        app.store.on("update", 0, Fault::Fail(ErrorKind::Ambiguous));
        app.store.fail("load", 4, ErrorKind::Unavailable);
        ambiguous(&session).await;
        go_on(&app, &mut browser, &lazy, &session, again).await;
        assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1), "{again}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_take_whose_answer_was_lost_does_not_conflict_with_itself() {
    for again in AGAIN {
        let app = App::new();
        let mut browser = with_values(&app).await;
        let (lazy, session) = browser.start(&app.manager).await;
        assert_eq!(session.take::<String>("token").unwrap().as_deref(), Some("t"));
        session.insert("a", 1).unwrap();
        lose_answer(&app, "update", 0);
        ambiguous(&session).await;
        go_on(&app, &mut browser, &lazy, &session, again).await;
        assert_eq!(browser.get::<String>(&app.manager, "token").await, None);
        assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1), "{again}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_session_whose_answer_was_lost_is_not_stored_twice() {
    for owner in [false, true] {
        for again in AGAIN {
            let app = App::new();
            let mut browser = Browser::new();
            let (lazy, session) = browser.start(&app.manager).await;
            count(&session);
            if owner {
                session.login("alice").unwrap();
            }
            app.store.on("create", 0, Fault::LoseAnswer);
            app.store.on("load", usize::from(owner), Fault::Fail(ErrorKind::Timeout));
            ambiguous(&session).await;
            assert_eq!(app.store.sessions(), 1);
            go_on(&app, &mut browser, &lazy, &session, again).await;
            assert_eq!(app.store.sessions(), 1, "{again} {owner}");
            assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1), "{again} {owner}");
            assert_eq!(listed(&app.manager, "alice").await, usize::from(owner));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_over_a_superseded_id_whose_answer_was_lost_keeps_what_is_changed_after_it() {
    for again in AGAIN {
        let app = App::new();
        let mut browser = with_values(&app).await;
        let mut late = browser.clone();
        browser.request(&app.manager, |session| session.rotate()).await.unwrap();
        let (lazy, session) = late.start(&app.manager).await;
        session.login("alice").unwrap();
        app.store.on("create", 0, Fault::LoseAnswer);
        app.store.on("load", 1, Fault::Fail(ErrorKind::Timeout));
        ambiguous(&session).await;
        session.insert("after", 1).unwrap();
        go_on(&app, &mut late, &lazy, &session, again).await;
        let (_, session) = late.start(&app.manager).await;
        assert_eq!(session.owner().as_deref(), Some("alice"), "{again}");
        assert_eq!(session.get::<u8>("after").unwrap(), Some(1), "{again}");
        assert_eq!(listed(&app.manager, "alice").await, 1, "{again}");
    }
}

/// A clock that jumps at one of its readings: time passes between any two steps of a commit.
#[derive(Debug)]
struct Jumping {
    clock: ManualClock,
    left: AtomicUsize,
}

impl Clock for Jumping {
    fn now(&self) -> SystemTime {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.clock.advance(Duration::from_secs(120));
        }
        self.clock.now()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_in_the_instant_in_which_its_base_expires_is_applied_once() {
    for rotates in [false, true] {
        let mut crossed = 0;
        for reading in 1..12 {
            let hour = Duration::from_secs(3600);
            let app = App::with(|builder| builder.idle_timeout(hour));
            let mut browser = Browser::new();
            browser.request(&app.manager, count).await;
            app.clock.advance(hour.checked_sub(Duration::from_secs(60)).unwrap());
            let clock = Jumping { clock: app.clock.clone(), left: reading.into() };
            let manager = app.process_with(|builder| builder.idle_timeout(hour).clock(clock));
            let Some((lazy, session)) = started(&browser, &manager).await else { continue };
            count(&session);
            if rotates {
                session.rotate().unwrap();
            }
            // Its answer is lost, and it is done when the base has just expired.
            app.store.keep_expired();
            app.store.on("update", 0, Fault::Late);
            let finished = manager.finish(&lazy, 200).await.into_result();
            if let Ok(headers) = &finished {
                browser.take(headers);
            }
            let n = browser.get::<u32>(&app.manager, "n").await;
            assert_ne!(n, Some(3), "{reading} {rotates}: applied twice");
            crossed += usize::from(n == Some(2));
            // What is said to be gone was not done.
            match finished.map(|headers| headers.set_cookie().is_some()) {
                Ok(told) => assert_eq!(n.is_some(), told, "{reading} {rotates}"),
                Err(error) => assert!(error.is_ambiguous(), "{reading} {rotates}: {error}"),
            }
        }
        assert!(crossed > 0, "{rotates}: no reading of the clock was between the two");
    }
}

/// The first half of a request, if its session is still alive.
async fn started(browser: &Browser, manager: &SessionManager) -> Option<(LazySession, Session)> {
    let lazy = browser.open(manager);
    let session = lazy.load_existing().await.unwrap()?;
    Some((lazy, session))
}

#[tokio::test(start_paused = true)]
async fn a_rotation_or_login_whose_last_answer_was_lost_lives_on_in_its_successor() {
    for (name, end) in NEW_IDS {
        for again in AGAIN {
            let app = App::new();
            let mut browser = with_values(&app).await;
            let (lazy, session) = browser.start(&app.manager).await;
            count(&session);
            end(&session);
            app.store.on("update", 0, Fault::LoseAnswer);
            app.store.on("load", usize::from(name == "login"), Fault::Fail(ErrorKind::Timeout));
            ambiguous(&session).await;
            assert_eq!(app.store.sessions(), 1, "{name}: the successor is not discarded");
            assert!(!browser.is_live(&app.manager).await, "{name}: the old id was moved");
            go_on(&app, &mut browser, &lazy, &session, again).await;
            assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1), "{name} {again}");
            assert_eq!(browser.get::<String>(&app.manager, "token").await.as_deref(), Some("t"));
            assert_eq!(app.store.sessions(), 1, "{name} {again}");
            assert_eq!(listed(&app.manager, "alice").await, usize::from(name == "login"));
        }
    }
}

#[tokio::test]
async fn a_rotation_or_login_that_may_still_arrive_keeps_its_successor_if_the_next_attempt_fails() {
    for (name, end) in NEW_IDS {
        for again in AGAIN {
            let app = App::new();
            let mut browser = with_values(&app).await;
            let (lazy, session) = browser.start(&app.manager).await;
            count(&session);
            end(&session);
            app.store.on("update", 0, Fault::Late);
            // After the second write of the successor, and of the owner's index.
            let second = if name == "login" { 3 } else { 2 };
            app.store.on("update", second, Fault::Fail(ErrorKind::Ambiguous));
            ambiguous(&session).await;
            // It is not done yet, and the next attempt ends at its first write, of the successor.
            app.store.fail("update", 1, ErrorKind::Unavailable);
            ambiguous(&session).await;
            app.clock.advance(Duration::from_secs(1));
            go_on(&app, &mut browser, &lazy, &session, again).await;
            assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1), "{name} {again}");
            assert_eq!(browser.get::<String>(&app.manager, "token").await.as_deref(), Some("t"));
            assert_eq!(app.store.sessions(), 1, "{name} {again}");
        }
    }
}

#[tokio::test]
async fn a_login_whose_successors_second_write_timed_out_and_was_not_applied_tries_again() {
    for kind in [ErrorKind::Timeout, ErrorKind::Ambiguous] {
        let app = App::new();
        let mut browser = with_values(&app).await;
        let (lazy, session) = browser.start(&app.manager).await;
        session.login("alice").unwrap();
        // Another writer was faster, so the successor is written a second time.
        browser.clone().request(&app.other_process(), |other| other.insert("b", 2)).await.unwrap();
        app.store.on("update", 1, Fault::Fail(kind));
        browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
        let (_, session) = browser.start(&app.manager).await;
        assert_eq!(session.owner().as_deref(), Some("alice"));
        assert_eq!(session.get::<u8>("b").unwrap(), Some(2));
        assert_eq!((app.store.sessions(), listed(&app.manager, "alice").await), (1, 1));
    }
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_and_whose_session_was_rotated_since_is_the_claimers() {
    let app = App::new();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.flash().info("once").map(drop)).await.unwrap();
    let (_lazy, session) = browser.start(&app.manager).await;
    app.store.on("update", 0, Fault::LoseAnswer);
    let mut asking = app.store.pause("load", 0);
    let claiming = tokio::spawn({
        let session = session.clone();
        async move { session.flash().claim().await }
    });
    asking.arrived().await;
    browser.request(&app.other_process(), |other| other.rotate()).await.unwrap();
    asking.release();
    let claimed = claiming.await.unwrap().unwrap();
    assert_eq!(claimed.iter().map(|message| message.text()).collect::<Vec<_>>(), ["once"]);
    let (_, session) = browser.start(&app.manager).await;
    assert!(session.flash().peek().is_empty(), "and nobody else's");
}

async fn write_over(app: &App, browser: &Browser, times: usize) {
    for _ in 0..times {
        browser.clone().request(&app.other_process(), |other| assert!(count(other) > 0)).await;
    }
}

#[tokio::test]
async fn a_write_that_the_client_library_repeats_is_never_applied_twice() {
    for others in 0..7 {
        let app = App::new();
        app.store.set_capabilities(Capabilities::new("repeating").with_repeated_writes(true));
        let manager = app.other_process();
        let mut browser = with_values(&app).await;
        let (lazy, session) = browser.start(&manager).await;
        count(&session);
        // Done, repeated after the others' commits, and answered with "does not match".
        let mut between = app.store.repeat("update", 0);
        let committing =
            tokio::spawn(async move { manager.finish(&lazy, 200).await.into_result() });
        between.arrived().await;
        write_over(&app, &browser, others).await;
        between.release();
        match committing.await.unwrap() {
            Ok(headers) => browser.take(&headers),
            // Four commits are remembered; past that nobody can tell.
            Err(error) => assert!(error.is_ambiguous() && others > 3, "{others}: {error}"),
        }
        let counted = browser.get::<usize>(&app.manager, "n").await.unwrap();
        assert_eq!(counted, others + 1, "its own write counts once");
    }
}

#[tokio::test]
async fn a_write_that_others_overtook_is_done_where_the_client_library_repeats_writes() {
    // "Does not match" is believed as long as what is stored remembers what the write was based on.
    let app = App::new();
    app.store.set_capabilities(Capabilities::new("repeating").with_repeated_writes(true));
    let manager = app.other_process();
    let browser = with_values(&app).await;
    let (lazy, session) = browser.start(&manager).await;
    count(&session);
    write_over(&app, &browser, 3).await;
    manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(4));
}

#[tokio::test]
async fn an_earlier_attempt_that_may_have_landed_is_not_called_unavailable_when_a_later_one_finds_the_engine_down()
 {
    type Begin = (&'static str, &'static str, fn(&Session));
    let jobs: [Begin; 3] = [
        ("write", "update", |session| session.insert("a", 1).unwrap()),
        ("rotation", "update", |session| session.rotate().unwrap()),
        ("first", "create", |session| session.insert("a", 1).unwrap()),
    ];
    for (name, operation, change) in jobs {
        for kind in [ErrorKind::Unavailable, ErrorKind::Full, ErrorKind::Denied] {
            let app = App::new();
            let browser =
                if operation == "create" { Browser::new() } else { with_values(&app).await };
            let (lazy, session) = browser.start(&app.manager).await;
            change(&session);
            // The first try is not answered and not seen; it may still arrive.
            app.store.on(operation, 0, Fault::Fail(ErrorKind::Timeout));
            app.store.on(operation, 1, Fault::Fail(kind));
            let error = app.manager.finish(&lazy, 200).await.into_result().unwrap_err();
            assert!(error.is_ambiguous(), "{name}: {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_always_times_out_while_reads_work_is_bounded_by_two_deadlines() {
    let limit = Duration::from_secs(2);
    for owner in [false, true] {
        let app = App::with(|rules| rules.store_timeout(limit));
        let (lazy, session) = Browser::new().start(&app.manager).await;
        session.insert("a", 1).unwrap();
        if owner {
            session.login("alice").unwrap();
        }
        (0..50).for_each(|_| app.store.on("create", 0, Fault::Hang));
        let began = Instant::now();
        let error = app.manager.finish(&lazy, 200).await.into_result().unwrap_err();
        assert!(error.is_ambiguous(), "{error}");
        assert!(began.elapsed() <= 2 * limit + Duration::from_millis(100), "{:?}", began.elapsed());
    }
}

/// What another process' request does while a commit is under way, and where the session is then.
async fn rotated_meanwhile(manager: &SessionManager, browser: &mut Browser) {
    browser.request(manager, |other| other.rotate()).await.unwrap();
}

#[tokio::test]
async fn where_gone_is_answered_nothing_was_applied() {
    // The other request moves the session before or after each call of the commit.
    for (operation, after) in [("update", false), ("update", true), ("load", false), ("load", true)]
    {
        for fault in [None, Some(Fault::LoseAnswer), Some(Fault::Fail(ErrorKind::Timeout))] {
            let app = App::new();
            let mut browser = logged_in(&app.manager, "alice").await;
            let (_lazy, session) = browser.start(&app.manager).await;
            count(&session);
            let conflict = operation == "load" && fault.is_none();
            if conflict {
                browser
                    .clone()
                    .request(&app.other_process(), |other| other.insert("b", 2))
                    .await
                    .unwrap();
            }
            if let Some(fault) = fault {
                if operation == "update" {
                    continue;
                }
                app.store.on("update", 0, fault);
            }
            let mut paused = if after {
                app.store.pause_after(operation, 0)
            } else {
                app.store.pause(operation, 0)
            };
            let committing = tokio::spawn({
                let session = session.clone();
                async move { session.commit().await }
            });
            paused.arrived().await;
            rotated_meanwhile(&app.other_process(), &mut browser).await;
            paused.release();
            let done = committing.await.unwrap();
            let counted = browser.get::<u32>(&app.manager, "n").await;
            let what = format!("{operation} {after}: {done:?}");
            match done {
                Ok(()) => assert_eq!(counted, Some(1), "{what}"),
                Err(error) if error.is_gone() => assert_eq!(counted, None, "{what}"),
                Err(error) => assert!(error.is_ambiguous(), "{what}"),
            }
        }
    }
}
