//! A counter under poem. Its bridge hands a layer requests of poem's own type, so a middleware of a
//! few lines hands the tower layer the head of the request.
//!
//! ```console
//! $ cargo run -p mocha-session-bridges --example poem
//! $ curl -c jar -b jar localhost:3000
//! ```

use std::convert::Infallible;
use std::io;

use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use mocha_session::store::Bytes;
use mocha_session::tower::{SessionLayer, Sessions};
use mocha_session::{CookiePolicy, SessionManager, open};
use mocha_session_bridges::Synced;
use poem::http::StatusCode;
use poem::listener::TcpListener;
use poem::{
    Endpoint, EndpointExt as _, FromRequest, Middleware, Request, RequestBody, Response, Route,
    Server, get, handler, post,
};
use tower::{Layer as _, ServiceExt as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = SessionManager::builder(open("memory:").await?)
        .cookie(CookiePolicy::for_plain_http())
        .build()?;
    Ok(Server::new(TcpListener::bind("127.0.0.1:3000")).run(app(manager)).await?)
}

/// The application.
pub(crate) fn app(manager: SessionManager) -> impl Endpoint {
    Route::new()
        .at("/", get(count))
        .at("/login", post(login))
        .with(SessionMiddleware(SessionLayer::new(manager)))
}

#[handler]
fn count(session: Session) -> poem::Result<String> {
    let n = session.0.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).map_err(failed)?;
    Ok(format!("{} {n}", session.0.owner().unwrap_or_default()))
}

#[handler]
fn login(session: Session) -> poem::Result<()> {
    session.0.login("ada").map_err(failed)
}

/// The request's session, loaded.
struct Session(mocha_session::core::Session);

impl<'a> FromRequest<'a> for Session {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let sessions = request.extensions().get();
        let lazy = Sessions::require::<()>(sessions, "add the middleware").map_err(failed)?;
        lazy.load().await.map(Self).map_err(failed)
    }
}

fn failed(error: mocha_session::Error) -> poem::Error {
    let status = StatusCode::from_u16(error.http_status());
    poem::Error::from_status(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
}

/// The tower layer as poem's middleware.
struct SessionMiddleware(SessionLayer);

impl<E: Endpoint> Middleware<E> for SessionMiddleware {
    type Output = SessionEndpoint<E>;

    fn transform(&self, endpoint: E) -> Self::Output {
        SessionEndpoint { layer: self.0.clone(), endpoint }
    }
}

struct SessionEndpoint<E> {
    layer: SessionLayer,
    endpoint: E,
}

impl<E: Endpoint> Endpoint for SessionEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let mut head = http::Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.headers_mut() = request.headers().clone();
        *head.extensions_mut() = request.extensions().clone();
        let mut request = Some(request);
        let inner = tower::service_fn(|head: http::Request<()>| {
            let request = request.take();
            async move {
                let Some(mut request) = request else { return Ok(http::Response::default()) };
                *request.extensions_mut() = head.into_parts().0.extensions;
                let response = self.endpoint.get_response(request).await;
                Ok::<http::Response<BoxBody<Bytes, io::Error>>, Infallible>(response.into())
            }
        });
        let Ok(response) = self.layer.layer(inner).oneshot(head).await;
        let (parts, body) = response.into_parts();
        let body = Synced::new(body).map_err(io::Error::other).boxed();
        let mut response = Response::from(body);
        response.set_status(parts.status);
        response.set_version(parts.version);
        *response.headers_mut() = parts.headers;
        *response.extensions_mut() = parts.extensions;
        Ok(response)
    }
}
