//! A counter under tower-sessions, with its sessions in Redis.

use axum::{Router, routing::get};
use tower_sessions::{Session, SessionManagerLayer};
use tower_sessions_redis_store::{RedisStore, fred::prelude::*};

use crate::Failed;

pub(crate) async fn app(url: &str) -> Result<Router, Failed> {
    let pool = Pool::new(Config::from_url(url)?, None, None, None, 1)?;
    pool.init().await?;
    let store = RedisStore::new(pool);
    Ok(Router::new().route("/", get(count)).layer(SessionManagerLayer::new(store)))
}

async fn count(session: Session) -> Result<String, Failed> {
    let n = session.get::<u64>("n").await?.unwrap_or(0) + 1;
    session.insert("n", n).await?;
    Ok(n.to_string())
}
