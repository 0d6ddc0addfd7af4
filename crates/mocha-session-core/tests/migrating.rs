//! Changing the engine under sessions that are in use: nobody is logged out, and who logged out
//! stays out.
// tidy: long because the steps of one move are read together

#![allow(
    clippy::type_complexity,
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_core::store::{Capabilities, Expiry, SessionStore, StorageKey};
use mocha_session_core::{
    Clock, ErrorKind, ManualClock, Migrating, MoveOutcome, Session, SessionManager,
    SessionManagerBuilder,
};
use support::{Browser, Fault, ScriptedStore, finish_in_background, with_values};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Two engines, and managers of every stage of the way from one to the other.
struct Two {
    clock: ManualClock,
    old: ScriptedStore,
    new: ScriptedStore,
    before: SessionManager,
    preparing: SessionManager,
    moving: SessionManager,
    after: SessionManager,
}

impl Two {
    fn new() -> Self {
        let clock = ManualClock::new();
        let (old, new) = (ScriptedStore::new(&clock), ScriptedStore::new(&clock));
        let built = |builder: SessionManagerBuilder| builder.clock(clock.clone()).build().unwrap();
        Self {
            before: built(SessionManager::builder(old.clone())),
            preparing: built(SessionManager::builder(Migrating::prepare(old.clone(), new.clone()))),
            moving: built(SessionManager::builder(Migrating::new(old.clone(), new.clone()))),
            after: built(SessionManager::builder(new.clone())),
            clock,
            old,
            new,
        }
    }

    /// Another process that moves sessions.
    fn other(&self) -> SessionManager {
        let store = Migrating::new(self.old.clone(), self.new.clone());
        SessionManager::builder(store).clock(self.clock.clone()).build().unwrap()
    }

    /// How many sessions are alive in the old and in the new engine.
    fn alive(&self) -> (usize, usize) {
        (self.old.sessions(), self.new.sessions())
    }

    /// Lets every tombstone expire.
    fn wait(&self) {
        self.clock.advance(Duration::from_secs(11 * 60));
    }
}

#[tokio::test]
async fn a_session_of_the_old_engine_is_read_through_and_moved_with_its_remaining_life() {
    let two = Two::new();
    let mut browser = with_values(&two.before).await;
    let until = browser.start(&two.before).await.1.expires_at();
    two.clock.advance(DAY);
    assert_eq!(browser.get::<u8>(&two.moving, "a").await, Some(1));
    assert_eq!(two.alive(), (1, 0), "reading moves nothing");
    let ((), headers) =
        browser.request_status(&two.moving, 200, |session| session.insert("b", 2).unwrap()).await;
    assert_eq!((two.alive(), headers.set_cookie()), ((0, 1), None), "the same id");
    let (_, session) = browser.start(&two.after).await;
    assert_eq!(
        (session.get::<u8>("a").unwrap(), session.get::<u8>("b").unwrap()),
        (Some(1), Some(2))
    );
    assert_eq!(session.expires_at(), until);
    assert_eq!(two.new.expiries()[0].ttl(), 13 * DAY);
    assert!(!browser.is_live(&two.before).await);
    two.wait();
    assert_eq!(browser.get::<u8>(&two.moving, "b").await, Some(2));
    // New sessions begin in the new engine; a refresh moves like any other write.
    with_values(&two.moving).await;
    assert_eq!(two.alive(), (0, 2));
    let mut idle = with_values(&two.before).await;
    two.clock.advance(3 * DAY);
    idle.request(&two.moving, |session| assert!(session.contains("a"))).await;
    assert_eq!(two.alive(), (0, 3));
}

#[tokio::test]
async fn read_from_old_then_migrated_and_logged_out_by_another_the_first_write_stays_out() {
    for rotate in [false, true] {
        let two = Two::new();
        let browser = with_values(&two.before).await;
        let (slow, session) = browser.start(&two.moving).await;
        if rotate {
            session.rotate().unwrap();
        }
        session.insert("b", 2).unwrap();
        let mut other = browser.clone();
        other.request(&two.other(), |session| session.insert("c", 3)).await.unwrap();
        other.request(&two.other(), |session| session.destroy()).await.unwrap();
        assert_eq!(two.moving.finish(&slow, 200).await.into_result().unwrap().set_cookie(), None);
        assert_eq!(two.alive(), (0, 0), "{rotate}");
        two.wait();
        assert!(!browser.is_live(&two.moving).await);
    }
}

