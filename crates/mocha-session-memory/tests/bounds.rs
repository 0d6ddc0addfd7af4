//! The bounds: writes are refused or evict, are counted, and never exceed a bound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::{hour, key, now, within};
use mocha_session_core::ErrorKind;
use mocha_session_core::store::{Revision, SessionStore, StorageKey};
use mocha_session_memory::{MemoryStore, WhenFull};

const KIB: usize = 1024;

fn create(store: &MemoryStore, number: u32, size: usize) -> Result<Revision, ErrorKind> {
    match now(store.create(&key(number), &vec![1; size], hour())) {
        Ok(revision) => Ok(revision.expect("the key is free")),
        Err(error) => Err(error.kind()),
    }
}

fn holds(store: &MemoryStore, key: &StorageKey) -> bool {
    now(store.load(key)).unwrap().is_some()
}

#[test]
fn a_full_store_refuses_and_keeps_what_it_acknowledged() {
    let store = MemoryStore::builder().max_entries(100).build();
    let mut revisions: Vec<_> =
        (0..100).map(|number| create(&store, number, 10).unwrap()).collect();
    for number in 100..200 {
        assert_eq!(create(&store, number, 10), Err(ErrorKind::Full));
    }
    let error = now(store.create(&key(100), b"more", hour())).unwrap_err();
    assert!(error.is_unavailable() && !error.is_ambiguous());
    assert!(error.to_string().starts_with("memory: create: the bound of 100 entries"), "{error}");
    assert_eq!((store.len(), store.evicted()), (100, 0));
    for (number, revision) in (0..).zip(&mut revisions) {
        assert!(holds(&store, &key(number)));
        // What is there can be written as before.
        *revision = now(store.update(&key(number), b"updated", hour(), revision)).unwrap().unwrap();
    }
    assert!(now(store.delete(&key(7))).unwrap());
    create(&store, 100, 10).expect("a delete made room");
}

