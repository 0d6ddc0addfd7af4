//! Expiry by an injected clock: reads don't show what is over, writes and sweeps remove it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{key, now};
use mocha_session_conformance::tools::sweep_all;
use mocha_session_core::store::{Expiry, SessionStore, SweepReport};
use mocha_session_core::{Clock, ManualClock};
use mocha_session_memory::MemoryStore;

const MINUTE: Duration = Duration::from_secs(60);

fn store() -> (MemoryStore, ManualClock) {
    let clock = ManualClock::new();
    (MemoryStore::builder().clock(clock.clone()).build(), clock)
}

#[test]
fn an_entry_lives_to_the_millisecond() {
    let (store, clock) = store();
    let expiry = Expiry::after(MINUTE, clock.now());
    let revision = now(store.create(&key(1), b"value", expiry)).unwrap().unwrap();
    clock.advance(Duration::from_millis(59_999));
    assert!(now(store.load(&key(1))).unwrap().is_some());
    clock.advance(Duration::from_millis(1));
    assert!(now(store.load(&key(1))).unwrap().is_none());
    // What is over cannot be updated or deleted, and is in nobody's way.
    let expiry = Expiry::after(MINUTE, clock.now());
    assert!(now(store.update(&key(1), b"late", expiry, &revision)).unwrap().is_none());
    assert!(now(store.load(&key(1))).unwrap().is_none());
    assert!(now(store.create(&key(1), b"new", expiry)).unwrap().is_some());
    assert_eq!(store.len(), 1);
    clock.advance(2 * MINUTE);
    assert!(!now(store.delete(&key(1))).unwrap());
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

#[test]
fn reads_never_write() {
    let (store, clock) = store();
    for number in 0..100 {
        now(store.create(&key(number), b"value", Expiry::after(MINUTE, clock.now()))).unwrap();
    }
    clock.advance(2 * MINUTE);
    for number in 0..100 {
        assert!(now(store.load(&key(number))).unwrap().is_none());
    }
    assert!(now(store.scan(None, 1_000)).unwrap().entries().is_empty());
    assert_eq!(store.len(), 100);
}

/// No thread of its own, and still what expired does not pile up.
#[test]
fn writes_remove_what_has_expired() {
    let (store, clock) = store();
    let mut number = 0;
    for _ in 0..50 {
        for _ in 0..1_000 {
            number += 1;
            let expiry = Expiry::after(5 * MINUTE, clock.now());
            assert!(now(store.create(&key(number), b"value", expiry)).unwrap().is_some());
        }
        clock.advance(MINUTE);
    }
    // Five minutes' worth are alive, and a minute's may be waiting.
    assert!((5_000..=6_500).contains(&store.len()), "{}", store.len());
}

#[test]
fn an_idle_store_is_swept_in_bounded_batches() {
    let (store, clock) = store();
    for number in 0..1_000 {
        let ttl = if number % 4 == 0 { 10 * MINUTE } else { MINUTE };
        now(store.create(&key(number), b"value", Expiry::after(ttl, clock.now()))).unwrap();
    }
    clock.advance(2 * MINUTE);
    let batches = now(sweep_all(&store, clock.now(), 50)).unwrap();
    assert!(batches.iter().all(|batch| batch.examined() <= 50 && !batch.is_native()));
    let removed: u64 = batches.iter().map(SweepReport::removed).sum();
    assert_eq!((removed, store.len()), (750, 250));
    assert!(batches.len() >= 15, "{}", batches.len());
    assert!(
        (0..1_000)
            .all(|number| now(store.load(&key(number))).unwrap().is_some() == (number % 4 == 0))
    );
}

#[test]
fn a_sweep_goes_by_the_time_it_is_given() {
    let (store, clock) = store();
    now(store.create(&key(1), b"value", Expiry::after(MINUTE, clock.now()))).unwrap();
    let margin = clock.now();
    clock.advance(2 * MINUTE);
    assert_eq!(now(store.sweep(margin, None, 10)).unwrap().removed(), 0);
    assert_eq!(now(store.sweep(clock.now(), None, 10)).unwrap().removed(), 1);
}

#[test]
fn a_cursor_of_another_store_is_an_error() {
    let (store, clock) = store();
    for text in ["", "x", "-1", "0xff"] {
        let cursor = mocha_session_core::store::ScanCursor::new(text);
        assert!(now(store.scan(Some(cursor.clone()), 10)).unwrap_err().is_invalid_input());
        assert!(now(store.sweep(clock.now(), Some(cursor), 10)).unwrap_err().is_invalid_input());
    }
    let beyond = mocha_session_core::store::ScanCursor::new("9999999");
    assert!(now(store.sweep(clock.now(), Some(beyond), 10)).unwrap().next().is_none());
}
