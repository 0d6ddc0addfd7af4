//! A graceful end under axum: on SIGTERM no new connection is taken, requests under way are
//! answered, their commits are finished, and the connections to the engine are closed.
//!
//! ```console
//! $ SESSION_URL=sqlite:///demo.db cargo run --example shutdown --features sqlite
//! $ kill -TERM …                        # or Ctrl-C
//! ```
//!
//! `HOST` (127.0.0.1) and `PORT` (3000; 0 picks a free one) are read from the environment too.
//! `shutdown.Dockerfile` makes an image of it. `shutdown_actix` is the same under actix-web.

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use mocha_session::axum::{Error, Session, SessionLayer};
use mocha_session::{CookiePolicy, Key, SessionManager};

const COUNT: Key<u64> = Key::new("count");

/// How long the end may take. The orchestrator must wait longer before it kills the process.
const DEADLINE: Duration = Duration::from_secs(10);

async fn count(session: Session) -> Result<String, Error> {
    let count = session.update(COUNT, |count| count.unwrap_or(0) + 1)?;
    // Work that a request is in the middle of when the signal comes.
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(count.to_string())
}

async fn log_in(session: Session) -> Result<&'static str, Error> {
    session.login("alice")?;
    Ok("welcome")
}

/// Serves until SIGTERM or Ctrl-C, and ends gracefully.
#[tokio::main]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let storage = mocha_session::open_from_env().await?;
    let manager =
        SessionManager::builder(storage).cookie(CookiePolicy::for_plain_http()).build()?;
    let sweeper = manager.spawn_sweeper(Duration::from_secs(600));
    let ready = manager.clone();
    let app = Router::new()
        .route("/count", post(count))
        .route("/login", post(log_in))
        .layer(SessionLayer::new(manager.clone()))
        // Alive: the process answers. Ready: the engine does, too.
        .route("/alive", get(|| async { "yes" }))
        .route("/ready", get(move || async move { ready.ping().await.map_err(Error::from) }));

    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".into());
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let listener = tokio::net::TcpListener::bind(format!("{host}:{port}")).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let (signalled, mut ending) = tokio::sync::watch::channel(false);
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        terminated().await;
        signalled.send(true).ok();
    });
    // A client that keeps its connection busy must not hold the process up.
    let late = async {
        drop(ending.wait_for(|ending| *ending).await);
        tokio::time::sleep(DEADLINE).await;
    };
    tokio::select! {
        served = server => served?,
        () = late => println!("Some requests took too long"),
    }
    drop(sweeper);
    manager.shutdown(DEADLINE).await?;
    println!("Every commit is done");
    Ok(())
}

/// Waits for SIGTERM, which orchestrators send, or Ctrl-C.
async fn terminated() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut sigterm) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = sigterm.recv() => return,
                _ = tokio::signal::ctrl_c() => return,
            }
        }
    }
    drop(tokio::signal::ctrl_c().await);
}
