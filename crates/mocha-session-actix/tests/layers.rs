//! Several middlewares around one route, and errors on their way to the one that shapes them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use actix_web::dev::RequestHead;
use actix_web::http::{Method, StatusCode, header};
use actix_web::test::init_service;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse};
use mocha_session_actix::{Error, ExistingSession, LazySession, Session, SessionMiddleware};
use mocha_session_core as core;
use mocha_session_core::{CookiePolicy, ErrorKind, SessionManager};
use mocha_session_memory::MemoryStore;
use support::{Client, count, manager};

struct Admin;

#[actix_web::test]
async fn the_same_middleware_twice_around_a_route_is_one_session_and_one_line() {
    let manager = manager("s");
    let sessions = SessionMiddleware::new(manager.clone());
    for inner in [sessions.clone(), SessionMiddleware::new(manager.clone())] {
        let nested = web::scope("/in").wrap(inner).route("/count", web::post().to(count));
        let app = App::new()
            .service(nested)
            .route("/count", web::post().to(count))
            .wrap(sessions.clone());
        let mut client = Client::new(init_service(app).await);
        assert_eq!(client.lines("/in/count").await, 1);
        assert_eq!(client.post("/count").await.1, "2");
        assert_eq!(client.post("/in/count").await.1, "3");
    }
}

#[actix_web::test]
async fn one_manager_in_two_scopes_is_one_session_and_one_line() {
    async fn both(session: Session, admin: Session<Admin>) -> Result<String, Error> {
        session.insert("a", 1)?;
        Ok(admin.update("a", |a: Option<u8>| a.unwrap_or(0) + 1)?.to_string())
    }
    let manager = manager("s");
    let app = App::new()
        .route("/", web::post().to(both))
        .wrap(SessionMiddleware::<Admin>::scoped(manager.clone()))
        .wrap(SessionMiddleware::new(manager));
    let mut client = Client::new(init_service(app).await);
    assert_eq!(client.lines("/").await, 1);
    assert_eq!(client.post("/").await.1, "2");
}

#[actix_web::test]
async fn two_managers_are_two_sessions_and_two_lines() {
    async fn both(session: Session, admin: Session<Admin>) -> Result<String, Error> {
        admin.update("n", |n: Option<u64>| n.unwrap_or(10) + 1)?;
        count(session).await
    }
    let app = App::new()
        .route("/", web::post().to(both))
        .wrap(SessionMiddleware::<Admin>::scoped(manager("admin")))
        .wrap(SessionMiddleware::new(manager("s")));
    let mut client = Client::new(init_service(app).await);
    assert_eq!(client.lines("/").await, 2);
    assert_eq!(client.post("/").await.1, "2");
}

#[actix_web::test]
async fn two_managers_with_one_cookie_name_are_refused_by_a_sentence() {
    let (send, said) = std::sync::mpsc::channel();
    let admin = SessionMiddleware::<Admin>::scoped(manager("s")).on_error(move |error, request| {
        send.send((error.kind(), error.to_string(), request.uri.path().to_owned())).unwrap();
        HttpResponse::Ok().body("shaped")
    });
    let app = App::new()
        .route("/", web::post().to(async |lazy: LazySession| format!("{lazy:?}")))
        .wrap(admin)
        .wrap(SessionMiddleware::new(manager("s")));
    assert_eq!(Client::new(init_service(app).await).post("/").await.1, "shaped");
    let (kind, text, path) = said.recv().unwrap();
    assert_eq!((kind, path.as_str()), (ErrorKind::InvalidConfig, "/"));
    assert!(text.contains("same cookie name or header; give one of them another"), "{text}");
    let app = App::new()
        .route("/", web::post().to(async || "never"))
        .wrap(SessionMiddleware::<Admin>::scoped(manager("s")))
        .wrap(SessionMiddleware::new(manager("s")));
    assert_eq!(Client::new(init_service(app).await).post("/").await.0, 500);
}

fn shaped(error: &core::Error, request: &RequestHead) -> HttpResponse {
    let id = request.headers.get("cookie").map_or("no cookie", |_| "with cookie");
    let text = format!("{} {} {:?} {id}", request.method, request.uri.path(), error.kind());
    let status = StatusCode::from_u16(error.http_status()).unwrap();
    HttpResponse::build(status).insert_header(("x-shaped", "1")).body(text)
}

async fn returns(session: Session) -> Result<String, Error> {
    session.insert("n", 100)?;
    Ok(session.get::<String>("n")?.unwrap_or_default())
}

async fn converts(session: Session) -> actix_web::Result<String> {
    Ok(returns(session).await?)
}

async fn conflicts(session: Session) -> Result<String, Error> {
    session.insert("n", 100)?;
    Err(core::Error::new(ErrorKind::Conflict, "taken by another request").into())
}

async fn too_large(session: Session) -> Result<String, Error> {
    session.insert("large", "x".repeat(2_000))?;
    Ok("never".into())
}

fn failing(config: &mut ServiceConfig) {
    config
        .route("/", web::post().to(count))
        .route("/returns", web::get().to(returns))
        .route("/converts", web::get().to(converts))
        .route("/conflicts", web::get().to(conflicts))
        .route("/rejects", web::get().to(async |_: Session<Admin>| "never"))
        .route("/rejects-lazy", web::get().to(async |_: LazySession<Admin>| "never"))
        .route("/too-large", web::get().to(too_large));
}