#[tokio::test]
async fn read_from_old_then_logged_out_there_the_first_write_stays_out() {
    let two = Two::new();
    let browser = with_values(&two.before).await;
    let (slow, session) = browser.start(&two.moving).await;
    session.insert("b", 2).unwrap();
    browser.clone().request(&two.other(), |session| session.destroy()).await.unwrap();
    assert_eq!(two.moving.finish(&slow, 200).await.into_result().unwrap().set_cookie(), None);
    assert_eq!(two.alive(), (0, 0));
    two.wait();
    assert!(!browser.is_live(&two.moving).await);
}

#[tokio::test]
async fn logout_during_a_carry_stays_out() {
    for (in_new, operation) in [(true, "create"), (false, "update")] {
        for after in [false, true] {
            let two = Two::new();
            let browser = with_values(&two.before).await;
            let (slow, session) = browser.start(&two.moving).await;
            session.insert("b", 2).unwrap();
            let store = if in_new { &two.new } else { &two.old };
            let mut paused =
                if after { store.pause_after(operation, 0) } else { store.pause(operation, 0) };
            let carrying = finish_in_background(&two.moving, slow);
            paused.arrived().await;
            browser.clone().request(&two.other(), |session| session.destroy()).await.unwrap();
            paused.release();
            assert_eq!(carrying.await.unwrap().unwrap().set_cookie(), None);
            assert!(!browser.is_live(&two.moving).await, "{operation} {after}");
            two.wait();
            assert!(!browser.is_live(&two.moving).await, "{operation} {after}");
            assert_eq!(two.alive(), (0, 0), "{operation} {after}");
        }
    }
}

#[tokio::test]
async fn prepare_reads_both_and_writes_where_a_session_lives() {
    let two = Two::new();
    let mut moved = with_values(&two.moving).await;
    let mut stays = with_values(&two.before).await;
    for browser in [&mut moved, &mut stays] {
        browser.request(&two.preparing, |session| session.insert("b", 2)).await.unwrap();
        assert_eq!(browser.get::<u8>(&two.preparing, "b").await, Some(2));
    }
    assert_eq!(moved.get::<u8>(&two.after, "b").await, Some(2));
    assert_eq!(stays.get::<u8>(&two.before, "b").await, Some(2));
    let begun = with_values(&two.preparing).await;
    assert!(
        begun.is_live(&two.before).await,
        "processes that do not read the new engine yet must see it"
    );
    // Rolling on and back again.
    stays.request(&two.moving, |session| session.insert("c", 3)).await.unwrap();
    assert_eq!(stays.get::<u8>(&two.preparing, "c").await, Some(3));
    for browser in [&mut moved, &mut stays] {
        browser.request(&two.preparing, |session| session.rotate()).await.unwrap();
        assert_eq!(browser.get::<u8>(&two.preparing, "b").await, Some(2));
        browser.request(&two.preparing, |session| session.destroy()).await.unwrap();
    }
    assert_eq!(two.alive(), (1, 0));
    two.wait();
    assert_eq!(two.alive(), (1, 0), "begun alone");
}

#[tokio::test]
async fn move_page_carries_everything_that_lives_with_its_remaining_life() {
    let two = Two::new();
    let mut browsers = Vec::new();
    for _ in 0..5 {
        browsers.push(with_values(&two.before).await);
    }
    browsers[0].clone().request(&two.before, |session| session.destroy()).await.unwrap();
    let owned =
        Browser { cookie: Some(two.before.seed(|session| session.login("alice")).await.unwrap()) };
    two.clock.advance(DAY);
    let page = Migrating::new(two.old.clone(), two.new.clone()).move_page(None, 100).await.unwrap();
    let moved = page.count(MoveOutcome::Moved);
    assert_eq!(
        (page.next(), moved, page.count(MoveOutcome::Ended), two.alive()),
        (None, 6, 1, (0, 5)),
        "four, alice's, and the index of hers; the tombstone is left"
    );
    for browser in &browsers[1..] {
        assert_eq!(browser.get::<u8>(&two.after, "a").await, Some(1));
        let (_, session) = browser.start(&two.after).await;
        assert_eq!(session.expires_at(), session.created_at() + 14 * DAY);
    }
    assert!(!browsers[0].is_live(&two.moving).await);
    assert_eq!(two.after.revoke_all("alice").await.unwrap(), 1);
    assert!(!owned.is_live(&two.moving).await);
    let again =
        Migrating::new(two.old.clone(), two.new.clone()).move_page(None, 100).await.unwrap();
    assert_eq!(again.count(MoveOutcome::Moved), 0);
}

