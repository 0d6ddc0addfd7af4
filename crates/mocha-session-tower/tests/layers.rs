//! Several layers around one route, and errors on their way to the one that shapes them.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use axum::Router;
use axum::routing::{get, post};
use http::{Method, Response, StatusCode, header, request};
use mocha_session_core as core;
use mocha_session_core::{CookiePolicy, ErrorKind, SessionManager};
use mocha_session_memory::MemoryStore;
use mocha_session_tower::{Error, LazySession, Session, SessionLayer};
use support::{Client, manager};

struct Admin;

async fn count(session: Session) -> Result<String, Error> {
    Ok(session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?.to_string())
}

async fn lines(client: &mut Client, path: &str) -> usize {
    let response = client.send(Method::POST, path).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.headers().get_all(header::SET_COOKIE).iter().count()
}

#[tokio::test]
async fn the_same_layer_twice_around_a_route_is_one_session_and_one_line() {
    let manager = manager("s");
    let layer = SessionLayer::new(manager.clone());
    for inner in [layer.clone(), SessionLayer::new(manager.clone())] {
        let nested = Router::new().route("/count", post(count)).layer(inner);
        let app =
            Router::new().nest("/in", nested).route("/count", post(count)).layer(layer.clone());
        let mut client = Client::new(app);
        assert_eq!(lines(&mut client, "/in/count").await, 1);
        assert_eq!(client.post("/count").await.1, "2");
        assert_eq!(client.post("/in/count").await.1, "3");
    }
}

#[tokio::test]
async fn one_manager_in_two_scopes_is_one_session_and_one_line() {
    async fn both(session: Session, admin: Session<Admin>) -> Result<String, Error> {
        session.insert("a", 1)?;
        Ok(admin.update("a", |a: Option<u8>| a.unwrap_or(0) + 1)?.to_string())
    }
    let manager = manager("s");
    let app = Router::new()
        .route("/", post(both))
        .layer(SessionLayer::<Admin>::scoped(manager.clone()))
        .layer(SessionLayer::new(manager));
    let mut client = Client::new(app);
    assert_eq!(lines(&mut client, "/").await, 1);
    assert_eq!(client.post("/").await.1, "2");
}

#[tokio::test]
async fn two_managers_are_two_sessions_and_two_lines() {
    async fn both(session: Session, admin: Session<Admin>) -> Result<String, Error> {
        admin.update("n", |n: Option<u64>| n.unwrap_or(10) + 1)?;
        count(session).await
    }
    let app = Router::new()
        .route("/", post(both))
        .layer(SessionLayer::<Admin>::scoped(manager("admin")))
        .layer(SessionLayer::new(manager("s")));
    let mut client = Client::new(app);
    assert_eq!(lines(&mut client, "/").await, 2);
    assert_eq!(client.post("/").await.1, "2");
}

