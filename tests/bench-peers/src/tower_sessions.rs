//! tower-sessions in memory and over its stores for Redis, SQLite and PostgreSQL.
//!
//! Its cookie is neither signed nor encrypted, as is its default. It loads a session when a handler
//! first asks for it, and sets its cookie again at each change.

use std::str::FromStr;

use axum::Router;
use tower_sessions::MemoryStore;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};
use tower_sessions_sqlx_store::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous,
};
use tower_sessions_sqlx_store::sqlx::{PgPool, SqlitePool};
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

/// As many connections as in the documentation of the store.
const REDIS_CONNECTIONS: usize = 6;

pub(crate) fn memory() -> Router {
    newest::router(MemoryStore::default())
}

pub(crate) async fn redis(url: &str) -> Router {
    let config = Config::from_url(url).expect("a URL");
    let pool = Pool::new(config, None, None, None, REDIS_CONNECTIONS).expect("a pool");
    pool.init().await.expect("a server that answers");
    for_stores::router(RedisStore::new(pool))
}

/// With a write-ahead log that is not flushed at each commit, as this library's own store has it:
/// the default of sqlx waits for the disk, which would be all that is measured.
pub(crate) async fn sqlite(url: &str) -> Router {
    let options = SqliteConnectOptions::from_str(url)
        .expect("a URL")
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let store =
        SqliteStore::new(SqlitePool::connect_with(options).await.expect("a file that opens"));
    store.migrate().await.expect("a table");
    for_stores::router(store)
}

pub(crate) async fn postgres(url: &str) -> Router {
    let store = PostgresStore::new(PgPool::connect(url).await.expect("a server that answers"));
    store.migrate().await.expect("a table");
    for_stores::router(store)
}

/// The application, over one version of the library: what a store of one implements is nothing to
/// the other.
macro_rules! application {
    ($module:ident, $library:ident) => {
        mod $module {
            use ::$library::cookie::SameSite;
            use ::$library::{Expiry, Session, SessionManagerLayer, SessionStore};
            use axum::Router;
            use axum::extract::FromRequestParts;
            use http::request::Parts;
            use mocha_session_bench::axum_client::{Values, routes};
            use serde::Serialize;
            use serde::de::DeserializeOwned;

            pub(super) fn router(store: impl SessionStore + Clone) -> Router {
                let sessions = SessionManagerLayer::new(store)
                    .with_expiry(Expiry::OnInactivity(crate::TWO_WEEKS))
                    .with_secure(true)
                    .with_http_only(true)
                    .with_same_site(SameSite::Lax)
                    .with_path("/");
                routes::<Its>().layer(sessions)
            }

            struct Its(Session);

            impl FromRequestParts<()> for Its {
                type Rejection = <Session as FromRequestParts<()>>::Rejection;

                async fn from_request_parts(
                    parts: &mut Parts,
                    (): &(),
                ) -> Result<Self, Self::Rejection> {
                    Session::from_request_parts(parts, &()).await.map(Self)
                }
            }

            impl Values for Its {
                async fn get<T: DeserializeOwned + Send>(&self, name: &'static str) -> Option<T> {
                    self.0.get(name).await.unwrap()
                }

                async fn insert<T: Serialize + Send + Sync>(&self, name: &'static str, value: T) {
                    self.0.insert(name, value).await.unwrap();
                }

                async fn remove<T: DeserializeOwned + Send>(
                    &self,
                    name: &'static str,
                ) -> Option<T> {
                    self.0.remove(name).await.unwrap()
                }

                async fn rotate(&self) {
                    self.0.cycle_id().await.unwrap();
                }
            }
        }
    };
}

application!(newest, tower_sessions);
application!(for_stores, tower_sessions_14);