#[tokio::test]
async fn what_is_not_moved_is_counted_by_its_reason_and_stays_where_it_is() {
    let two = Two::new();
    let small = with_values(&two.before).await;
    let large = Browser {
        cookie: Some(
            two.before.seed(|session| session.insert("x", "x".repeat(900))).await.unwrap(),
        ),
    };
    with_values(&two.before).await.request(&two.before, |session| session.destroy()).await.unwrap();
    two.new.set_capabilities(Capabilities::new("small").with_max_value(600));
    let mover = Migrating::new(two.old.clone(), two.new.clone());
    let page = mover.move_page(None, 100).await.unwrap();
    let outcomes: Vec<_> =
        page.outcomes().map(|(outcome, count)| (outcome.as_str(), count)).collect();
    assert_eq!(outcomes, [("moved", 1), ("ended", 1), ("too_large", 1)]);
    assert_eq!(two.alive(), (1, 1));
    assert!(large.is_live(&two.moving).await && small.is_live(&two.moving).await);
}

#[tokio::test]
async fn an_entry_that_was_written_since_the_scan_is_left_to_the_next_pass() {
    let two = Two::new();
    let mut browser = with_values(&two.before).await;
    let seen = two.old.scan(None, 10).await.unwrap().into_entries();
    browser.request(&two.before, |session| session.insert("a", 2)).await.unwrap();
    let mover = Migrating::new(two.old.clone(), two.new.clone());
    for (key, stored) in &seen {
        assert_eq!(mover.move_entry(key, stored).await.unwrap(), MoveOutcome::Changed);
    }
    assert_eq!(two.alive(), (1, 0));
    assert_eq!(mover.move_page(None, 10).await.unwrap().count(MoveOutcome::Moved), 1);
    assert_eq!(browser.get::<u8>(&two.after, "a").await, Some(2));
}

#[tokio::test]
async fn a_move_that_was_cut_short_after_its_copy_is_finished_by_the_next() {
    let two = Two::new();
    let browser = with_values(&two.before).await;
    let mover = Migrating::new(two.old.clone(), two.new.clone());
    // The process ends before it removes the frozen entry.
    two.old.fail("delete", 1, ErrorKind::Unavailable);
    assert_eq!(mover.move_page(None, 10).await.unwrap().count(MoveOutcome::Moved), 1);
    assert_eq!((two.old.len(), two.new.sessions()), (1, 1));
    assert_eq!(mover.move_page(None, 10).await.unwrap().count(MoveOutcome::Moved), 1);
    assert_eq!((two.old.len(), two.new.sessions()), (0, 1));
    assert_eq!(browser.get::<u8>(&two.after, "a").await, Some(1));
}

