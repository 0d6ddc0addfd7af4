//! Live sessions of tower-sessions (Redis) and actix-session (Redis, cookie) go on as sessions of
//! this library, once: made and read by those libraries' own stores and layers.

#![cfg(all(feature = "tower-sessions-0_14", feature = "actix-session-0_11"))]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/old_sessions.rs"]
mod old_sessions;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_session::SessionMiddleware;
use actix_session::config::CookieContentSecurity;
use actix_web::cookie::Key;
use actix_web::{App, test, web};
use mocha_session_compat::{actix_session_0_11, tower_sessions_0_14};
use mocha_session_conformance::engine_url;
use mocha_session_core::Session;
use old_sessions::{alice, goes_on_once, manager, request, seen, tower, tower_session};
use tower_sessions14::{MemoryStore as OldMemory, SessionStore};

#[tokio::test]
async fn a_session_of_tower_sessions_goes_on_once() {
    let old = OldMemory::default();
    let cookie = tower_session(old.clone()).await;
    goes_on_once(&manager(tower(old)), &cookie).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_tower_sessions_in_redis_goes_on_once() {
    use tower_sessions_redis_store::RedisStore;
    use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};

    let Some(url) = engine_url("MOCHA_TEST_REDIS_URL") else { return };
    let pool = Pool::new(Config::from_url(&url).unwrap(), None, None, None, 1).unwrap();
    // Not `connect` and `wait_for_connect`, which waits for ever if another thread was faster.
    let _connection = pool.init().await.unwrap();
    let old = RedisStore::new(pool.clone());
    let cookie = tower_session(old.clone()).await;
    goes_on_once(&manager(tower(old)), &cookie).await;
}

#[tokio::test]
async fn a_signed_cookie_with_another_name_is_opened_by_the_application() {
    let old = OldMemory::default();
    let id = tower_session(old.clone()).await.replace("id=", "sid=signed:");
    let open = |value: &str| value.strip_prefix("signed:").map(ToOwned::to_owned);
    let manager = manager(tower(old).cookie("sid").open_with(open));
    for forged in [id.replace("signed:", ""), id.replace("sid", "id")] {
        assert_eq!(request(&manager, &forged, seen).await.unwrap().0, (None, None));
    }
    goes_on_once(&manager, &id).await;
}

#[tokio::test]
async fn what_is_no_live_session_begins_none() {
    let manager = manager(tower(OldMemory::default()));
    for cookie in ["id=", "id=malformed", "id=AAAAAAAAAAAAAAAAAAAAAA"] {
        let (seen, headers) = request(&manager, cookie, seen).await.unwrap();
        assert_eq!((seen, headers.set_cookie()), ((None, None), None), "{cookie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_old_session_cannot_be_read_or_ended_the_next_request_tries_again() {
    let Some((storage, proxy)) = support::redis_behind_a_proxy().await else { return };
    let store = tower_sessions_0_14::MochaStore::new(storage).unwrap();
    let cookie = tower_session(store.clone()).await;
    let (down, proxy) = (Arc::new(AtomicBool::new(true)), Arc::new(proxy));
    let old = tower_sessions_0_14::TakeOver::new(store, {
        let (down, proxy) = (Arc::clone(&down), Arc::clone(&proxy));
        move |session, data| {
            // It goes down after the old session was read.
            if down.swap(false, Ordering::Relaxed) {
                proxy.down();
            }
            session.insert("n", &data["n"])?;
            session.login("alice")
        }
    });
    let manager = manager(old);
    // The second time it is still down.
    for _ in 0..2 {
        let refused = request(&manager, &cookie, seen).await.map(|(seen, _)| seen);
        assert!(refused.unwrap_err().is_unavailable());
    }
    proxy.pass();
    for _ in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if let Ok((seen, _)) = request(&manager, &cookie, seen).await {
            assert_eq!(seen, alice());
            break;
        }
    }
    goes_on_once(&manager, &cookie).await;
}

#[tokio::test]
async fn values_that_the_application_refuses_leave_the_old_session_as_it_was() {
    let old = OldMemory::default();
    let cookie = tower_session(old.clone()).await;
    let refuse = |session: &Session, _| session.insert("x".repeat(10_000), 1);
    let manager = manager(tower_sessions_0_14::TakeOver::new(old.clone(), refuse));
    assert!(request(&manager, &cookie, seen).await.is_err());
    let id = cookie.trim_start_matches("id=").parse().unwrap();
    assert!(old.load(&id).await.unwrap().is_some());
}

/// The old application makes a session with its own middleware, in the cookie that it sets.
async fn actix_goes_on<S>(old: impl Fn() -> S, security: CookieContentSecurity)
where
    S: actix_session::storage::SessionStore + Send + Sync + 'static,
{
    let key = Key::generate();
    let signed = matches!(security, CookieContentSecurity::Signed);
    let middleware = SessionMiddleware::builder(old(), key.clone())
        .cookie_content_security(security)
        .cookie_name("sid".to_owned())
        .build();
    let login = async |session: actix_session::Session| {
        session.insert("n", 42).unwrap();
        session.insert("user", "alice").unwrap();
        ""
    };
    let app = App::new().wrap(middleware).route("/", web::get().to(login));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, test::TestRequest::get().to_request()).await;
    let line = response.headers().get("set-cookie").unwrap().to_str().unwrap();
    let cookie = line.split(';').next().unwrap();

    let take_over = actix_session_0_11::TakeOver::new(old(), key, |session, state| {
        let text = |key: &str| serde_json::from_str::<serde_json::Value>(&state[key]).unwrap();
        session.insert("n", text("n"))?;
        session.login(text("user").as_str().unwrap_or_default())
    });
    let take_over = if signed { take_over.signed() } else { take_over };
    let manager = manager(take_over.cookie("sid"));
    let forged = format!("{}x", cookie.trim_end_matches('='));
    assert_eq!(request(&manager, &forged, seen).await.unwrap().0, (None, None));
    goes_on_once(&manager, cookie).await;
}

#[actix_web::test]
async fn a_session_of_actix_session_in_redis_goes_on_once() {
    let Some(url) = engine_url("MOCHA_TEST_REDIS_URL") else { return };
    let store = actix_session::storage::RedisSessionStore::new(url).await.unwrap();
    for security in [CookieContentSecurity::Private, CookieContentSecurity::Signed] {
        actix_goes_on(|| store.clone(), security).await;
    }
}

#[actix_web::test]
async fn a_session_in_a_cookie_of_actix_session_goes_on_once() {
    let store = actix_session::storage::CookieSessionStore::default;
    actix_goes_on(store, CookieContentSecurity::Private).await;
}
