//! Two sessions in one application: visitors and administrators, each with its own cookie and
//! settings.
//!
//! ```console
//! $ cargo run --example two_sessions  # then open http://127.0.0.1:3000 and /admin
//! ```

use std::time::Duration;

use axum::{Router, routing::get};
use mocha_session::axum::{Error, Session, SessionLayer};
use mocha_session::{CookiePolicy, SameSite, SessionManager};

/// The scope of the administrators' session.
struct Admin;

async fn shop(session: Session) -> Result<String, Error> {
    let pages = session.update("pages", |pages: Option<u64>| pages.unwrap_or(0) + 1)?;
    Ok(format!("You have seen {pages} pages of the shop."))
}

/// Has both sessions: the administrator's, and the same person's as a visitor.
async fn admin(visitor: Session, admin: Session<Admin>) -> Result<String, Error> {
    let visits = admin.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
    let pages: u64 = visitor.get("pages")?.unwrap_or(0);
    Ok(format!("Visit {visits} of the administration, after {pages} pages of the shop."))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Both may be in one store, because nothing of one session is valid in the other.
    let storage = mocha_session::open("memory:").await?;
    let visitors =
        SessionManager::builder(storage.clone()).cookie(CookiePolicy::for_plain_http()).build()?;
    let admins = SessionManager::builder(storage)
        .cookie(
            CookiePolicy::named("admin").secure(false).path("/admin").same_site(SameSite::Strict),
        )
        .idle_timeout(Duration::from_secs(15 * 60))
        .build()?;
    let app = Router::new()
        .route("/admin", get(admin))
        .layer(SessionLayer::<Admin>::scoped(admins))
        .route("/", get(shop))
        .layer(SessionLayer::new(visitors));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}