#[tokio::test]
async fn a_new_engine_that_fails_stops_the_move_and_loses_nothing() {
    let two = Two::new();
    let browser = with_values(&two.before).await;
    let mover = Migrating::new(two.old.clone(), two.new.clone());
    two.new.fail("create", 2, ErrorKind::Full);
    assert_eq!(mover.move_page(None, 10).await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(browser.get::<u8>(&two.moving, "a").await, Some(1), "frozen, and served");
    assert_eq!(mover.move_page(None, 10).await.unwrap().count(MoveOutcome::Moved), 1);
    assert_eq!(browser.get::<u8>(&two.after, "a").await, Some(1));
}

#[tokio::test]
async fn a_damaged_record_does_not_stop_the_others_from_being_moved() {
    let two = Two::new();
    with_values(&two.before).await;
    two.old.tamper(|record| record[1] = 9);
    let damaged = two.old.snapshot();
    with_values(&two.before).await;
    with_values(&two.before).await;
    let page = Migrating::new(two.old.clone(), two.new.clone()).move_page(None, 100).await.unwrap();
    let count = |outcome| page.count(outcome);
    assert_eq!((count(MoveOutcome::Moved), count(MoveOutcome::Unreadable)), (2, 1));
    assert_eq!(two.new.sessions(), 2);
    assert!(two.old.snapshot().contains(&damaged[0]), "left as it is");
}

#[tokio::test]
async fn owners_and_their_indexes_move_along() {
    let two = Two::new();
    let mut phone =
        Browser { cookie: Some(two.before.seed(|session| session.login("alice")).await.unwrap()) };
    let laptop =
        Browser { cookie: Some(two.moving.seed(|session| session.login("alice")).await.unwrap()) };
    assert_eq!(two.moving.sessions_of("alice").await.unwrap().len(), 2);
    phone.request(&two.moving, |session| session.rotate()).await.unwrap();
    assert_eq!(two.moving.revoke_all("alice").await.unwrap(), 2);
    two.wait();
    assert!(!phone.is_live(&two.moving).await && !laptop.is_live(&two.moving).await);
    assert_eq!(two.alive(), (0, 0));
}

type End = (&'static str, fn(&Session));

/// What ends a session, or empties it.
const ENDS: [End; 3] = [
    ("destroy", |session| session.destroy().unwrap()),
    ("rotate", |session| session.rotate().unwrap()),
    ("empty", |session| session.clear().unwrap()),
];

/// A call of one of the two engines, what befalls it, and whether the write is done all the same.
type Point<'f> = (&'static str, fn(&Two) -> &ScriptedStore, &'f dyn Fn() -> Fault, bool);

#[tokio::test]
async fn a_carry_cut_short_is_done_once_and_the_session_does_not_come_back_after_its_end() {
    // The first step is where the write counts: before it nothing has happened, after it everything
    // has.
    let lost = || Fault::LoseAnswer;
    let refused = || Fault::Fail(ErrorKind::Unavailable);
    let points: [Point<'_>; 6] = [
        ("update", |two| &two.old, &refused, false),
        ("update", |two| &two.old, &lost, true),
        ("create", |two| &two.new, &refused, true),
        ("create", |two| &two.new, &lost, true),
        ("delete", |two| &two.old, &refused, true),
        ("delete", |two| &two.old, &lost, true),
    ];
    for (operation, store, fault, done) in points {
        for (name, end) in ENDS {
            let two = Two::new();
            let mut browser = with_values(&two.before).await;
            let id = browser.clone();
            let (lazy, session) = browser.start(&two.moving).await;
            session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap();
            store(&two).on(operation, 0, fault());
            assert_eq!(two.moving.finish(&lazy, 200).await.error().is_none(), done, "{operation}");
            assert_eq!(
                browser.get::<u8>(&two.other(), "n").await,
                done.then_some(1),
                "{operation}"
            );
            browser.request(&two.other(), end).await;
            two.wait();
            assert!(!id.is_live(&two.moving).await, "{name} {operation}");
            assert_eq!(two.alive(), (0, usize::from(name == "rotate")), "{name} {operation}");
        }
    }
}

#[tokio::test]
async fn an_end_cut_short_is_an_error_or_final() {
    for fault in [0, 1, 2] {
        for (name, end) in ENDS {
            let two = Two::new();
            let mut browser = with_values(&two.before).await;
            let id = browser.clone();
            let (lazy, session) = browser.start(&two.moving).await;
            end(&session);
            let fault = match fault {
                0 => Fault::Fail(ErrorKind::Unavailable),
                1 => Fault::Fail(ErrorKind::Ambiguous),
                _ => Fault::LoseAnswer,
            };
            two.old.on("update", 0, fault);
            let done = two.moving.finish(&lazy, 200).await.into_result();
            if let Ok(headers) = &done {
                browser.take(headers);
                two.wait();
                assert!(!id.is_live(&two.moving).await, "{name}: acknowledged and came back");
                assert_eq!(two.alive(), (0, usize::from(name == "rotate")), "{name}");
            } else {
                let alive = id.is_live(&two.moving).await;
                two.wait();
                assert_eq!(
                    id.is_live(&two.moving).await,
                    alive,
                    "{name}: nothing comes or goes by itself"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_move_that_slips_into_a_delete_does_not_outlive_it() {
    let two = Two::new();
    let store = Migrating::new(two.old.clone(), two.new.clone());
    let (key, expiry) = (StorageKey::from_bytes([7; 20]), Expiry::after(DAY, two.clock.now()));
    two.old.create(&key, b"value", expiry).await.unwrap();
    let seen = store.load(&key).await.unwrap().unwrap();
    let mut paused = two.new.pause("create", 0); // the delete's guard
    let deleting = tokio::spawn({
        let store = Migrating::new(two.old.clone(), two.new.clone());
        async move { store.delete(&key).await }
    });
    paused.arrived().await;
    assert!(store.update(&key, b"moved", expiry, seen.revision()).await.unwrap().is_some());
    paused.release();
    assert!(deleting.await.unwrap().unwrap());
    assert!(store.load(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_deleted_is_absent_and_its_key_is_free() {
    for prepare in [false, true] {
        let two = Two::new();
        let (old, new) = (two.old.clone(), two.new.clone());
        let store = if prepare { Migrating::prepare(old, new) } else { Migrating::new(old, new) };
        let (key, expiry) = (StorageKey::from_bytes([7; 20]), Expiry::after(DAY, two.clock.now()));
        two.old.create(&key, b"value", expiry).await.unwrap();
        assert!(store.delete(&key).await.unwrap());
        assert!(store.load(&key).await.unwrap().is_none());
        assert!(store.scan(None, 10).await.unwrap().entries().is_empty());
        assert!(!store.delete(&key).await.unwrap());
        assert!(store.create(&key, b"again", expiry).await.unwrap().is_some());
        assert!(store.create(&key, b"twice", expiry).await.unwrap().is_none());
        assert_eq!(store.load(&key).await.unwrap().unwrap().value()[..], b"again"[..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_several_processes_sum_exactly_while_the_session_moves() {
    for _ in 0..20 {
        let two = Two::new();
        let browser = with_values(&two.before).await;
        let mut tasks = Vec::new();
        for _ in 0..16 {
            let (browser, manager) = (browser.clone(), two.other());
            tasks.push(tokio::spawn(async move {
                let (lazy, session) = browser.start(&manager).await;
                session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap();
                manager.finish(&lazy, 200).await.into_result().unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(browser.get::<u8>(&two.after, "n").await, Some(16));
        assert_eq!(two.alive(), (0, 1));
    }
}

#[tokio::test]
async fn it_can_do_what_both_can() {
    let two = Two::new();
    let can = |engine| mocha_session_core::Capabilities::new(engine);
    let old = can("old").with_listing(true).with_max_value(500).with_eviction(true);
    two.old.set_capabilities(old.with_deadline(Duration::from_secs(1)));
    two.new.set_capabilities(can("new").with_native_expiry(true).with_max_value(900));
    let both = two.other().capabilities().clone();
    assert_eq!(
        both.deadline(),
        Some(Duration::from_secs(5)),
        "the other engine has the default one"
    );
    assert_eq!((both.engine(), both.listing(), both.native_expiry()), ("new", false, false));
    assert_eq!((both.evicts(), both.max_value()), (true, Some(500)));
    two.new.on("ping", 0, Fault::Fail(ErrorKind::Unavailable));
    let failed = two.moving.ping().await.unwrap_err().to_string();
    assert!(failed.starts_with("new: ping"), "{failed}");
    two.old.on("ping", 0, Fault::Fail(ErrorKind::Unavailable));
    let failed = two.moving.ping().await.unwrap_err().to_string();
    assert!(failed.starts_with("old: ping"), "an error names the engine that failed: {failed}");
    assert!(two.moving.ping().await.is_ok());
    // Sweeping goes through both.
    with_values(&two.before).await;
    with_values(&two.after).await;
    two.clock.advance(15 * DAY);
    assert_eq!(two.moving.sweep().await.unwrap().removed(), 2);
    assert!(two.clock.now() > std::time::SystemTime::UNIX_EPOCH);
}
