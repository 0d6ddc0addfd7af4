//! The example of an API: a client logs in, rotates and logs out by header.

#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test, and an example within it"
)]

#[path = "../examples/api.rs"]
mod api;

use axum::Router;
use axum::body::to_bytes;
use mocha_session::{SessionManager, Transport};
use tower::ServiceExt as _;

/// Status, body, and the token that the response carries.
async fn send(
    app: &Router,
    method: &str,
    path: &str,
    token: &str,
) -> (u16, String, Option<String>) {
    let request = api::request(method, path, token, r#"{"user": "alice"}"#).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    assert!(response.headers().get("set-cookie").is_none());
    let told = response.headers().get("session-token");
    let told = told.map(|token| token.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 4096).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap(), told)
}

#[tokio::test]
async fn a_client_logs_in_rotates_and_logs_out_by_header() {
    let storage = mocha_session::open("memory:").await.unwrap();
    let manager = SessionManager::builder(storage).transport(Transport::bearer()).build().unwrap();
    let app = api::app(manager);
    assert_eq!(send(&app, "GET", "/me", "").await.0, 401);
    let (status, body, told) = send(&app, "POST", "/login", "").await;
    let first = told.unwrap();
    assert_eq!((status, body), (200, format!("{{\"token\":\"{first}\"}}")));
    assert_eq!(send(&app, "GET", "/me", &first).await, (200, "\"alice\"".into(), None));
    let (_, body, told) = send(&app, "POST", "/rotate", &first).await;
    let second = told.unwrap();
    assert_eq!(body, format!("{{\"token\":\"{second}\"}}"));
    assert_eq!(send(&app, "GET", "/me", &first).await.0, 401, "the old token is dead");
    assert_eq!(
        send(&app, "POST", "/logout", &second).await,
        (204, String::new(), Some(String::new()))
    );
    assert_eq!(send(&app, "GET", "/me", &second).await.0, 401);
}

#[test]
fn the_example_runs() {
    api::main().unwrap();
}
