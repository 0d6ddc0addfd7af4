//! Sends requests to an actix application: this library's, and those of `actix-session`.

use std::rc::Rc;

use actix_web::Error;
use actix_web::body::to_bytes;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{Uri, header};

use crate::visitor::{self, Client, Reply, Subject};

/// Adds the routes to an `App` or a configuration, with the handlers of the caller's module.
#[macro_export]
macro_rules! actix_routes {
    ($app:expr) => {
        $app.route("/untouched", web::get().to(untouched))
            .route("/read", web::get().to(read))
            .route("/items", web::get().to(items))
            .route("/count", web::get().to(count))
            .route("/fill", web::get().to(fill))
            .route("/rotate", web::get().to(rotate))
            .route("/flash", web::get().to(flash))
            .route("/flashed", web::get().to(flashed))
    };
}

/// The handler that leaves the session untouched.
pub async fn untouched() -> &'static str {
    "ok"
}

/// Makes an application of actix, one for each thread, as its server does.
#[derive(Clone)]
pub struct ActixSubject<F>(pub F);

impl<F, S> Subject for ActixSubject<F>
where
    F: AsyncFn() -> S + Clone + Send + 'static,
    S: Service<actix_http::Request, Response = ServiceResponse, Error = Error> + 'static,
{
    type Client = ActixClient<S>;

    async fn client(&self) -> ActixClient<S> {
        ActixClient { app: Rc::new((self.0)().await), cookie: None }
    }
}

/// Sends requests to an application. It keeps the cookie in the type of actix's release of `http`.
pub struct ActixClient<S> {
    app: Rc<S>,
    cookie: Option<header::HeaderValue>,
}

impl<S> Clone for ActixClient<S> {
    fn clone(&self) -> Self {
        Self { app: Rc::clone(&self.app), cookie: None }
    }
}

impl<S> ActixClient<S> {
    /// Returns the earlier value unless the cookie has changed, because axum's client does not copy
    /// it either.
    fn cookie(&mut self, cookie: &http::HeaderValue) -> header::HeaderValue {
        match &self.cookie {
            Some(known) if known.as_bytes() == cookie.as_bytes() => known.clone(),
            _ => {
                let value =
                    header::HeaderValue::from_bytes(cookie.as_bytes()).expect("the same rules");
                self.cookie.insert(value).clone()
            }
        }
    }
}

impl<S> Client for ActixClient<S>
where
    S: Service<actix_http::Request, Response = ServiceResponse, Error = Error>,
{
    type Reply = ActixReply;

    async fn call(&mut self, path: &'static str, cookie: Option<&http::HeaderValue>) -> ActixReply {
        let mut request = actix_http::Request::new();
        let cookie = cookie.map(|cookie| self.cookie(cookie));
        let head = request.head_mut();
        head.uri = Uri::from_static(path);
        head.headers.insert(header::HOST, header::HeaderValue::from_static("example.org"));
        if let Some(cookie) = cookie {
            head.headers.insert(header::COOKIE, cookie);
        }
        ActixReply(self.app.call(request).await.expect("an answer"))
    }
}

pub struct ActixReply(ServiceResponse);

impl Reply for ActixReply {
    fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    fn keep(&self, kept: &mut Option<http::HeaderValue>) {
        let lines = self.0.headers().get_all(header::SET_COOKIE);
        lines.for_each(|line| visitor::keep_cookie(kept, line.as_bytes()));
    }

    async fn text(self) -> String {
        let body = to_bytes(self.0.into_body()).await.expect("a body in memory");
        String::from_utf8_lossy(&body).into_owned()
    }
}
