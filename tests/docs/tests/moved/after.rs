//! A counter under tower-sessions, with its sessions in Redis.

use axum::{Router, routing::get};
use mocha_session::{SessionManager, axum::Session, axum::SessionLayer, open};
use tower_sessions_redis_store::{RedisStore, fred::prelude::*};

use crate::Failed;

pub(crate) async fn app(url: &str) -> Result<Router, Failed> {
    let pool = Pool::new(Config::from_url(url)?, None, None, None, 1)?;
    pool.init().await?;
    let store = mocha_session_compat::tower_sessions_0_14::TakeOver::values(RedisStore::new(pool));
    let manager = SessionManager::builder(open(url).await?).take_over(store).build()?;
    Ok(Router::new().route("/", get(count)).layer(SessionLayer::new(manager)))
}

async fn count(session: Session) -> Result<String, Failed> {
    let n = session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
    Ok(n.to_string())
}
