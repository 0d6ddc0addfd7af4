//! Sends requests to an axum application, with the routes that every axum subject has.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use crate::visitor::{Client, Reply};

/// An application with its state. A router that still lacks its state would build its layers again
/// for every request.
#[derive(Clone)]
pub struct AxumClient(Router);

impl AxumClient {
    pub fn new(router: Router) -> Self {
        Self(router.with_state(()))
    }
}

impl Client for AxumClient {
    type Reply = Response<Body>;

    async fn call(&mut self, path: &'static str, cookie: Option<&HeaderValue>) -> Response<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static(path);
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("example.org"));
        if let Some(cookie) = cookie {
            request.headers_mut().insert(header::COOKIE, cookie.clone());
        }
        self.0.call(request).await.unwrap_or_else(|never: Infallible| match never {})
    }
}

impl Reply for Response<Body> {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }

    fn set_cookies(&self, f: &mut dyn FnMut(&[u8])) {
        self.headers().get_all(header::SET_COOKIE).iter().for_each(|line| f(line.as_bytes()));
    }

    async fn text(self) -> String {
        let body = self.into_body().collect().await.expect("a body in memory").to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    }
}

/// Returns a redirect after a form.
pub fn see_other() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::SEE_OTHER;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/flashed"));
    response
}
