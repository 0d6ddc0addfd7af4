//! A WebSocket that reads and writes its user's session through a detached handle. Each message
//! loads the session as it is now, so a socket stops where the user logs out. Under axum;
//! `websocket_actix` is the same under actix-web.
//!
//! ```console
//! $ cargo run --example websocket
//! ```
//!
//! Open <http://localhost:3000> in two tabs, send a line in each, and log out in one of them.

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::{Html, Redirect, Response};
use axum::routing::{get, post};
use mocha_session::axum::{CrossOriginLayer, Error, Session, SessionLayer};
use mocha_session::{CookiePolicy, CrossOriginProtection, Detached, SessionManager, open};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In this process: a detached handle needs a store, which sessions in the cookie do not have.
    let manager = SessionManager::builder(open("memory:").await?)
        .cookie(CookiePolicy::for_plain_http())
        .build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(manager)).await?;
    Ok(())
}

/// The application.
pub(crate) fn app(manager: SessionManager) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/socket", get(socket))
        .route("/logout", post(logout))
        .layer(SessionLayer::new(manager))
        // For the form. A socket that another site opens has no cookie, which is `SameSite=Lax`.
        .layer(CrossOriginLayer::new(CrossOriginProtection::new()))
}

/// Begins the session, so that the socket has one.
async fn page(session: Session) -> Result<Html<&'static str>, Error> {
    session.update("said", |said: Option<u64>| said.unwrap_or(0))?;
    Ok(Html(include_str!("websocket.html")))
}

async fn socket(session: Session, upgrade: WebSocketUpgrade) -> Response {
    let detached = session.detached();
    upgrade.on_upgrade(|socket| async {
        if let Err(error) = talk(socket, detached).await {
            println!("A socket ended: {error}");
        }
    })
}

/// Counts what is said, in the session. Ends when the session does.
async fn talk(mut socket: WebSocket, detached: Detached) -> mocha_session::Result<()> {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        let Some(session) = detached.load().await? else { break };
        let said = session.update("said", |said: Option<u64>| said.unwrap_or(0) + 1)?;
        session.commit().await?;
        if socket.send(Message::from(format!("{said}: {text}"))).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn logout(session: Session) -> Result<Redirect, Error> {
    session.destroy()?;
    Ok(Redirect::to("/"))
}
