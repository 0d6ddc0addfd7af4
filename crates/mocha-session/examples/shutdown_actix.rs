//! A graceful end under actix-web: on SIGTERM no new connection is taken, requests under way are
//! answered, their commits are finished, and the connections to the engine are closed.
//!
//! ```console
//! $ SESSION_URL=sqlite:///demo.db cargo run --example shutdown_actix --features sqlite
//! $ kill -TERM …                        # or Ctrl-C
//! ```
//!
//! `PORT` (3000; 0 picks a free one) is read from the environment too.

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

use std::time::Duration;

use actix_web::web::{Data, get, post, scope};
use actix_web::{App, HttpServer};
use mocha_session::actix::{Error, Session, SessionMiddleware};
use mocha_session::{CookiePolicy, Key, SessionManager};

const COUNT: Key<u64> = Key::new("count");

/// How long the end may take, in seconds. The orchestrator must wait longer.
const DEADLINE: u64 = 10;

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

async fn ready(manager: Data<SessionManager>) -> Result<&'static str, Error> {
    manager.ping().await?;
    Ok("yes")
}

/// Serves until SIGTERM or Ctrl-C, and ends gracefully.
#[tokio::main]
pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let storage = mocha_session::open_from_env().await?;
    let manager =
        SessionManager::builder(storage).cookie(CookiePolicy::for_plain_http()).build()?;
    let sweeper = manager.spawn_sweeper(Duration::from_secs(600));
    let sessions = SessionMiddleware::new(manager.clone());
    let shared = Data::new(manager.clone());
    let worker = move || {
        let pages = scope("")
            .route("/count", post().to(count))
            .route("/login", post().to(log_in))
            .wrap(sessions.clone());
        // Alive: the process answers. Ready: the engine does, too.
        App::new()
            .app_data(shared.clone())
            .route("/alive", get().to(|| async { "yes" }))
            .route("/ready", get().to(ready))
            .service(pages)
    };
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into()).parse()?;
    // The server handles SIGTERM by itself.
    let server = HttpServer::new(worker).shutdown_timeout(DEADLINE).bind(("127.0.0.1", port))?;
    for address in server.addrs() {
        println!("Listening on http://{address}");
    }
    server.run().await?;
    drop(sweeper);
    manager.shutdown(Duration::from_secs(DEADLINE)).await?;
    println!("Every commit is done");
    Ok(())
}
