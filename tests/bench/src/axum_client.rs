//! Sends requests to an axum application, with the routes that the libraries of axum share.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::routing::get;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_service::Service as _;

use crate::data::{self, Item};
use crate::visitor::{self, Client, Reply, Subject};

/// An application with its state. A router that still lacks its state would build its layers again
/// for every request.
#[derive(Clone)]
pub struct AxumClient(Router);

impl AxumClient {
    pub fn new(router: Router) -> Self {
        Self(router.with_state(()))
    }
}

impl Subject for AxumClient {
    type Client = Self;

    async fn client(&self) -> Self {
        self.clone()
    }
}

impl Client for AxumClient {
    type Reply = Response<Body>;

    async fn call(&mut self, path: &'static str, cookie: Option<&HeaderValue>) -> Response<Body> {
        call(&mut self.0, path, header::COOKIE, cookie).await
    }
}

async fn call(
    router: &mut Router,
    path: &'static str,
    name: HeaderName,
    value: Option<&HeaderValue>,
) -> Response<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static(path);
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("example.org"));
    if let Some(value) = value {
        request.headers_mut().insert(name, value.clone());
    }
    router.call(request).await.unwrap_or_else(|never: Infallible| match never {})
}

impl Reply for Response<Body> {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }

    fn keep(&self, kept: &mut Option<HeaderValue>) {
        let lines = self.headers().get_all(header::SET_COOKIE);
        lines.iter().for_each(|line| visitor::keep_cookie(kept, line.as_bytes()));
    }

    async fn text(self) -> String {
        let body = self.into_body().collect().await.expect("a body in memory").to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    }
}

/// The header that carries the token of a [`TokenClient`]'s request, and that of the response.
pub const TOKEN: HeaderName = HeaderName::from_static("x-session-token");
const NEW_TOKEN: HeaderName = HeaderName::from_static("session-token");

/// The same application for a client that keeps a token and no cookies.
#[derive(Clone)]
pub struct TokenClient(pub AxumClient);

impl Subject for TokenClient {
    type Client = Self;

    async fn client(&self) -> Self {
        self.clone()
    }
}

impl Client for TokenClient {
    type Reply = TokenReply;

    async fn call(&mut self, path: &'static str, token: Option<&HeaderValue>) -> TokenReply {
        TokenReply(call(&mut self.0.0, path, TOKEN, token).await)
    }
}

pub struct TokenReply(Response<Body>);

impl Reply for TokenReply {
    fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    fn keep(&self, kept: &mut Option<HeaderValue>) {
        if let Some(token) = self.0.headers().get(NEW_TOKEN) {
            *kept = Some(token.clone());
        }
    }

    fn text(self) -> impl Future<Output = String> {
        self.0.text()
    }
}

/// A session of a library without flash messages: a message is a value that is inserted before the
/// redirect and removed after it.
pub trait Values: FromRequestParts<()> + Send + Sync + 'static {
    fn get<T: DeserializeOwned + Send>(
        &self,
        name: &'static str,
    ) -> impl Future<Output = Option<T>> + Send;

    fn insert<T: Serialize + Send + Sync + 'static>(
        &self,
        name: &'static str,
        value: T,
    ) -> impl Future<Output = ()> + Send;

    fn remove<T: DeserializeOwned + Send>(
        &self,
        name: &'static str,
    ) -> impl Future<Output = Option<T>> + Send;

    fn rotate(&self) -> impl Future<Output = ()> + Send;
}

/// Returns the application over such a library, without its layer.
pub fn routes<S: Values>() -> Router {
    Router::new()
        .route("/untouched", get(async || "ok"))
        .route("/read", get(read::<S>))
        .route("/items", get(items::<S>))
        .route("/count", get(count::<S>))
        .route("/fill", get(fill::<S>))
        .route("/rotate", get(rotate::<S>))
        .route("/flash", get(flash::<S>))
        .route("/flashed", get(flashed::<S>))
}

async fn read<S: Values>(session: S) -> String {
    session.get::<u64>(data::USER).await.unwrap_or_default().to_string()
}

async fn items<S: Values>(session: S) -> String {
    session.get::<Vec<Item>>(data::CART).await.unwrap_or_default().len().to_string()
}

async fn count<S: Values>(session: S) -> String {
    let count = session.get::<u64>(data::COUNTER).await.unwrap_or(0) + 1;
    session.insert(data::COUNTER, count).await;
    count.to_string()
}

async fn fill<S: Values>(session: S) -> &'static str {
    session.insert(data::USER, data::USER_ID).await;
    session.insert(data::COUNTER, 0).await;
    session.insert(data::CART, data::cart()).await;
    "filled"
}

async fn rotate<S: Values>(session: S) -> &'static str {
    session.rotate().await;
    "rotated"
}

async fn flash<S: Values>(session: S) -> Response<Body> {
    session.insert(data::MESSAGE, data::SAVED).await;
    see_other()
}

async fn flashed<S: Values>(session: S) -> String {
    session.remove::<String>(data::MESSAGE).await.unwrap_or_default()
}

/// Returns a redirect after a form.
pub fn see_other() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/flashed"));
    response
}
