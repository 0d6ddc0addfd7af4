//! A counter under salvo: the tower layer through salvo's bridge.
//!
//! ```console
//! $ cargo run -p mocha-session-bridges --example salvo
//! $ curl -c jar -b jar localhost:3000
//! ```

use http::Response;
use mocha_session::tower::{Body, SessionLayer, Sessions};
use mocha_session::{CookiePolicy, SessionManager, open};
use mocha_session_bridges::Synced;
use salvo::http::{ReqBody, StatusCode, StatusError};
use salvo::prelude::{Listener, Request, Router, Server, TcpListener, TowerLayerCompat, handler};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> mocha_session::Result<()> {
    let manager = SessionManager::builder(open("memory:").await?)
        .cookie(CookiePolicy::for_plain_http())
        .build()?;
    let acceptor = TcpListener::new("127.0.0.1:3000").bind().await;
    Server::new(acceptor).serve(app(manager)).await;
    Ok(())
}

/// The application.
pub(crate) fn app(manager: SessionManager) -> Router {
    let sessions = ServiceBuilder::new()
        .map_response(|response: Response<Body>| response.map(Synced::new))
        .layer(SessionLayer::new(manager));
    Router::new()
        .hoop(sessions.compat::<ReqBody>())
        .get(count)
        .push(Router::with_path("login").post(login))
}

#[handler]
async fn count(request: &mut Request) -> Result<String, StatusError> {
    let session = session(request).await?;
    let n = session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).map_err(failed)?;
    Ok(format!("{} {n}", session.owner().unwrap_or_default()))
}

#[handler]
async fn login(request: &mut Request) -> Result<(), StatusError> {
    session(request).await?.login("ada").map_err(failed)
}

/// The request's session.
async fn session(request: &Request) -> Result<mocha_session::core::Session, StatusError> {
    let lazy = Sessions::require::<()>(request.extensions().get(), "add the hoop to the router");
    // The handle is its own, so that the request is not borrowed while it loads.
    let lazy = lazy.map_err(failed)?.clone();
    lazy.load().await.map_err(failed)
}

fn failed(error: mocha_session::Error) -> StatusError {
    let status = StatusCode::from_u16(error.http_status()).ok().and_then(StatusError::from_code);
    status.unwrap_or_else(StatusError::internal_server_error)
}
