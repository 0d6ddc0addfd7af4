//! The cost of a session: bytes of heap, and allocations per call, by a counting allocator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::cast_precision_loss, clippy::print_stdout, reason = "figures for people")]

mod common;

use allocation_counter::measure;
use common::{hour, key, now};
use mocha_session_core::store::{Revision, SessionStore};
use mocha_session_memory::MemoryStore;

/// A session of 200 bytes of data, sealed and with its header.
const RECORD: usize = 300;

fn fill(store: &MemoryStore, count: u32) {
    for number in 0..count {
        assert!(now(store.create(&key(number), &[7; RECORD], hour())).unwrap().is_some());
    }
}

#[test]
fn a_session_of_300_bytes_takes_at_most_450_bytes_of_heap() {
    // At each size the hash tables and vectors are filled to another degree.
    for count in [5_000, 30_000, 50_000, 60_000, 120_000] {
        let store = MemoryStore::new();
        let heap = measure(|| fill(&store, count)).bytes_current;
        let each = heap as f64 / f64::from(count);
        println!(
            "{count} sessions of {RECORD} bytes: {each:.0} bytes of heap each; the store says {}",
            { store.bytes() as f64 / f64::from(count) }
        );
        assert!(each <= 450.0, "{count} sessions take {each} bytes each");
        let said = store.bytes() as f64;
        assert!((0.9..=1.02).contains(&(heap as f64 / said)), "bytes() says {said} of {heap}");
    }
}

#[test]
fn what_is_refreshed_again_and_again_does_not_grow() {
    let store = MemoryStore::new();
    let count = 10_000;
    fill(&store, count);
    let mut random = fastrand::Rng::with_seed(1);
    let growth = measure(|| {
        for _ in 0..100_000 {
            let key = key(random.u32(..count));
            let revision = now(store.load(&key)).unwrap().unwrap().into_parts().1;
            assert!(now(store.update(&key, &[8; RECORD], hour(), &revision)).unwrap().is_some());
        }
    });
    assert_eq!(growth.bytes_current, 0, "updates left something behind");
}

#[test]
fn what_is_deleted_is_given_back() {
    let mut left = 0;
    let rest = measure(|| {
        let store = MemoryStore::new();
        fill(&store, 50_000);
        for number in 0..50_000 {
            assert!(now(store.delete(&key(number))).unwrap());
        }
        left = store.bytes();
        // Beside the shards themselves.
        let held = measure(|| drop(store)).bytes_current;
        assert!(held > -500_000, "an empty store holds {held} bytes");
    });
    assert_eq!((left, rest.bytes_current), (0, 0));
}

#[test]
fn a_load_allocates_nothing_but_its_future() {
    let store = MemoryStore::new();
    fill(&store, 1_000);
    let key = key(17);
    // The trait's futures are boxed; that box is the one allocation.
    let hit = measure(|| drop(now(store.load(&key)).unwrap().unwrap()));
    assert_eq!((hit.count_total, hit.bytes_current), (1, 0), "{hit:?}");
    let miss = measure(|| assert!(now(store.load(&common::key(5_000))).unwrap().is_none()));
    assert_eq!(miss.count_total, 1, "{miss:?}");
    // A value that was loaded is the one that is stored, not a copy.
    let (one, other) =
        (now(store.load(&key)).unwrap().unwrap(), now(store.load(&key)).unwrap().unwrap());
    assert_eq!(one.value().as_ptr(), other.value().as_ptr());
}

#[test]
fn an_update_allocates_its_value_and_nothing_else() {
    let store = MemoryStore::new();
    fill(&store, 1_000);
    let revision = now(store.load(&key(17))).unwrap().unwrap().into_parts().1;
    let update = measure(|| {
        assert!(now(store.update(&key(17), &[9; RECORD], hour(), &revision)).unwrap().is_some());
    });
    // The future, the bytes, their reference count.
    assert_eq!(update.count_total, 3, "{update:?}");
    let refused = measure(|| {
        assert!(
            now(store.update(&key(17), &[9; RECORD], hour(), &Revision::from(1)))
                .unwrap()
                .is_none()
        );
    });
    assert_eq!(refused.bytes_current, 0);
}
