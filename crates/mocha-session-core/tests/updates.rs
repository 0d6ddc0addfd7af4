//! Changing a value in one step: atomic, also where the change removes or refuses, and no write
//! where nothing changed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::mpsc;
use std::time::Duration;

use mocha_session_core::{Error, Level, Session};
use serde::{Deserialize, Deserializer, Serialize};
use support::{App, Browser};

#[derive(Debug)]
enum Shop {
    SoldOut,
    Session(Error),
}

impl From<Error> for Shop {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

/// Takes one of what is left; the last one removes the value.
fn buy(session: &Session) -> Result<Option<u32>, Shop> {
    session.try_update("left", |left: Option<u32>| match left {
        None => Err(Shop::SoldOut),
        Some(1) => Ok(None),
        Some(left) => Ok(Some(left - 1)),
    })
}

async fn stocked(app: &App, left: u32) -> Browser {
    let mut browser = Browser::new();
    browser
        .request(&app.manager, |session| {
            session.insert("left", left).unwrap();
            session.insert("owner", "shop").unwrap();
        })
        .await;
    browser
}

#[tokio::test]
async fn try_update_changes_removes_and_refuses() {
    let app = App::new();
    let mut browser = stocked(&app, 2).await;
    let left = |answer: Result<Option<u32>, Shop>| answer.unwrap();
    assert_eq!(left(browser.request(&app.manager, buy).await), Some(1));
    assert_eq!(left(browser.request(&app.manager, buy).await), None);
    assert_eq!(browser.get::<u32>(&app.manager, "left").await, None, "removed");
    app.store.reset_calls();
    let refused = browser.request(&app.manager, buy).await;
    assert!(matches!(refused, Err(Shop::SoldOut)), "{refused:?}");
    assert_eq!(app.store.calls().update, 0, "a refusal changes nothing");
    let refused = browser.request(&app.manager, |session| {
        session.insert("left", "many").unwrap();
        buy(session)
    });
    assert!(matches!(refused.await, Err(Shop::Session(error)) if error.is_invalid_input()));
}

#[tokio::test]
async fn try_update_is_done_again_on_what_another_request_wrote() {
    let app = App::new();
    let mut browser = stocked(&app, 3).await;
    let (lazy, session) = browser.start(&app.manager).await;
    assert_eq!(buy(&session).unwrap(), Some(2));
    browser.clone().request(&app.other_process(), buy).await.unwrap();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u32>(&app.manager, "left").await, Some(1));
    // Both take the last but one: the second removes the value.
    browser.request(&app.manager, |session| session.insert("left", 2)).await.unwrap();
    let (lazy, session) = browser.start(&app.manager).await;
    assert_eq!(buy(&session).unwrap(), Some(1));
    browser.clone().request(&app.other_process(), buy).await.unwrap();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u32>(&app.manager, "left").await, None);
}

#[tokio::test]
async fn try_update_that_refuses_at_the_commit_is_a_conflict_and_nothing_is_written() {
    let app = App::new();
    let browser = stocked(&app, 1).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("other", 1).unwrap();
    assert_eq!(buy(&session).unwrap(), None);
    browser.clone().request(&app.other_process(), buy).await.unwrap();
    let error = app.manager.finish(&lazy, 200).await.into_result().unwrap_err();
    assert!(error.is_conflict() && error.to_string().contains("`left`"), "{error}");
    assert_eq!(error.http_status(), 409);
    assert_eq!(browser.get::<u8>(&app.manager, "other").await, None);
    assert_eq!(browser.get::<String>(&app.manager, "owner").await.as_deref(), Some("shop"));
}

