//! tower-sessions in memory and over its stores for Redis, SQLite and PostgreSQL.
//!
//! Its cookie is neither signed nor encrypted, as is its default. It loads a session when a handler
//! first asks for it, and sets its cookie again at each change.

use std::str::FromStr;

use mocha_session_bench::worker::AxumSubject;
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

pub(crate) fn memory() -> AxumSubject {
    newest::subject(MemoryStore::default())
}

pub(crate) async fn redis(url: &str) -> AxumSubject {
    let config = Config::from_url(url).expect("a URL");
    let pool = Pool::new(config, None, None, None, REDIS_CONNECTIONS).expect("a pool");
    pool.connect();
    pool.wait_for_connect().await.expect("a server that answers");
    for_stores::subject(RedisStore::new(pool))
}

/// With a write-ahead log that is not flushed at each commit, as this library's own store has it:
/// the default of sqlx waits for the disk, which would be all that is measured.
pub(crate) async fn sqlite(url: &str) -> AxumSubject {
    let options = SqliteConnectOptions::from_str(url)
        .expect("a URL")
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let store =
        SqliteStore::new(SqlitePool::connect_with(options).await.expect("a file that opens"));
    store.migrate().await.expect("a table");
    for_stores::subject(store)
}

pub(crate) async fn postgres(url: &str) -> AxumSubject {
    let store = PostgresStore::new(PgPool::connect(url).await.expect("a server that answers"));
    store.migrate().await.expect("a table");
    for_stores::subject(store)
}

/// The application, over one version of the library: what a store of one implements is nothing to
/// the other.
macro_rules! application {
    ($module:ident, $library:ident) => {
        mod $module {
            use ::$library::cookie::SameSite;
            use ::$library::{Expiry, Session, SessionManagerLayer, SessionStore};
            use axum::Router;
            use axum::response::{IntoResponse as _, Response};
            use axum::routing::get;
            use mocha_session_bench::axum_client::{AxumClient, see_other};
            use mocha_session_bench::data::{self, Item};
            use mocha_session_bench::worker::AxumSubject;

            pub(super) fn subject(store: impl SessionStore + Clone) -> AxumSubject {
                let sessions = SessionManagerLayer::new(store)
                    .with_expiry(Expiry::OnInactivity(crate::TWO_WEEKS))
                    .with_secure(true)
                    .with_http_only(true)
                    .with_same_site(SameSite::Lax)
                    .with_path("/");
                let router = Router::new()
                    .route("/untouched", get(async || "ok"))
                    .route("/read", get(read))
                    .route("/items", get(items))
                    .route("/count", get(count))
                    .route("/fill", get(fill))
                    .route("/rotate", get(rotate))
                    .route("/flash", get(flash))
                    .route("/flashed", get(flashed))
                    .layer(sessions);
                AxumSubject { client: AxumClient::new(router), login: false, sessions: true }
            }

            async fn read(session: Session) -> String {
                session.get::<u64>(data::USER).await.unwrap().unwrap_or_default().to_string()
            }

            async fn items(session: Session) -> String {
                session
                    .get::<Vec<Item>>(data::CART)
                    .await
                    .unwrap()
                    .unwrap_or_default()
                    .len()
                    .to_string()
            }

            async fn count(session: Session) -> String {
                let count = session.get::<u64>(data::COUNTER).await.unwrap().unwrap_or(0) + 1;
                session.insert(data::COUNTER, count).await.unwrap();
                count.to_string()
            }

            async fn fill(session: Session) -> &'static str {
                session.insert(data::USER, data::USER_ID).await.unwrap();
                session.insert(data::COUNTER, 0).await.unwrap();
                session.insert(data::CART, data::cart()).await.unwrap();
                "filled"
            }

            async fn rotate(session: Session) -> &'static str {
                session.cycle_id().await.unwrap();
                "rotated"
            }

            async fn flash(session: Session) -> Response {
                session.insert(data::MESSAGE, data::SAVED).await.unwrap();
                see_other().into_response()
            }

            async fn flashed(session: Session) -> String {
                session.remove::<String>(data::MESSAGE).await.unwrap().unwrap_or_default()
            }
        }
    };
}

application!(newest, tower_sessions);
application!(for_stores, tower_sessions_14);
