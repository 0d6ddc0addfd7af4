//! Spans: each load and commit of a session with its store calls, as lines on the terminal.
//!
//! ```console
//! $ cargo run --example tracing         # then open http://127.0.0.1:3000
//! ```
//!
//! With `tracing-opentelemetry` as another layer the same spans go to a collector: their fields have
//! OpenTelemetry's names.

use axum::Router;
use axum::routing::get;
use mocha_session::axum::{Error, Session, SessionLayer};
use mocha_session::{CookiePolicy, Key, SessionManager};
use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

const VISITS: Key<u64> = Key::new("visits");

async fn home(session: Session) -> Result<String, Error> {
    let visits = session.update(VISITS, |visits| visits.unwrap_or(0) + 1)?;
    // The name of the session for logs: its id does not follow from it.
    tracing::info!(session.id = session.fingerprint(), visits, "a visit");
    Ok(format!("{visits} visits; see the terminal"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_span_events(FmtSpan::CLOSE).init();
    let manager = SessionManager::builder(mocha_session::open("memory:").await?)
        .cookie(CookiePolicy::for_plain_http())
        .build()?;
    let app = Router::new().route("/", get(home)).layer(SessionLayer::new(manager));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}
