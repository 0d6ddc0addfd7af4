//! The store trait of tower-sessions 0.14 and 0.15, on each engine.

#![cfg(all(feature = "tower-sessions-0_14", feature = "tower-sessions-0_15"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::on_engines;

macro_rules! version {
    ($version:ident, $peer:ident, $store:ident) => {
        mod $version {
            mod cases {
                use std::collections::HashSet;
                use std::sync::Arc;

                use mocha_session_compat::$store::MochaStore;
                use $peer::cookie::time::{Duration, OffsetDateTime};
                use $peer::session::{Id, Record};
                use $peer::session_store::{Error, ExpiredDeletion};
                use $peer::{CachingSessionStore, MemoryStore, Session, SessionStore};

                use crate::support::Engine;

                fn record(lifetime: Duration) -> Record {
                    let data = [
                        ("name", "hunter2".into()),
                        ("n", 42.into()),
                        ("float", 0.1.into()),
                        ("big", u64::MAX.into()),
                        ("none", ().into()),
                        ("list", vec![1, 2, 3].into()),
                    ];
                    Record {
                        id: Id::default(),
                        data: data.map(|(key, value)| (key.to_owned(), value)).into(),
                        expiry_date: OffsetDateTime::now_utc() + lifetime,
                    }
                }

                fn open(engine: &Engine) -> MochaStore {
                    MochaStore::new(engine.storage.clone()).unwrap()
                }

                async fn stored(store: &MochaStore, lifetime: Duration) -> Record {
                    let mut record = record(lifetime);
                    store.create(&mut record).await.unwrap();
                    record
                }

                pub(super) async fn a_record_comes_back_as_it_was(engine: Engine) {
                    let store = open(&engine);
                    let mut record = stored(&store, Duration::hours(1)).await;
                    assert_eq!(store.load(&record.id).await.unwrap(), Some(record.clone()));

                    record.data.insert("name".to_owned(), "changed".into());
                    record.expiry_date += Duration::days(400_000);
                    store.save(&record).await.unwrap();
                    let other_process = MochaStore::new(engine.other_process().await).unwrap();
                    assert_eq!(other_process.load(&record.id).await.unwrap(), Some(record));
                    assert_eq!(store.load(&Id::default()).await.unwrap(), None);
                }

                pub(super) async fn the_engine_sees_neither_the_id_nor_the_values(engine: Engine) {
                    let store = open(&engine);
                    let record = stored(&store, Duration::hours(1)).await;
                    assert!(engine.hides("hunter2").await);
                    assert!(engine.hides(&record.id.to_string()).await);
                    assert!(!format!("{store:?}").contains("hunter2"));
                }

                pub(super) async fn create_overwrites_nothing_and_takes_no_id_from_the_client(
                    engine: Engine,
                ) {
                    let store = open(&engine);
                    let first = stored(&store, Duration::hours(1)).await;
                    let mut planted = first.clone();
                    planted.data.clear();
                    store.create(&mut planted).await.unwrap();
                    assert_ne!(planted.id, first.id);
                    assert_eq!(store.load(&first.id).await.unwrap(), Some(first));
                    assert_eq!(store.load(&planted.id).await.unwrap(), Some(planted));
                }

                pub(super) async fn creates_at_once_get_ids_of_their_own(engine: Engine) {
                    let store = Arc::new(open(&engine));
                    let same = record(Duration::hours(1));
                    let creates: Vec<_> = (0..8)
                        .map(|_| {
                            let (store, mut record) = (Arc::clone(&store), same.clone());
                            tokio::spawn(async move {
                                store.create(&mut record).await.unwrap();
                                record.id
                            })
                        })
                        .collect();
                    let mut ids = HashSet::new();
                    for create in creates {
                        assert!(ids.insert(create.await.unwrap()));
                    }
                    assert_eq!(engine.live().await, 8);
                }

                pub(super) async fn what_was_deleted_is_not_saved_again(engine: Engine) {
                    let store = open(&engine);
                    let record = stored(&store, Duration::hours(1)).await;
                    store.delete(&record.id).await.unwrap();
                    store.delete(&record.id).await.unwrap();
                    store.delete(&Id::default()).await.unwrap();
                    assert_eq!(store.load(&record.id).await.unwrap(), None);
                    let refused = store.save(&record).await.unwrap_err();
                    assert!(matches!(&refused, Error::Backend(why) if why.contains("gone")));
                    assert_eq!(store.load(&record.id).await.unwrap(), None);
                    assert_eq!(engine.live().await, 0);
                }

                pub(super) async fn save_begins_no_session_under_an_unknown_id(engine: Engine) {
                    let store = open(&engine);
                    let mut unknown = record(Duration::hours(1));
                    assert!(store.save(&unknown).await.is_err());
                    assert_eq!(store.load(&unknown.id).await.unwrap(), None);
                    // A session that was cleared under the cookie of an expired one.
                    unknown.data.clear();
                    store.save(&unknown).await.unwrap();
                    assert_eq!(store.load(&unknown.id).await.unwrap(), None);
                    assert!(engine.records().await.is_empty());
                }

                pub(super) async fn what_expired_is_not_loaded_and_not_revived(engine: Engine) {
                    let store = open(&engine);
                    let mut past = stored(&store, Duration::seconds(-1)).await;
                    assert_eq!(store.load(&past.id).await.unwrap(), None);
                    let mut short = stored(&store, Duration::milliseconds(1_500)).await;
                    assert!(store.load(&short.id).await.unwrap().is_some());
                    tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
                    for record in [&mut past, &mut short] {
                        assert_eq!(store.load(&record.id).await.unwrap(), None);
                        record.expiry_date = OffsetDateTime::now_utc() + Duration::hours(1);
                        assert!(store.save(record).await.is_err());
                        assert_eq!(store.load(&record.id).await.unwrap(), None);
                    }
                    // A date in the past ends a session at once.
                    let mut ended = stored(&store, Duration::hours(1)).await;
                    ended.expiry_date = OffsetDateTime::UNIX_EPOCH - Duration::days(1);
                    store.save(&ended).await.unwrap();
                    assert_eq!(store.load(&ended.id).await.unwrap(), None);
                    store.delete_expired().await.unwrap();
                }

                pub(super) async fn saves_at_once_all_succeed_and_one_of_them_stays(
                    engine: Engine,
                ) {
                    let store = open(&engine);
                    let other_process = MochaStore::new(engine.other_process().await).unwrap();
                    let record = stored(&store, Duration::hours(1)).await;
                    let saves: Vec<_> = (0..6)
                        .map(|n| {
                            let mut record = record.clone();
                            record.data.insert("n".to_owned(), n.into());
                            let store = if n % 2 == 0 { &store } else { &other_process }.clone();
                            tokio::spawn(async move { store.save(&record).await })
                        })
                        .collect();
                    for save in saves {
                        save.await.unwrap().unwrap();
                    }
                    let n = store.load(&record.id).await.unwrap().unwrap().data["n"].as_i64();
                    assert!((0..6).contains(&n.unwrap()));
                }

                pub(super) async fn a_damaged_record_is_a_decode_error_until_it_is_deleted(
                    engine: Engine,
                ) {
                    let store = open(&engine);
                    let record = stored(&store, Duration::hours(1)).await;
                    engine.damage().await;
                    let error = store.load(&record.id).await.unwrap_err();
                    let Error::Decode(text) = &error else { panic!("{error:?}") };
                    assert!(!text.contains(&record.id.to_string()), "{text}");
                    assert!(matches!(store.save(&record).await, Err(Error::Decode(_))));
                    store.delete(&record.id).await.unwrap();
                    assert_eq!(store.load(&record.id).await.unwrap(), None);
                }

                pub(super) async fn it_stands_behind_a_cache(engine: Engine) {
                    let caching = CachingSessionStore::new(MemoryStore::default(), open(&engine));
                    let mut record = record(Duration::hours(1));
                    caching.create(&mut record).await.unwrap();
                    assert_eq!(caching.load(&record.id).await.unwrap(), Some(record.clone()));
                    // Another process has an empty cache.
                    let other_process = MochaStore::new(engine.other_process().await).unwrap();
                    let other = CachingSessionStore::new(MemoryStore::default(), other_process);
                    assert_eq!(other.load(&record.id).await.unwrap(), Some(record.clone()));
                    other.delete(&record.id).await.unwrap();
                    assert_eq!(other.load(&record.id).await.unwrap(), None);
                }

                pub(super) async fn a_session_that_was_flushed_goes_on_under_a_new_id(
                    engine: Engine,
                ) {
                    let store = Arc::new(open(&engine));
                    let old = stored(&store, Duration::hours(1)).await.id;
                    // One id that was live, and one that a stranger planted.
                    for id in [old, Id::default()] {
                        let session = Session::new(Some(id), Arc::clone(&store), None);
                        session.flush().await.unwrap();
                        session.insert("name", "new").await.unwrap();
                        session.save().await.unwrap();
                        assert_ne!(session.id().unwrap(), id);
                        assert_eq!(store.load(&id).await.unwrap(), None);
                    }
                }
            }

            use super::on_engines;

            on_engines!(tokio::test(flavor = "multi_thread"), cases:
                a_record_comes_back_as_it_was,
                the_engine_sees_neither_the_id_nor_the_values,
                create_overwrites_nothing_and_takes_no_id_from_the_client,
                creates_at_once_get_ids_of_their_own,
                what_was_deleted_is_not_saved_again,
                save_begins_no_session_under_an_unknown_id,
                what_expired_is_not_loaded_and_not_revived,
                saves_at_once_all_succeed_and_one_of_them_stays,
                a_damaged_record_is_a_decode_error_until_it_is_deleted,
                it_stands_behind_a_cache,
                a_session_that_was_flushed_goes_on_under_a_new_id,
            );
        }
    };
}

