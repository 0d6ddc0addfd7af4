//! The store trait of actix-session 0.11, on each engine.

#![cfg(feature = "actix-session-0_11")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::on_engines;

mod cases {
    use std::collections::{HashMap, HashSet};

    use actix_session::storage::{LoadError, SessionKey, SessionStore as _, generate_session_key};
    use actix_web::cookie::time::Duration;
    use mocha_session_compat::actix_session_0_11::MochaStore;

    use crate::support::Engine;

    const HOUR: Duration = Duration::HOUR;

    fn open(engine: &Engine) -> MochaStore {
        MochaStore::new(engine.storage.clone()).unwrap()
    }

    fn state(value: &str) -> HashMap<String, String> {
        [("name".to_owned(), format!("\"{value}\""))].into()
    }

    /// The same key again: the trait takes it by value.
    fn copy(key: &SessionKey) -> SessionKey {
        key.as_ref().to_owned().try_into().unwrap()
    }

    pub(super) async fn a_state_comes_back_as_it_was(engine: Engine) {
        let store = open(&engine);
        let key = store.save(state("hunter2"), &HOUR).await.unwrap();
        assert_eq!(store.load(&key).await.unwrap(), Some(state("hunter2")));
        let kept = store.update(copy(&key), state("changed"), &HOUR).await.unwrap();
        assert_eq!(kept, key);
        let other_process = MochaStore::new(engine.other_process().await).unwrap();
        assert_eq!(other_process.load(&key).await.unwrap(), Some(state("changed")));
        let empty = store.save(HashMap::new(), &HOUR).await.unwrap();
        assert_eq!(store.load(&empty).await.unwrap(), Some(HashMap::new()));
    }

    pub(super) async fn a_key_that_nobody_has_loads_nothing(engine: Engine) {
        let store = open(&engine);
        let long: SessionKey = "x".repeat(4064).try_into().unwrap();
        for key in [generate_session_key(), long, String::new().try_into().unwrap()] {
            assert_eq!(store.load(&key).await.unwrap(), None);
            store.delete(&key).await.unwrap();
            store.update_ttl(&key, &HOUR).await.unwrap();
            assert_eq!(store.load(&key).await.unwrap(), None);
        }
        assert!(engine.records().await.is_empty());
    }

    pub(super) async fn the_engine_sees_neither_the_key_nor_the_values(engine: Engine) {
        let store = open(&engine);
        let key = store.save(state("hunter2"), &HOUR).await.unwrap();
        assert!(engine.hides("hunter2").await);
        assert!(engine.hides(key.as_ref()).await);
        assert!(!format!("{store:?}").contains("hunter2"));
    }

    pub(super) async fn each_save_has_a_key_of_its_own(engine: Engine) {
        let store = open(&engine);
        let mut keys = HashSet::new();
        for _ in 0..8 {
            let key = store.save(state("same"), &HOUR).await.unwrap();
            assert!(keys.insert(String::from(key)));
        }
        assert_eq!(engine.live().await, 8);
    }

    pub(super) async fn what_was_deleted_is_not_updated_again(engine: Engine) {
        let store = open(&engine);
        let key = store.save(state("secret"), &HOUR).await.unwrap();
        store.delete(&key).await.unwrap();
        store.delete(&key).await.unwrap();
        let refused = store.update(copy(&key), state("secret"), &HOUR).await.unwrap_err();
        let why = std::error::Error::source(&refused).unwrap().to_string();
        assert!(why.contains("gone") && !why.contains(key.as_ref()), "{why}");
        assert!(store.update_ttl(&key, &HOUR).await.is_err());
        assert_eq!(store.load(&key).await.unwrap(), None);
        assert_eq!(engine.live().await, 0, "not under another key either");
    }

