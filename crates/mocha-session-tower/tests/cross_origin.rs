//! The layer that refuses what other sites make a browser send.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt as _;
use mocha_session_tower::{CrossOriginLayer, CrossOriginProtection, Session, SessionLayer};
use support::manager;
use tower::ServiceExt as _;

fn app() -> Router {
    let protection = CrossOriginProtection::new()
        .trust("https://trusted.example")
        .and_then(|protection| protection.exempt("/hooks/"))
        .unwrap();
    let page = || get(page).post(page);
    let hooks = Router::new().route("/one", page());
    Router::new()
        .route("/", page())
        .nest("/hooks", hooks)
        .layer(SessionLayer::new(manager("s")))
        .layer(CrossOriginLayer::new(protection))
}

async fn page(session: Session) -> &'static str {
    session.insert("seen", true).unwrap();
    "page"
}

async fn status(request: http::request::Builder) -> StatusCode {
    app().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
}

#[tokio::test]
async fn a_form_of_another_site_is_refused_before_the_session_is_touched() {
    let form = || Request::post("/").header("host", "example.com");
    let refused = form().header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap();
    let refused = app().oneshot(refused).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(!refused.headers().contains_key("set-cookie"));
    assert_eq!(refused.into_body().collect().await.unwrap().to_bytes(), "Forbidden");
    for (header, value, expected) in [
        ("sec-fetch-site", "same-origin", StatusCode::OK),
        ("origin", "https://example.com", StatusCode::OK),
        ("origin", "https://trusted.example", StatusCode::OK),
        ("origin", "https://attacker.example", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(status(form().header(header, value)).await, expected, "{header} {value}");
    }
    assert_eq!(status(form()).await, StatusCode::OK, "not a browser");
    assert_eq!(
        status(Request::get("/").header("sec-fetch-site", "cross-site")).await,
        StatusCode::OK
    );
    let exempt = Request::post("/hooks/one").header("sec-fetch-site", "cross-site");
    assert_eq!(status(exempt).await, StatusCode::OK);
}

#[tokio::test]
async fn under_http_2_the_host_is_in_the_uri() {
    for (origin, expected) in [
        ("https://example.com", StatusCode::OK),
        ("https://attacker.example", StatusCode::FORBIDDEN),
    ] {
        let request = Request::post("https://example.com/").version(Version::HTTP_2);
        assert_eq!(status(request.header("origin", origin)).await, expected, "{origin}");
    }
}