#[tokio::test]
async fn an_update_that_changes_nothing_on_a_map_or_set_writes_nothing() {
    type Map = HashMap<String, HashSet<u32>>;
    let app = App::new();
    let mut browser = Browser::new();
    let map: Map = (0..50).map(|key| (key.to_string(), (0..50).collect())).collect();
    browser.request(&app.manager, |session| session.insert("map", map)).await.unwrap();
    app.store.reset_calls();
    browser.request(&app.manager, |session| session.modify("map", |_: &mut Map| ())).await.unwrap();
    let update = |session: &Session| session.update("map", |map: Option<Map>| map.unwrap());
    assert_eq!(browser.request(&app.manager, update).await.unwrap().len(), 50);
    let keep = |session: &Session| session.try_update("map", Ok::<Option<Map>, Error>);
    assert_eq!(browser.request(&app.manager, keep).await.unwrap().unwrap().len(), 50);
    assert_eq!((app.store.calls().update, app.store.calls().create), (0, 0));
    let remove = |map: &mut Map| drop(map.remove("7"));
    assert!(browser.request(&app.manager, |session| session.modify("map", remove)).await.unwrap());
    assert_eq!(app.store.calls().update, 1);
    assert_eq!(browser.get::<Map>(&app.manager, "map").await.unwrap().len(), 49);
}

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

fn looks_at_the_session() {
    SESSION.with_borrow(|session| session.as_ref().map(|session| session.contains("other")));
}

/// A type whose serde code, and a name whose text, use the session.
#[derive(Debug, PartialEq)]
struct Nosy(u32);

impl Serialize for Nosy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        looks_at_the_session();
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Nosy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        looks_at_the_session();
        u32::deserialize(deserializer).map(Self)
    }
}

impl AsRef<str> for Nosy {
    fn as_ref(&self) -> &'static str {
        looks_at_the_session();
        "nosy"
    }
}

impl From<Nosy> for String {
    fn from(_: Nosy) -> Self {
        looks_at_the_session();
        "text".into()
    }
}

/// Runs it where a deadlock is a failure and not a hanging test.
fn in_time(work: impl FnOnce(&Session) + Send + 'static) {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let session = Session::in_memory().unwrap();
        SESSION.set(Some(session.clone()));
        work(&session);
        done.send(()).unwrap();
    });
    wait.recv_timeout(Duration::from_secs(10))
        .expect("a lock was held while the caller's code ran");
}

#[test]
fn no_lock_is_held_while_a_type_or_name_uses_the_session() {
    in_time(|session| {
        session.insert(Nosy(0), Nosy(1)).unwrap();
        assert_eq!(session.keys(), ["nosy"]);
        assert_eq!(session.get::<Nosy>("nosy").unwrap(), Some(Nosy(1)));
        assert_eq!(session.update("nosy", |_: Option<Nosy>| Nosy(2)).unwrap(), Nosy(2));
        assert!(session.modify(Nosy(0), |value: &mut Nosy| value.0 += 1).unwrap());
        let add = |value: Option<Nosy>| Ok::<_, Error>(value.map(|value| Nosy(value.0 + 1)));
        assert_eq!(session.try_update("nosy", add).unwrap(), Some(Nosy(4)));
        assert!(session.contains(Nosy(0)));
        assert_eq!(session.take::<Nosy>(Nosy(0)).unwrap(), Some(Nosy(4)));
        assert_eq!(session.get_or_insert_with(Nosy(0), || Nosy(5)).unwrap(), Nosy(5));
        assert!(session.remove(Nosy(0)).unwrap());
        session.set_label(Nosy(0)).unwrap();
    });
}

#[tokio::test]
async fn no_lock_is_held_while_flash_data_and_messages_are_read() {
    let app = App::new();
    let mut browser = Browser::new();
    browser
        .request_status(&app.manager, 303, |session| {
            session.flash().set_data(&Nosy(1)).unwrap().set_data_for("slot", &Nosy(2)).unwrap();
        })
        .await;
    let (_, session) = browser.start(&app.manager).await;
    in_time(move |_| {
        SESSION.set(Some(session.clone()));
        let flash = session.flash();
        assert_eq!(flash.take_data::<Nosy>().unwrap(), Some(Nosy(1)));
        assert_eq!(flash.take_data_for::<Nosy>("slot").unwrap(), Some(Nosy(2)));
        flash.info(Nosy(0)).unwrap().now(Level::Info, Nosy(0));
        flash.set_data(&Nosy(3)).unwrap();
    });
}
