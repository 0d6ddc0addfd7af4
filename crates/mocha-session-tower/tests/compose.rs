//! Beside tower-http's layers, on either side, over services of any body.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use mocha_session_core::SessionManager;
use mocha_session_tower::{Error, Session, SessionLayer, Sessions};
use support::{Client, manager};
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

async fn count(session: Session) -> Result<String, Error> {
    Ok(session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?.to_string())
}

async fn slow(session: Session) -> Result<(), Error> {
    session.insert("n", 100)?;
    std::future::pending().await
}

async fn panics(session: Session) -> Result<(), Error> {
    session.insert("n", 100)?;
    panic!("as it was meant to")
}

fn routes() -> Router {
    Router::new().route("/", post(count)).route("/slow", get(slow)).route("/panic", get(panics))
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(50))
}

fn header() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(
        HeaderName::from_static("x-app"),
        HeaderValue::from_static("1"),
    )
}

/// The promises that hold with any layers around or within.
async fn proves(app: Router, has_timeout: bool, catches_panics: bool) {
    let mut client = Client::new(app);
    assert_eq!(client.post("/").await, (StatusCode::OK, "1".into()));
    assert_eq!(client.post("/").await, (StatusCode::OK, "2".into()));
    if has_timeout {
        assert_eq!(client.get("/slow").await.0, StatusCode::REQUEST_TIMEOUT);
    }
    if catches_panics {
        assert_eq!(client.get("/panic").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(
        client.post("/").await,
        (StatusCode::OK, "3".into()),
        "the others committed nothing"
    );
}

#[tokio::test]
async fn composes_by_router_layer_on_either_side() {
    let session = || SessionLayer::new(manager("s"));
    proves(routes().layer(TraceLayer::new_for_http()).layer(session()), false, false).await;
    proves(routes().layer(session()).layer(TraceLayer::new_for_http()), false, false).await;
    proves(routes().layer(CompressionLayer::new()).layer(session()), false, false).await;
    proves(routes().layer(session()).layer(CompressionLayer::new()), false, false).await;
    proves(routes().layer(header()).layer(session()).layer(header()), false, false).await;
    proves(routes().layer(timeout()).layer(session()), true, false).await;
    proves(routes().layer(session()).layer(timeout()), true, false).await;
    proves(routes().layer(CatchPanicLayer::new()).layer(session()), false, true).await;
    proves(routes().layer(session()).layer(CatchPanicLayer::new()), false, true).await;
}

#[tokio::test]
async fn composes_in_a_service_builder_outermost_and_innermost() {
    let outermost = ServiceBuilder::new()
        .layer(SessionLayer::new(manager("s")))
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(header())
        .layer(CatchPanicLayer::new())
        .layer(timeout());
    proves(routes().layer(outermost), true, true).await;
    let innermost = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(header())
        .layer(CatchPanicLayer::new())
        .layer(timeout())
        .layer(SessionLayer::new(manager("s")));
    proves(routes().layer(innermost), true, true).await;
    let in_between = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .layer(SessionLayer::new(manager("s")))
        .option_layer(Some(header()))
        .layer(CatchPanicLayer::new());
    proves(routes().layer(in_between), false, true).await;
    let optional = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .option_layer(Some(SessionLayer::new(manager("s"))));
    proves(routes().layer(optional), false, false).await;
}

#[tokio::test]
async fn what_is_compressed_within_or_around_has_its_cookie() {
    async fn large(session: Session) -> Result<String, Error> {
        session.insert("n", 1)?;
        Ok("large ".repeat(1_000))
    }
    let session = || SessionLayer::new(manager("s"));
    let routes = || Router::new().route("/", get(large));
    for app in [
        routes().layer(session()).layer(CompressionLayer::new()),
        routes().layer(CompressionLayer::new()).layer(session()),
    ] {
        let request =
            Request::builder().header("accept-encoding", "gzip").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.headers().get("content-encoding").unwrap(), "gzip");
        assert!(response.headers().contains_key("set-cookie"));
        assert!(response.into_body().collect().await.unwrap().to_bytes().len() < 500);
    }
}

/// A service that counts, of a body that the layer does not know.
async fn counts<B>(manager: SessionManager, body: fn(String) -> B)
where
    B: axum::body::HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let service = service_fn(move |request: Request<()>| async move {
        let sessions = request.extensions().get::<Sessions>().unwrap();
        let session = sessions.get::<()>().unwrap().load().await.unwrap();
        let n = session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).unwrap();
        Ok::<_, Infallible>(Response::new(body(n.to_string())))
    });
    let response =
        SessionLayer::new(manager).layer(service).oneshot(Request::new(())).await.unwrap();
    assert!(response.headers().contains_key("set-cookie"));
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn a_service_of_any_body_has_sessions() {
    counts(manager("s"), |text| text).await;
    counts(manager("s"), Full::<Bytes>::from).await;
    counts(manager("s"), |_| Empty::<Bytes>::new()).await;
    counts(manager("s"), |text| Full::<Bytes>::from(text).boxed()).await;
    counts(manager("s"), |text| Full::<Bytes>::from(text).boxed_unsync()).await;
    counts(manager("s"), Body::from).await;
}
