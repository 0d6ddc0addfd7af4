//! A JSON API with bearer tokens: log in, read, rotate, log out. No cookie, no server: the requests
//! are sent to the application in this process.
//!
//! ```console
//! $ cargo run --example api
//! ```

#![allow(clippy::print_stdout, reason = "the example prints what its requests came to")]

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mocha_session::axum::{Error, Session, SessionLayer};
use mocha_session::{SessionManager, SessionToken, Transport};
use tower::ServiceExt as _;

#[derive(serde::Deserialize)]
struct Login {
    user: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Token {
    token: String,
}

/// Returns the token of the stored session. The response also has it in a header.
async fn token(session: &Session) -> Result<Json<Token>, Error> {
    session.commit().await?;
    let token = session.token().map(SessionToken::into_string).unwrap_or_default();
    Ok(Json(Token { token }))
}

async fn login(session: Session, Json(login): Json<Login>) -> Result<Json<Token>, Error> {
    session.login(&login.user)?; // a real application checks a password here
    token(&session).await
}

async fn me(session: Option<Session>) -> Result<Response, Error> {
    let Some(user) = session.and_then(|session| session.owner()) else {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    };
    Ok(Json(user).into_response())
}

async fn rotate(session: Session) -> Result<Json<Token>, Error> {
    session.rotate()?; // the old token is no longer valid
    token(&session).await
}

async fn logout(session: Session) -> Result<StatusCode, Error> {
    session.destroy()?;
    Ok(StatusCode::NO_CONTENT)
}

/// The application.
pub(crate) fn app(manager: SessionManager) -> Router {
    Router::new()
        .route("/login", post(login))
        .route("/me", get(me))
        .route("/rotate", post(rotate))
        .route("/logout", post(logout))
        .layer(SessionLayer::new(manager))
}

/// Creates a client's request with its token.
pub(crate) fn request(
    method: &str,
    path: &str,
    token: &str,
    body: &'static str,
) -> Result<Request<Body>, axum::http::Error> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json");
    let request = match token {
        "" => request,
        token => request.header("authorization", format!("Bearer {token}")),
    };
    request.body(Body::from(body))
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let storage = mocha_session::open("memory:").await?;
    let manager = SessionManager::builder(storage).transport(Transport::bearer()).build()?;
    let app = app(manager);
    let mut token = String::new();
    for (method, path) in [
        ("GET", "/me"),
        ("POST", "/login"),
        ("GET", "/me"),
        ("POST", "/rotate"),
        ("POST", "/logout"),
    ] {
        let sent = request(method, path, &token, r#"{"user": "alice"}"#)?;
        let response = app.clone().oneshot(sent).await?;
        // A new token, or an empty one if the session has ended.
        if let Some(new) = response.headers().get("session-token") {
            new.to_str()?.clone_into(&mut token);
        }
        println!("{method} {path}: {}, holds a token: {}", response.status(), !token.is_empty());
    }
    Ok(())
}
