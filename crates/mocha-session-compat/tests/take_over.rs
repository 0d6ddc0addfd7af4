//! Live sessions of tower-sessions (Redis) and actix-session (Redis, cookie) go on as sessions of
//! this library, once, read with those libraries' own stores.

#![cfg(all(feature = "tower-sessions-0_14", feature = "actix-session-0_11"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use mocha_session_compat::{actix_session_0_11, tower_sessions_0_14};
use mocha_session_conformance::engine_url;
use mocha_session_core::{HeaderChanges, RequestInfo, Result, Session, SessionManager};
use tower_sessions14::{MemoryStore, SessionStore, session};

/// A request with this cookie header, and what its response tells the browser.
async fn request<T>(
    manager: &SessionManager,
    cookie: &str,
    handler: impl AsyncFnOnce(Session) -> T,
) -> (T, HeaderChanges) {
    let lazy = manager.open(RequestInfo::new(cookie.to_owned()));
    let answer = handler(lazy.load().await.unwrap()).await;
    (answer, manager.finish(&lazy, 200).await.into_result().unwrap())
}

/// The cookie that a response sets.
fn cookie(headers: &HeaderChanges) -> String {
    headers.set_cookie().unwrap().split(';').next().unwrap().to_owned()
}

/// The values of the old session: a counter, and who is logged in.
fn adopt(session: &Session, n: u64, user: &str) -> Result<()> {
    session.insert("n", n)?;
    session.login(user)
}

async fn take_tower(session: &Session, old: &impl SessionStore, id: &str) -> Result<bool> {
    tower_sessions_0_14::take_over(session, old, id, |session, data| {
        adopt(session, data["n"].as_u64().unwrap(), data["user"].as_str().unwrap())
    })
    .await
}

/// A live session as the old application stored it, and the value of its cookie.
async fn tower_session<S: SessionStore>(old: Arc<S>) -> String {
    let session = session::Session::new(None, old, None);
    session.insert("n", 42).await.unwrap();
    session.insert("user", "alice").await.unwrap();
    session.save().await.unwrap();
    session.id().unwrap().to_string()
}

