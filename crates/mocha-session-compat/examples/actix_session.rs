//! A counter under actix-session, with the sessions in any engine. One line is this library's: the
//! one that makes the store.
//!
//! ```console
//! $ cargo run -p mocha-session-compat --features actix-session-0_11 --example actix_session
//! $ curl -c jar -b jar localhost:3000
//! ```
//!
//! `tests/actix_layer.rs` runs it.

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::{App, HttpServer, Result, web};
use mocha_session_compat::actix_session_0_11::MochaStore;
use mocha_session_memory::MemoryStore;

#[actix_web::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // An application asks `mocha_session::open_from_env()`.
    // Was: let store = RedisSessionStore::new(url).await?;
    let store = MochaStore::new(MemoryStore::new())?;
    let key = Key::generate();
    println!("http://127.0.0.1:3000");
    let server = HttpServer::new(move || {
        // A clone for each worker.
        let sessions = SessionMiddleware::builder(store.clone(), key.clone());
        App::new().wrap(sessions.cookie_secure(false).build()).configure(routes)
    });
    Ok(server.bind("127.0.0.1:3000")?.run().await?)
}

/// The application.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    app.route("/", web::get().to(count));
}

async fn count(session: Session) -> Result<String> {
    let count = session.get::<u64>("count")?.unwrap_or(0) + 1;
    session.insert("count", count)?;
    Ok(count.to_string())
}