#[tokio::test]
async fn two_managers_with_one_cookie_name_are_refused_by_a_sentence() {
    let (send, said) = std::sync::mpsc::channel();
    let admin = SessionLayer::<Admin>::scoped(manager("s")).on_error(move |error, request| {
        send.send((error.kind(), error.to_string(), request.uri.path().to_owned())).unwrap();
        Response::new("shaped".to_owned())
    });
    let app = Router::new()
        .route("/", post(|lazy: LazySession| async move { format!("{lazy:?}") }))
        .layer(admin)
        .layer(SessionLayer::new(manager("s")));
    assert_eq!(Client::new(app).post("/").await.1, "shaped");
    let (kind, text, path) = said.recv().unwrap();
    assert_eq!((kind, path.as_str()), (ErrorKind::InvalidConfig, "/"));
    assert!(text.contains("same cookie name or header; give one of them another"), "{text}");
    let app = Router::new()
        .route("/", post(|| async { "never" }))
        .layer(SessionLayer::<Admin>::scoped(manager("s")))
        .layer(SessionLayer::new(manager("s")));
    assert_eq!(Client::new(app).post("/").await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

fn shaped(error: &core::Error, request: &request::Parts) -> Response<String> {
    let id = request.headers.get("cookie").map_or("no cookie", |_| "with cookie");
    let text = format!("{} {} {:?} {id}", request.method, request.uri.path(), error.kind());
    let status = StatusCode::from_u16(error.http_status()).unwrap();
    Response::builder().status(status).header("x-shaped", "1").body(text).unwrap()
}

fn failing() -> Router {
    async fn returns(session: Session) -> Result<(), Error> {
        session.insert("n", 100)?;
        session.get::<String>("n")?;
        Ok(())
    }
    async fn conflicts(session: Session) -> Result<(), Error> {
        session.insert("n", 100)?;
        Err(core::Error::new(ErrorKind::Conflict, "taken by another request").into())
    }
    async fn too_large(session: Session) -> Result<(), Error> {
        session.insert("large", "x".repeat(2_000))?;
        Ok(())
    }
    Router::new()
        .route("/", post(count))
        .route("/returns", get(returns))
        .route("/conflicts", get(conflicts))
        .route("/rejects", get(|_: Session<Admin>| async { "never" }))
        .route("/too-large", get(too_large))
}

fn small() -> SessionManager {
    let builder = SessionManager::builder(MemoryStore::new()).max_record_bytes(1_024);
    builder.cookie(CookiePolicy::named("s")).build().unwrap()
}

#[tokio::test]
async fn on_error_shapes_rejections_errors_of_handlers_and_of_the_commit_and_sees_the_request() {
    let mut client = Client::new(failing().layer(SessionLayer::new(small()).on_error(shaped)));
    assert_eq!(client.post("/").await.1, "1");
    for (path, status, kind) in [
        ("/returns", 500, "InvalidInput"),
        ("/conflicts", 409, "Conflict"),
        ("/rejects", 500, "InvalidConfig"),
        ("/too-large", 500, "TooLarge"),
    ] {
        let response = client.send(Method::GET, path).await;
        assert_eq!(response.headers().get("x-shaped").unwrap(), "1", "{path}");
        assert_eq!(response.headers().get_all(header::SET_COOKIE).iter().count(), 0, "{path}");
        let text = format!("GET {path} {kind} with cookie");
        assert_eq!(client.get(path).await, (StatusCode::from_u16(status).unwrap(), text));
    }
    assert_eq!(client.post("/").await.1, "2", "what failed committed nothing");
}

#[tokio::test]
async fn without_on_error_the_response_names_nothing_but_the_status() {
    let mut client = Client::new(failing().layer(SessionLayer::new(small())));
    client.post("/").await;
    for (path, status) in
        [("/returns", 500), ("/conflicts", 409), ("/rejects", 500), ("/too-large", 500)]
    {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(client.get(path).await, (status, status.canonical_reason().unwrap().to_owned()));
    }
    assert_eq!(client.post("/").await.1, "2", "what failed committed nothing");
}

#[tokio::test]
async fn an_error_of_a_handler_reaches_the_innermost_layer_that_shapes_errors() {
    let app = failing()
        .layer(SessionLayer::<Admin>::scoped(manager("admin")))
        .layer(SessionLayer::new(small()).on_error(shaped));
    let mut client = Client::new(app);
    assert_eq!(client.get("/returns").await.1, "GET /returns InvalidInput with cookie");
    assert_eq!(client.post("/").await.1, "1");
}

#[tokio::test]
async fn a_route_without_a_session_says_which_scope_is_missing() {
    let (send, said) = std::sync::mpsc::channel();
    let layer = SessionLayer::new(manager("s")).on_error(move |error, _| {
        send.send(error.to_string()).unwrap();
        Response::default()
    });
    let app = Router::new().route("/", get(|_: Session<Admin>| async {})).layer(layer);
    Client::new(app).get("/").await;
    let text = said.recv().unwrap();
    assert!(
        text.contains("Admin`; call `Router::layer`") && text.contains("after the route"),
        "{text}"
    );
}
