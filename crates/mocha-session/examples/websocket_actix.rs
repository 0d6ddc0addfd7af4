//! The WebSocket of the example `websocket`, under actix-web.
//!
//! ```console
//! $ cargo run --example websocket_actix
//! ```
//!
//! Open <http://localhost:3000> in two tabs, send a line in each, and log out in one of them.

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

use actix_web::http::header;
use actix_web::web::{Payload, ServiceConfig, get, post};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actix_ws::{Message, MessageStream};
use mocha_session::actix::{CrossOriginMiddleware, Error, Session, SessionMiddleware};
use mocha_session::{CookiePolicy, CrossOriginProtection, Detached, SessionManager, open};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In this process: a detached handle needs a store, which sessions in the cookie do not have.
    let manager = SessionManager::builder(open("memory:").await?)
        .cookie(CookiePolicy::for_plain_http())
        .build()?;
    let sessions = SessionMiddleware::new(manager);
    // For the form. A socket that another site opens has no cookie, which is `SameSite=Lax`.
    let cross_origin = CrossOriginMiddleware::new(CrossOriginProtection::new());
    let app =
        move || App::new().configure(routes).wrap(sessions.clone()).wrap(cross_origin.clone());
    println!("Listening on http://127.0.0.1:3000");
    Ok(HttpServer::new(app).bind(("127.0.0.1", 3000))?.run().await?)
}

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/", get().to(page))
        .route("/socket", get().to(socket))
        .route("/logout", post().to(logout));
}

/// Begins the session, so that the socket has one.
async fn page(session: Session) -> Result<HttpResponse, Error> {
    session.update("said", |said: Option<u64>| said.unwrap_or(0))?;
    let html = HttpResponse::Ok().content_type("text/html").body(include_str!("websocket.html"));
    Ok(html)
}

async fn socket(
    session: Session,
    request: HttpRequest,
    body: Payload,
) -> actix_web::Result<HttpResponse> {
    let (response, socket, messages) = actix_ws::handle(&request, body)?;
    let detached = session.detached();
    actix_web::rt::spawn(async {
        if let Err(error) = talk(socket, messages, detached).await {
            println!("A socket ended: {error}");
        }
    });
    Ok(response)
}

/// Counts what is said, in the session. Ends when the session does.
async fn talk(
    mut socket: actix_ws::Session,
    mut messages: MessageStream,
    detached: Detached,
) -> mocha_session::Result<()> {
    while let Some(Ok(message)) = messages.recv().await {
        let Message::Text(text) = message else { continue };
        let Some(session) = detached.load().await? else { break };
        let said = session.update("said", |said: Option<u64>| said.unwrap_or(0) + 1)?;
        session.commit().await?;
        if socket.text(format!("{said}: {text}")).await.is_err() {
            return Ok(());
        }
    }
    // The client may have closed it.
    drop(socket.close(None).await);
    Ok(())
}

async fn logout(session: Session) -> Result<HttpResponse, Error> {
    session.destroy()?;
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/")).finish())
}
