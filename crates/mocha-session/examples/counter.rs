//! The smallest application: a page that counts its visits.
//!
//! ```console
//! $ cargo run --example counter       # then open http://127.0.0.1:3000
//! ```

use axum::{Router, routing::get};
use mocha_session::axum::{Error, Session, SessionLayer};
use mocha_session::{CookiePolicy, Key, SessionManager};

/// The name of a value with its type: a typo or another type does not compile.
const VISITS: Key<u64> = Key::new("visits");

async fn home(session: Session) -> Result<String, Error> {
    let visits = session.update(VISITS, |visits| visits.unwrap_or(0) + 1)?;
    Ok(format!("Visit {visits}."))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let storage = mocha_session::open("memory:").await?;
    // For plain HTTP on this machine. Behind TLS, use the default cookie: `__Host-session`,
    // `Secure`.
    let manager =
        SessionManager::builder(storage).cookie(CookiePolicy::for_plain_http()).build()?;
    let app = Router::new().route("/", get(home)).layer(SessionLayer::new(manager));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}
