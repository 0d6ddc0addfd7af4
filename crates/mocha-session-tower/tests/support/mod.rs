//! A client that keeps its cookies, and a manager for it.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by several test binaries")]

use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use mocha_session_core::{CookiePolicy, SessionManager};
use mocha_session_memory::MemoryStore;
use tower::ServiceExt as _;

/// Sessions in memory, under a cookie of this name.
pub(crate) fn manager(cookie: &str) -> SessionManager {
    SessionManager::builder(MemoryStore::new()).cookie(CookiePolicy::named(cookie)).build().unwrap()
}

/// A client of an application.
pub(crate) struct Client {
    app: Router,
    cookies: Vec<String>,
}

impl Client {
    pub(crate) fn new(app: Router) -> Self {
        Self { app, cookies: Vec::new() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> (StatusCode, String) {
        Self::read(self.send(Method::GET, path).await).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> (StatusCode, String) {
        Self::read(self.send(Method::POST, path).await).await
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str) -> Response<Body> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, self.cookies.join("; "))
            .body(Body::empty())
            .unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        for line in response.headers().get_all(header::SET_COOKIE) {
            let pair = line.to_str().unwrap().split(';').next().unwrap().to_owned();
            let name = pair.split('=').next().unwrap().to_owned();
            self.cookies.retain(|own| own.split('=').next() != Some(&name));
            self.cookies.push(pair);
        }
        response
    }

    async fn read(response: Response<Body>) -> (StatusCode, String) {
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }
}