version!(v0_14, tower_sessions14, tower_sessions_0_14);
version!(v0_15, tower_sessions15, tower_sessions_0_15);

mod between_versions {
    use mocha_session_compat::{Records, tower_sessions_0_14, tower_sessions_0_15};
    use mocha_session_core::{Migrating, Requirement, SessionManager, Storage};
    use tower_sessions14::cookie::time::{Duration, OffsetDateTime};
    use tower_sessions14::{SessionStore as _, session};
    use tower_sessions15::SessionStore as _;

    use crate::support;

    fn record() -> session::Record {
        session::Record {
            id: session::Id::default(),
            data: [("name".to_owned(), "hunter2".into())].into(),
            expiry_date: OffsetDateTime::now_utc() + Duration::hours(1),
        }
    }

    #[tokio::test]
    async fn an_update_of_tower_sessions_logs_nobody_out() {
        let engine = support::memory().await.unwrap();
        let old = tower_sessions_0_14::MochaStore::new(engine.storage.clone()).unwrap();
        let mut record = record();
        old.create(&mut record).await.unwrap();
        let new = tower_sessions_0_15::MochaStore::new(engine.storage).unwrap();
        let id = tower_sessions15::session::Id(record.id.0);
        assert_eq!(new.load(&id).await.unwrap().unwrap().data, record.data);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_engine_logs_nobody_out() {
        let (old, new) = (support::memory().await.unwrap(), support::sqlite().await.unwrap());
        let before = tower_sessions_0_14::MochaStore::new(old.storage.clone()).unwrap();
        let mut record = record();
        before.create(&mut record).await.unwrap();
        let store = |engine: &support::Engine| engine.storage.store().unwrap().clone();
        let both = Migrating::new(store(&old), store(&new));
        let both = tower_sessions_0_14::MochaStore::new(both).unwrap();
        assert_eq!(both.load(&record.id).await.unwrap(), Some(record.clone()));
        record.data.insert("moved".to_owned(), true.into());
        both.save(&record).await.unwrap();
        assert_eq!((old.live().await, new.live().await), (0, 1));
        let after = tower_sessions_0_14::MochaStore::new(new.storage.clone()).unwrap();
        assert_eq!(after.load(&record.id).await.unwrap(), Some(record.clone()));
        both.delete(&record.id).await.unwrap();
        assert!(both.save(&record).await.is_err());
        assert_eq!(new.live().await, 0);
    }

    fn records(storage: &Storage, scope: &str) -> Records {
        let builder = SessionManager::builder(storage.clone()).scope(scope);
        builder.max_record_bytes(2048).require(Requirement::FinalLogout).records().unwrap()
    }

    #[tokio::test]
    async fn two_applications_on_one_engine_accept_nothing_from_each_other() {
        let storage = support::memory().await.unwrap().storage;
        let shop = tower_sessions_0_14::MochaStore::from(records(&storage, "shop"));
        let admin = tower_sessions_0_14::MochaStore::from(records(&storage, "admin"));
        let mut record = record();
        shop.create(&mut record).await.unwrap();
        assert_eq!(admin.load(&record.id).await.unwrap(), None);
        admin.delete(&record.id).await.unwrap();
        assert!(shop.load(&record.id).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_session_over_the_limit_is_refused_and_the_stored_one_stays() {
        let storage = support::memory().await.unwrap().storage;
        let store = tower_sessions_0_14::MochaStore::from(records(&storage, "shop"));
        let mut record = record();
        store.create(&mut record).await.unwrap();
        let mut large = record.clone();
        large.data.insert("large".to_owned(), "x".repeat(2048).into());
        let refused = store.save(&large).await.unwrap_err().to_string();
        assert!(refused.starts_with("memory: ") && refused.contains("2048"), "{refused}");
        assert!(store.create(&mut large).await.is_err());
        assert_eq!(store.load(&record.id).await.unwrap(), Some(record));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_engine_that_is_down_or_hangs_is_an_error_that_names_it() {
        let Some((storage, proxy)) = support::redis_behind_a_proxy().await else { return };
        let store = tower_sessions_0_14::MochaStore::new(storage).unwrap();
        let mut record = record();
        store.create(&mut record).await.unwrap();
        for broken in [support::Proxy::down, support::Proxy::hang] {
            broken(&proxy);
            let error = store.load(&record.id).await.unwrap_err().to_string();
            assert!(error.starts_with("redis: load: "), "{error}");
            assert!(!error.contains(&record.id.to_string()) && !error.contains("hunter2"));
            assert!(store.delete(&record.id).await.is_err(), "a logout that did not happen");
        }
        proxy.pass();
        proxy.cut();
        let mut loaded = store.load(&record.id).await;
        for _ in 0..20 {
            if loaded.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            loaded = store.load(&record.id).await;
        }
        assert_eq!(loaded.unwrap(), Some(record), "unknown is not absent");
    }

    #[test]
    fn client_side_sessions_are_refused() {
        let refused = tower_sessions_0_14::MochaStore::new(Storage::client_side()).unwrap_err();
        assert!(refused.is_invalid_config());
        assert!(tower_sessions_0_15::MochaStore::new(Storage::client_side()).is_err());
    }
}
