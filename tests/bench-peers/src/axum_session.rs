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
use axum::extract::FromRequestParts;
use axum_session_redispool::SessionRedisPool;
use http::request::Parts;
use mocha_session_bench::axum_client::{Values, routes};
use redis_pool::SingleRedisPool;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TWO_WEEKS;

pub(crate) async fn memory() -> Router {
    // There is nothing that a session could be loaded from again once it has left the memory.
    router::<SessionNullPool>(None, config().with_memory_lifetime(TWO_WEEKS)).await
}

pub(crate) async fn redis(url: &str) -> Router {
    let pool = SingleRedisPool::from(redis::Client::open(url).expect("a URL"));
    router(Some(SessionRedisPool::from(pool)), config()).await
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

async fn router<T: Pool>(pool: Option<T>, config: SessionConfig) -> Router {
    let store = SessionStore::new(pool, config).await.expect("a store");
    routes::<Its<T>>().layer(SessionLayer::new(store))
}

/// What a pool must be.
trait Pool: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static {}

impl<T: DatabasePool + Clone + std::fmt::Debug + Sync + Send + 'static> Pool for T {}

struct Its<T: Pool>(Session<T>);

impl<T: Pool> FromRequestParts<()> for Its<T> {
    type Rejection = <Session<T> as FromRequestParts<()>>::Rejection;

    async fn from_request_parts(parts: &mut Parts, (): &()) -> Result<Self, Self::Rejection> {
        Session::from_request_parts(parts, &()).await.map(Self)
    }
}

impl<P: Pool> Values for Its<P> {
    async fn get<T: DeserializeOwned>(&self, name: &'static str) -> Option<T> {
        self.0.get(name)
    }

    async fn insert<T: Serialize>(&self, name: &'static str, value: T) {
        self.0.set(name, value);
    }

    async fn remove<T: DeserializeOwned>(&self, name: &'static str) -> Option<T> {
        self.0.get_remove(name)
    }

    async fn rotate(&self) {
        self.0.renew();
    }
}