async fn goes_on_once<S: SessionStore>(old: S) {
    let old = Arc::new(old);
    let id = tower_session(Arc::clone(&old)).await;
    let manager = SessionManager::in_memory().unwrap();
    let first = request(&manager, "", async |session| take_tower(&session, &*old, &id).await);
    let (taken, headers) = first.await;
    assert!(taken.unwrap());
    let ours = cookie(&headers);

    let next = request(&manager, &ours, async |session| {
        assert_eq!(session.owner().as_deref(), Some("alice"));
        assert_eq!(session.get::<u64>("n").unwrap(), Some(42));
        take_tower(&session, &*old, &id).await.unwrap()
    });
    assert!(!next.await.0, "it has a session of ours");
    assert_eq!(manager.sessions_of("alice").await.unwrap().len(), 1);

    request(&manager, &ours, async |session| session.destroy().unwrap()).await;
    let replayed = request(&manager, "", async |session| take_tower(&session, &*old, &id).await);
    let (taken, headers) = replayed.await;
    assert!(!taken.unwrap() && headers.set_cookie().is_none(), "a logout is final");
    assert_eq!(manager.sessions_of("alice").await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_session_of_tower_sessions_goes_on_once() {
    goes_on_once(MemoryStore::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_tower_sessions_in_redis_goes_on_once() {
    use tower_sessions_redis_store::RedisStore;
    use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};

    let Some(url) = engine_url("MOCHA_TEST_REDIS_URL") else { return };
    let pool = Pool::new(Config::from_url(&url).unwrap(), None, None, None, 1).unwrap();
    let connection = pool.connect();
    pool.wait_for_connect().await.unwrap();
    goes_on_once(RedisStore::new(pool.clone())).await;
    pool.quit().await.unwrap();
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_live_session_begins_none() {
    let old = MemoryStore::default();
    let manager = SessionManager::in_memory().unwrap();
    for id in ["", "malformed", "AAAAAAAAAAAAAAAAAAAAAA"] {
        let none = request(&manager, "", async |session| take_tower(&session, &old, id).await);
        let (taken, headers) = none.await;
        assert!(!taken.unwrap() && headers.set_cookie().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_old_session_cannot_be_read_or_ended_nothing_is_taken_over() {
    let Some((storage, proxy)) = support::redis_behind_a_proxy().await else { return };
    let old = Arc::new(tower_sessions_0_14::MochaStore::new(storage).unwrap());
    let id = tower_session(Arc::clone(&old)).await;
    let manager = SessionManager::in_memory().unwrap();

    // It goes down after the old session was read.
    let (taken, _) = request(&manager, "", async |session| {
        tower_sessions_0_14::take_over(&session, &*old, &id, |session, _| {
            proxy.down();
            adopt(session, 42, "alice")
        })
        .await
    })
    .await;
    assert!(taken.unwrap_err().is_unavailable());
    assert_eq!(manager.sessions_of("alice").await.unwrap().len(), 0);

    // It is still down.
    let down = request(&manager, "", async |session| take_tower(&session, &*old, &id).await);
    let (taken, headers) = down.await;
    assert!(taken.unwrap_err().is_unavailable() && headers.set_cookie().is_none());

    // It is back, and the user is still logged in.
    proxy.pass();
    for _ in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let back = request(&manager, "", async |session| take_tower(&session, &*old, &id).await);
        if back.await.0.is_ok() {
            break;
        }
    }
    assert_eq!(manager.sessions_of("alice").await.unwrap().len(), 1);
}

#[tokio::test]
async fn values_that_the_application_refuses_leave_the_old_session_as_it_was() {
    let old = Arc::new(MemoryStore::default());
    let id = tower_session(Arc::clone(&old)).await;
    let manager = SessionManager::in_memory().unwrap();
    let (taken, _) = request(&manager, "", async |session| {
        let refuse = |session: &Session, _| session.insert("x".repeat(10_000), 1);
        tower_sessions_0_14::take_over(&session, &*old, &id, refuse).await
    })
    .await;
    assert!(taken.is_err());
    assert!(old.load(&id.parse().unwrap()).await.unwrap().is_some());
}

async fn actix_goes_on<S: actix_session::storage::SessionStore>(old: S, ends: bool) {
    let hour = actix_web::cookie::time::Duration::HOUR;
    let state = [("n", "42"), ("user", "\"alice\"")];
    let state = state.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let key = old.save(state, &hour).await.unwrap();
    let manager = SessionManager::in_memory().unwrap();
    for expected in [true, !ends] {
        let (taken, headers) = request(&manager, "", async |session| {
            actix_session_0_11::take_over(&session, &old, &key, |session, state| {
                let user: String = serde_json::from_str(&state["user"]).unwrap();
                adopt(session, state["n"].parse().unwrap(), &user)
            })
            .await
        })
        .await;
        assert_eq!(taken.unwrap(), expected);
        if expected {
            let cookie = cookie(&headers);
            let ours = request(&manager, &cookie, async |session| {
                (session.owner(), session.get::<u64>("n").unwrap())
            });
            assert_eq!(ours.await.0, (Some("alice".to_owned()), Some(42)));
        }
    }
}

#[actix_web::test]
async fn a_session_of_actix_session_in_redis_goes_on_once() {
    let Some(url) = engine_url("MOCHA_TEST_REDIS_URL") else { return };
    actix_goes_on(actix_session::storage::RedisSessionStore::new(url).await.unwrap(), true).await;
}

/// Nothing can end a session that only its cookie has.
#[actix_web::test]
async fn a_session_in_a_cookie_of_actix_session_goes_on() {
    actix_goes_on(actix_session::storage::CookieSessionStore::default(), false).await;
}
