//! A counter under tower-sessions, with the sessions in any engine. One line is this library's: the
//! one that makes the store.
//!
//! ```console
//! $ cargo run -p mocha-session-compat --features tower-sessions-0_15 --example tower_sessions
//! $ curl -c jar -b jar localhost:3000
//! ```
//!
//! `tests/tower_layer.rs` runs it.

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use mocha_session_compat::tower_sessions_0_15::MochaStore;
use mocha_session_core::{Result, Storage};
use mocha_session_memory::MemoryStore;
use tower_sessions15::{Session, SessionManagerLayer};

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // An application asks `mocha_session::open_from_env()`.
    let router = app(MemoryStore::new())?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

/// The application.
pub(crate) fn app(storage: impl Into<Storage>) -> Result<Router> {
    // Was: let store = RedisStore::new(pool);
    let store = MochaStore::new(storage)?;
    let layer = SessionManagerLayer::new(store).with_secure(false);
    Ok(Router::new().route("/", get(count)).layer(layer))
}

async fn count(session: Session) -> std::result::Result<String, StatusCode> {
    let failed = |_| StatusCode::SERVICE_UNAVAILABLE;
    let count = session.get::<u64>("count").await.map_err(failed)?.unwrap_or(0) + 1;
    session.insert("count", count).await.map_err(failed)?;
    Ok(count.to_string())
}