    pub(super) async fn what_expired_is_not_loaded_and_not_revived(engine: Engine) {
        let store = open(&engine);
        let ttl = Duration::milliseconds(1_500);
        let key = store.save(state("short"), &ttl).await.unwrap();
        let negative = store.save(state("past"), &Duration::seconds(-5)).await.unwrap();
        assert!(store.load(&key).await.unwrap().is_some());
        tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
        for key in [&key, &negative] {
            assert_eq!(store.load(key).await.unwrap(), None);
            store.update_ttl(key, &HOUR).await.unwrap();
            assert!(store.update(copy(key), state("late"), &HOUR).await.is_err());
            assert_eq!(store.load(key).await.unwrap(), None);
        }
        assert_eq!(engine.live().await, 0);
    }

    pub(super) async fn a_longer_ttl_keeps_the_state(engine: Engine) {
        let store = open(&engine);
        let key = store.save(state("kept"), &Duration::milliseconds(1_500)).await.unwrap();
        store.update_ttl(&key, &HOUR).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
        assert_eq!(store.load(&key).await.unwrap(), Some(state("kept")));
    }

    pub(super) async fn a_damaged_record_begins_anew_under_another_key(engine: Engine) {
        let store = open(&engine);
        let key = store.save(state("hunter2"), &HOUR).await.unwrap();
        engine.damage().await;
        let error = store.load(&key).await.unwrap_err();
        assert!(matches!(error, LoadError::Deserialization(_)));
        store.update_ttl(&key, &HOUR).await.unwrap();
        let new = store.update(copy(&key), state("new"), &HOUR).await.unwrap();
        assert_ne!(new, key);
        assert_eq!(store.load(&new).await.unwrap(), Some(state("new")));
        assert_eq!(store.load(&key).await.unwrap(), None);
    }

    pub(super) async fn updates_at_once_all_succeed_and_one_of_them_stays(engine: Engine) {
        let store = open(&engine);
        let key = store.save(state("0"), &HOUR).await.unwrap();
        let [a, b, c] = ["1", "2", "3"].map(|n| store.update(copy(&key), state(n), &HOUR));
        let done = tokio::join!(a, b, c);
        assert!(done.0.is_ok() && done.1.is_ok() && done.2.is_ok());
        let kept = store.load(&key).await.unwrap().unwrap();
        assert!(["1", "2", "3"].map(state).contains(&kept));
    }
}

on_engines!(actix_web::test, cases:
    a_state_comes_back_as_it_was,
    a_key_that_nobody_has_loads_nothing,
    the_engine_sees_neither_the_key_nor_the_values,
    each_save_has_a_key_of_its_own,
    what_was_deleted_is_not_updated_again,
    what_expired_is_not_loaded_and_not_revived,
    a_longer_ttl_keeps_the_state,
    a_damaged_record_begins_anew_under_another_key,
    updates_at_once_all_succeed_and_one_of_them_stays,
);

#[actix_web::test]
async fn an_engine_that_is_down_or_hangs_is_an_error_that_names_it() {
    use actix_session::storage::{LoadError, SessionStore as _};

    let Some((storage, proxy)) = support::redis_behind_a_proxy().await else { return };
    let store = mocha_session_compat::actix_session_0_11::MochaStore::new(storage).unwrap();
    let hour = actix_web::cookie::time::Duration::HOUR;
    let key = store.save([("a".to_owned(), "1".to_owned())].into(), &hour).await.unwrap();
    for broken in [support::Proxy::down, support::Proxy::hang] {
        broken(&proxy);
        let LoadError::Other(error) = store.load(&key).await.unwrap_err() else {
            panic!("unknown is not absent")
        };
        assert!(error.to_string().starts_with("redis: load: "), "{error}");
        assert!(!format!("{error:?}").contains(key.as_ref()));
        assert!(store.delete(&key).await.is_err(), "a logout that did not happen");
    }
}

#[test]
fn client_side_sessions_are_refused() {
    let storage = mocha_session_core::Storage::client_side();
    let refused = mocha_session_compat::actix_session_0_11::MochaStore::new(storage).unwrap_err();
    assert!(refused.is_invalid_config());
}