#[test]
fn the_bound_on_bytes_counts_what_the_store_needs_too() {
    let store = MemoryStore::builder().max_bytes(100 * KIB).build();
    let fitted = (0..1_000).take_while(|number| create(&store, *number, KIB).is_ok()).count();
    assert!((80..100).contains(&fitted), "{fitted} values of 1 KiB in 100 KiB");
    assert!(store.bytes() <= 100 * KIB);
    let (first, revision) = (key(0), now(store.load(&key(0))).unwrap().unwrap().into_parts().1);
    // A value may not grow past the bound either; the old one stays.
    let grown = now(store.update(&first, &[2; 3 * KIB], hour(), &revision));
    assert_eq!(grown.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(now(store.load(&first)).unwrap().unwrap().value().len(), KIB);
    // One that shrinks makes room.
    let revision = now(store.update(&first, b"", hour(), &revision)).unwrap().unwrap();
    now(store.update(&first, &[2; KIB], hour(), &revision)).unwrap().unwrap();
}

#[test]
fn a_value_larger_than_the_store_is_too_large_and_evicts_nothing() {
    for when_full in [WhenFull::Refuse, WhenFull::Evict] {
        let store = MemoryStore::builder().max_bytes(10 * KIB).when_full(when_full).build();
        let revision = create(&store, 0, 10).unwrap();
        assert_eq!(create(&store, 1, 10 * KIB), Err(ErrorKind::TooLarge));
        let updated = now(store.update(&key(0), &[1; 10 * KIB], hour(), &revision));
        assert_eq!(updated.unwrap_err().kind(), ErrorKind::TooLarge);
        assert!(holds(&store, &key(0)));
        assert_eq!((store.len(), store.evicted()), (1, 0));
    }
}

#[test]
fn an_evicting_store_drops_what_expires_first() {
    let store = MemoryStore::builder().max_entries(100).when_full(WhenFull::Evict).build();
    assert!(store.capabilities().evicts());
    for number in 0..100 {
        // The order of creation is not that of expiry.
        let ttl = Duration::from_secs(60 * (u64::from(number * 37 % 100) + 1));
        assert!(now(store.create(&key(number), b"value", within(ttl))).unwrap().is_some());
    }
    for number in 100..130 {
        create(&store, number, 5).unwrap();
    }
    assert_eq!((store.len(), store.evicted()), (100, 30));
    for number in 0..100 {
        assert_eq!(holds(&store, &key(number)), number * 37 % 100 >= 30, "session {number}");
    }
    assert!((100..130).all(|number| holds(&store, &key(number))), "what lives for an hour stays");
}

#[test]
fn an_entry_does_not_evict_itself() {
    let store = MemoryStore::builder().max_bytes(10 * KIB).when_full(WhenFull::Evict).build();
    let soon = within(Duration::from_secs(60));
    let revision = now(store.create(&key(0), b"small", soon)).unwrap().unwrap();
    for number in 1..40 {
        create(&store, number, 100).unwrap();
    }
    // It expires first of all, and it is what the room is for: all others go instead.
    let revision = now(store.update(&key(0), &[1; 9 * KIB], soon, &revision)).unwrap().unwrap();
    let stored = now(store.load(&key(0))).unwrap().unwrap();
    assert_eq!((stored.value().len(), stored.revision()), (9 * KIB, &revision));
    assert!(store.bytes() <= 10 * KIB);
    assert_eq!(store.len() as u64 + store.evicted(), 40);
}

#[test]
fn what_has_expired_makes_room_before_anything_is_refused_or_evicted() {
    for when_full in [WhenFull::Refuse, WhenFull::Evict] {
        let clock = mocha_session_core::ManualClock::new();
        let store = MemoryStore::builder()
            .max_entries(1_000)
            .when_full(when_full)
            .clock(clock.clone())
            .build();
        for number in 0..1_000 {
            let ttl = if number % 2 == 0 {
                Duration::from_secs(300)
            } else {
                Duration::from_secs(60 * 60)
            };
            assert!(now(store.create(&key(number), b"value", within(ttl))).unwrap().is_some());
        }
        clock.advance(Duration::from_secs(600));
        for number in 1_000..1_500 {
            create(&store, number, 10).unwrap();
        }
        assert_eq!((store.len(), store.evicted()), (1_000, 0), "{when_full:?}");
        assert!((0..1_000).all(|number| holds(&store, &key(number)) == (number % 2 == 1)));
    }
}

/// The counts match the entries after any sequence of calls.
#[test]
fn the_counts_are_right_after_anything() {
    let mut random = fastrand::Rng::with_seed(3);
    let store = MemoryStore::builder().max_entries(150).max_bytes(100 * KIB).build();
    let mut model = HashMap::new();
    for _ in 0..50_000 {
        let (number, size) = (random.u32(..300), random.usize(..2 * KIB));
        match (random.u8(..3), model.get(&number)) {
            (0, None) => {
                if let Ok(revision) = create(&store, number, size) {
                    model.insert(number, (revision, size));
                }
            }
            (1, Some((revision, _))) => {
                let value = vec![2; size];
                if let Ok(updated) = now(store.update(&key(number), &value, hour(), revision)) {
                    model.insert(number, (updated.expect("the revision is right"), size));
                }
            }
            (_, known) => {
                assert_eq!(now(store.delete(&key(number))).unwrap(), known.is_some());
                model.remove(&number);
            }
        }
        assert_eq!(store.len(), model.len());
        let empty = store.bytes() - model.values().map(|(_, size)| size).sum::<usize>();
        assert_eq!(empty, 136 * model.len());
        assert!(store.len() <= 150 && store.bytes() <= 100 * KIB);
    }
}

#[test]
fn many_threads_never_exceed_the_bounds_and_lose_nothing() {
    for when_full in [WhenFull::Refuse, WhenFull::Evict] {
        let store = Arc::new(
            MemoryStore::builder().max_entries(50).max_bytes(32 * KIB).when_full(when_full).build(),
        );
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(thread);
                    for _ in 0..5_000 {
                        let (key, size) = (key(random.u32(..100)), random.usize(..KIB));
                        let value = vec![3; size];
                        match now(store.load(&key)).unwrap() {
                            Some(stored) if random.bool() => {
                                drop(now(store.update(&key, &value, hour(), stored.revision())));
                            }
                            Some(_) => drop(now(store.delete(&key)).unwrap()),
                            None => drop(now(store.create(&key, &value, hour()))),
                        }
                        assert!(store.len() <= 50 && store.bytes() <= 32 * KIB);
                    }
                });
            }
        });
        let (mut entries, mut bytes) = (0, 0);
        for number in 0..100 {
            if let Some(stored) = now(store.load(&key(number))).unwrap() {
                entries += 1;
                bytes += stored.value().len() + 136;
            }
        }
        assert_eq!((store.len(), store.bytes()), (entries, bytes), "{when_full:?}");
        assert_eq!(store.evicted() > 0, when_full == WhenFull::Evict);
    }
}
