//! A client that keeps its cookies, and a manager for it.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by several test binaries")]

use actix_http::Request;
use actix_web::HttpResponse;
use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::test::TestRequest;
use mocha_session_actix::{Error, Session};
use mocha_session_core::{CookiePolicy, SessionManager};
use mocha_session_memory::MemoryStore;

/// Sessions in memory, under a cookie of this name.
pub(crate) fn manager(cookie: &str) -> SessionManager {
    SessionManager::builder(MemoryStore::new()).cookie(CookiePolicy::named(cookie)).build().unwrap()
}

/// A handler that counts.
pub(crate) async fn count(session: Session) -> Result<String, Error> {
    Ok(session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?.to_string())
}

/// A client of an application.
pub(crate) struct Client<S> {
    app: S,
    cookies: Vec<String>,
}

impl<S, B> Client<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    pub(crate) fn new(app: S) -> Self {
        Self { app, cookies: Vec::new() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> (u16, String) {
        Self::read(self.send(Method::GET, path).await).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> (u16, String) {
        Self::read(self.send(Method::POST, path).await).await
    }

    /// Sends a POST that must succeed, and counts the cookie lines of the answer.
    pub(crate) async fn lines(&mut self, path: &str) -> usize {
        let response = self.send(Method::POST, path).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.headers().get_all(header::SET_COOKIE).count()
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str) -> HttpResponse {
        self.request(TestRequest::with_uri(path).method(method)).await
    }

    pub(crate) async fn request(&mut self, request: TestRequest) -> HttpResponse {
        let request = request.insert_header((header::COOKIE, self.cookies.join("; ")));
        let response = match self.app.call(request.to_request()).await {
            Ok(response) => response.into_parts().1.map_into_boxed_body(),
            // As actix does with an error that reaches it.
            Err(error) => error.error_response(),
        };
        for line in response.headers().get_all(header::SET_COOKIE) {
            let pair = line.to_str().unwrap().split(';').next().unwrap().to_owned();
            let name = pair.split('=').next().unwrap().to_owned();
            self.cookies.retain(|own| own.split('=').next() != Some(&name));
            self.cookies.push(pair);
        }
        response
    }

    async fn read(response: HttpResponse) -> (u16, String) {
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body()).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }
}
