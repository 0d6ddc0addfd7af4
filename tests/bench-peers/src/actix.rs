//! actix-session over actix-web: in the cookie, over Redis, and the bare handler that they are to
//! be compared with.
//!
//! It opens the cookie and loads the session before the handler, used or not. Both cookies are
//! encrypted, as is its default. A session in the cookie has no id: `renew` seals the same content
//! anew, and the old cookie stays good.

use actix_session::config::PersistentSession;
use actix_session::storage::{CookieSessionStore, RedisSessionStore, SessionStore};
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::{Key, SameSite};
use actix_web::http::header;
use actix_web::{App, Error, HttpResponse, test, web};
use mocha_session_bench::actix_client::{ActixSubject, untouched};
use mocha_session_bench::actix_routes;
use mocha_session_bench::data::{self, Item};
use mocha_session_bench::visitor::Subject;

use crate::TWO_WEEKS;

pub(crate) fn floor() -> impl Subject {
    ActixSubject(async || {
        test::init_service(App::new().route("/untouched", web::get().to(untouched))).await
    })
}

pub(crate) fn cookie() -> impl Subject {
    with_sessions(CookieSessionStore::default)
}

/// Over the one connection that its store has.
pub(crate) async fn redis(url: &str) -> impl Subject + use<> {
    let store = RedisSessionStore::new(url).await.expect("a server that answers");
    with_sessions(move || store.clone())
}

fn with_sessions<S: SessionStore + 'static>(
    store: impl Fn() -> S + Clone + Send + 'static,
) -> impl Subject {
    let key = Key::generate();
    ActixSubject(async move || {
        let sessions = sessions(store(), key.clone());
        test::init_service(actix_routes!(App::new().wrap(sessions))).await
    })
}

fn sessions<S: SessionStore>(store: S, key: Key) -> SessionMiddleware<S> {
    SessionMiddleware::builder(store, key)
        .session_lifecycle(PersistentSession::default().session_ttl(TWO_WEEKS))
        .cookie_secure(true)
        .cookie_http_only(true)
        .cookie_same_site(SameSite::Lax)
        .cookie_path("/".to_owned())
        .build()
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(session.get::<u64>(data::USER)?.unwrap_or_default().to_string())
}

async fn items(session: Session) -> Result<String, Error> {
    Ok(session.get::<Vec<Item>>(data::CART)?.unwrap_or_default().len().to_string())
}

async fn count(session: Session) -> Result<String, Error> {
    let count = session.get::<u64>(data::COUNTER)?.unwrap_or(0) + 1;
    session.insert(data::COUNTER, count)?;
    Ok(count.to_string())
}

async fn fill(session: Session) -> Result<&'static str, Error> {
    session.insert(data::USER, data::USER_ID)?;
    session.insert(data::COUNTER, 0)?;
    session.insert(data::CART, data::cart())?;
    Ok("filled")
}

async fn rotate(session: Session) -> &'static str {
    session.renew();
    "rotated"
}

async fn flash(session: Session) -> Result<HttpResponse, Error> {
    session.insert(data::MESSAGE, data::SAVED)?;
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/flashed")).finish())
}

async fn flashed(session: Session) -> String {
    session.remove_as::<String>(data::MESSAGE).and_then(Result::ok).unwrap_or_default()
}
