//! axum_session in memory and over Redis.
//!
//! Its mode is its default, `Persistent`: it begins and stores a session for every visitor who has
//! no cookie, and with every answer it sets two cookies, the session's and the removal of one that
//! this mode has no use for. Its cookie is not signed, as is its default.
//!
//! Over Redis it also keeps every session in the memory of the process, for an hour after its last
//! request, and reads it there; a session that did not change is written every ten seconds. So a
//! read costs no round trip, and two processes do not see each other's changes. Its pool asks each
//! connection whether it lives before it gives it out.

use ::axum_session::{
    DatabasePool, SameSite, Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore,
};
use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum_session_redispool::SessionRedisPool;
use mocha_session_bench::axum_client::{AxumClient, see_other};
use mocha_session_bench::data::{self, Item};
use mocha_session_bench::worker::AxumSubject;
use redis_pool::SingleRedisPool;

use crate::TWO_WEEKS;

pub(crate) async fn memory() -> AxumSubject {
    // There is nothing that a session could be loaded from again once it has left the memory.
    subject::<SessionNullPool>(None, config().with_memory_lifetime(TWO_WEEKS)).await
}

pub(crate) async fn redis(url: &str) -> AxumSubject {
    let pool = SingleRedisPool::from(redis::Client::open(url).expect("a URL"));
    subject(Some(SessionRedisPool::from(pool)), config()).await
}

fn config() -> SessionConfig {
    SessionConfig::default()
        .with_lifetime(TWO_WEEKS)
        .with_max_age(Some(TWO_WEEKS))
        .with_secure(true)
        .with_http_only(true)
        .with_cookie_same_site(SameSite::Lax)
        .with_cookie_path("/")
}

async fn subject<T: Pool>(pool: Option<T>, config: SessionConfig) -> AxumSubject {
    let store = SessionStore::new(pool, config).await.expect("a store");
    let router = Router::new()
        .route("/untouched", get(async || "ok"))
        .route("/read", get(read::<T>))
        .route("/items", get(items::<T>))
        .route("/count", get(count::<T>))
        .route("/fill", get(fill::<T>))
        .route("/rotate", get(rotate::<T>))
        .route("/flash", get(flash::<T>))
        .route("/flashed", get(flashed::<T>))
        .layer(SessionLayer::new(store));
    AxumSubject { client: AxumClient::new(router), login: false, sessions: true }
}

/// What a pool must be.
trait Pool: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static {}

impl<T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static> Pool for T {}

async fn read<T: Pool>(session: Session<T>) -> String {
    session.get::<u64>(data::USER).unwrap_or_default().to_string()
}

async fn items<T: Pool>(session: Session<T>) -> String {
    session.get::<Vec<Item>>(data::CART).unwrap_or_default().len().to_string()
}

async fn count<T: Pool>(session: Session<T>) -> String {
    let count = session.get::<u64>(data::COUNTER).unwrap_or(0) + 1;
    session.set(data::COUNTER, count);
    count.to_string()
}

async fn fill<T: Pool>(session: Session<T>) -> &'static str {
    session.set(data::USER, data::USER_ID);
    session.set(data::COUNTER, 0);
    session.set(data::CART, data::cart());
    "filled"
}

async fn rotate<T: Pool>(session: Session<T>) -> &'static str {
    session.renew();
    "rotated"
}

async fn flash<T: Pool>(session: Session<T>) -> Response {
    session.set(data::MESSAGE, data::SAVED);
    see_other().into_response()
}

async fn flashed<T: Pool>(session: Session<T>) -> String {
    session.get_remove::<String>(data::MESSAGE).unwrap_or_default()
}