const FAILING: [(&str, u16, &str); 6] = [
    ("/returns", 500, "InvalidInput"),
    ("/converts", 500, "InvalidInput"),
    ("/conflicts", 409, "Conflict"),
    ("/rejects", 500, "InvalidConfig"),
    ("/rejects-lazy", 500, "InvalidConfig"),
    ("/too-large", 500, "TooLarge"),
];

fn small() -> SessionManager {
    let builder = SessionManager::builder(MemoryStore::new()).max_record_bytes(1_024);
    builder.cookie(CookiePolicy::named("s")).build().unwrap()
}

#[actix_web::test]
async fn on_error_shapes_rejections_errors_of_handlers_and_of_the_commit_and_sees_the_request() {
    let sessions = SessionMiddleware::new(small()).on_error(shaped);
    let mut client = Client::new(init_service(App::new().configure(failing).wrap(sessions)).await);
    assert_eq!(client.post("/").await.1, "1");
    for (path, status, kind) in FAILING {
        let response = client.send(Method::GET, path).await;
        assert_eq!(response.headers().get("x-shaped").unwrap(), "1", "{path}");
        assert!(!response.headers().contains_key(header::SET_COOKIE), "{path}");
        let text = format!("GET {path} {kind} with cookie");
        assert_eq!(client.get(path).await, (status, text));
    }
    assert_eq!(client.post("/").await.1, "2", "what failed committed nothing");
}

#[actix_web::test]
async fn without_on_error_the_response_names_nothing_but_the_status() {
    let sessions = SessionMiddleware::new(small());
    let mut client = Client::new(init_service(App::new().configure(failing).wrap(sessions)).await);
    client.post("/").await;
    for (path, status, _) in FAILING {
        let reason = StatusCode::from_u16(status).unwrap().canonical_reason().unwrap();
        assert_eq!(client.get(path).await, (status, reason.to_owned()));
        let response = client.send(Method::GET, path).await;
        assert_eq!(response.headers().get(header::CACHE_CONTROL).unwrap(), "no-store", "{path}");
    }
    assert_eq!(client.post("/").await.1, "2", "what failed committed nothing");
}

#[actix_web::test]
async fn an_error_of_a_handler_reaches_the_innermost_middleware_that_shapes_errors() {
    let app = App::new()
        .configure(failing)
        .wrap(SessionMiddleware::<Admin>::scoped(manager("admin")))
        .wrap(SessionMiddleware::new(small()).on_error(shaped))
        .wrap(SessionMiddleware::<u8>::scoped(manager("outer")).on_error(|_, _| unreachable()));
    let mut client = Client::new(init_service(app).await);
    assert_eq!(client.get("/returns").await.1, "GET /returns InvalidInput with cookie");
    assert_eq!(client.post("/").await.1, "1");
}

fn unreachable() -> HttpResponse {
    HttpResponse::ImATeapot().finish()
}

#[actix_web::test]
async fn a_route_without_a_session_says_which_scope_is_missing() {
    let (send, said) = std::sync::mpsc::channel();
    let sessions = SessionMiddleware::new(manager("s")).on_error(move |error, _| {
        send.send(error.to_string()).unwrap();
        HttpResponse::Ok().finish()
    });
    let app =
        App::new().route("/", web::get().to(async |_: Session<Admin>| "never")).wrap(sessions);
    Client::new(init_service(app).await).get("/").await;
    let text = said.recv().unwrap();
    assert!(
        text.contains("Admin`; wrap the route, its scope or the app in a `SessionMiddleware`"),
        "{text}"
    );
    // Without any middleware the error still is a response.
    let app = App::new().route("/", web::get().to(async |_: Session| "never"));
    assert_eq!(Client::new(init_service(app).await).get("/").await.0, 500);
}

#[actix_web::test]
async fn a_failed_extractor_that_actix_hides_from_the_handler_still_decides_the_response() {
    async fn option(session: Session, hidden: Option<Session<Admin>>) -> Result<String, Error> {
        session.insert("n", 100)?;
        Ok(format!("stranger: {}", hidden.is_none()))
    }
    async fn result(hidden: Result<ExistingSession<Admin>, Error>) -> String {
        format!("stranger: {}", hidden.is_err())
    }
    async fn own_page(hidden: Result<Session<Admin>, Error>) -> HttpResponse {
        HttpResponse::ServiceUnavailable().body(format!("my page: {}", hidden.is_err()))
    }
    let routes = |config: &mut ServiceConfig| {
        config
            .route("/", web::post().to(count))
            .route("/option", web::get().to(option))
            .route("/result", web::get().to(result))
            .route("/own-page", web::get().to(own_page));
    };
    let sessions = SessionMiddleware::new(manager("s")).on_error(shaped);
    let mut client = Client::new(init_service(App::new().configure(routes).wrap(sessions)).await);
    client.post("/").await;
    for path in ["/option", "/result"] {
        assert_eq!(client.get(path).await, (500, format!("GET {path} InvalidConfig with cookie")));
    }
    assert_eq!(client.get("/own-page").await, (503, "my page: true".into()));
    assert_eq!(client.post("/").await.1, "2", "what failed committed nothing");
}
