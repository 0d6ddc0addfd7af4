//! Metrics of sessions for Prometheus, on the page `/metrics`.
//!
//! ```console
//! $ cargo run --example metrics         # then open http://127.0.0.1:3000 and /metrics
//! ```

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusBuilder;
use mocha_session::axum::{Error, Session, SessionLayer};
use mocha_session::metrics::Metrics;
use mocha_session::{CookiePolicy, Key, SessionManager};

const VISITS: Key<u64> = Key::new("visits");

async fn home(session: Session) -> Result<String, Error> {
    let visits = session.update(VISITS, |visits| visits.unwrap_or(0) + 1)?;
    Ok(format!("{visits} visits; see /metrics"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The recorder must be installed first, because the metrics are described to it.
    let prometheus = PrometheusBuilder::new().install_recorder()?;
    let manager = SessionManager::builder(mocha_session::open("memory:").await?)
        .cookie(CookiePolicy::for_plain_http())
        .observer(Metrics::new())
        .build()?;
    let app = Router::new()
        .route("/", get(home))
        .layer(SessionLayer::new(manager))
        .route("/metrics", get(move || std::future::ready(prometheus.render())));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}
