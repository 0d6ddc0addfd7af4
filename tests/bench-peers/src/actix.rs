//! actix-session over actix-web: in the cookie, over Redis, and the bare handler that they are to
//! be compared with.
//!
//! It opens the cookie and loads the session before the handler, used or not. Both cookies are
//! encrypted, as is its default. A session in the cookie has no id: `renew` seals the same content
//! anew, and the old cookie stays good.

use std::rc::Rc;

use actix_session::config::PersistentSession;
use actix_session::storage::{CookieSessionStore, RedisSessionStore, SessionStore};
use actix_session::{Session, SessionMiddleware};
use actix_web::body::to_bytes;
use actix_web::cookie::{Key, SameSite};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{Uri, header};
use actix_web::{App, Error, HttpResponse, test, web};
use mocha_session_bench::data::{self, Item};
use mocha_session_bench::visitor::{Client, Reply, Subject};

use crate::TWO_WEEKS;

pub(crate) fn floor() -> impl Subject {
    ActixSubject(async || {
        test::init_service(App::new().route("/untouched", web::get().to(untouched))).await
    })
}

pub(crate) fn cookie() -> impl Subject {
    with_sessions(CookieSessionStore::default)
}

/// Over the one connection that its store has.
pub(crate) async fn redis(url: &str) -> impl Subject + use<> {
    let store = RedisSessionStore::new(url).await.expect("a server that answers");
    with_sessions(move || store.clone())
}

fn with_sessions<S: SessionStore + 'static>(
    store: impl Fn() -> S + Clone + Send + 'static,
) -> impl Subject {
    let key = Key::generate();
    ActixSubject(async move || {
        let sessions = sessions(store(), key.clone());
        test::init_service(App::new().wrap(sessions).configure(routes)).await
    })
}

fn sessions<S: SessionStore>(store: S, key: Key) -> SessionMiddleware<S> {
    SessionMiddleware::builder(store, key)
        .session_lifecycle(PersistentSession::default().session_ttl(TWO_WEEKS))
        .cookie_secure(true)
        .cookie_http_only(true)
        .cookie_same_site(SameSite::Lax)
        .cookie_path("/".to_owned())
        .build()
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/untouched", web::get().to(untouched))
        .route("/read", web::get().to(read))
        .route("/items", web::get().to(items))
        .route("/count", web::get().to(count))
        .route("/fill", web::get().to(fill))
        .route("/rotate", web::get().to(rotate))
        .route("/flash", web::get().to(flash))
        .route("/flashed", web::get().to(flashed));
}

async fn untouched() -> &'static str {
    "ok"
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(session.get::<u64>(data::USER)?.unwrap_or_default().to_string())
}

async fn items(session: Session) -> Result<String, Error> {
    Ok(session.get::<Vec<Item>>(data::CART)?.unwrap_or_default().len().to_string())
}

async fn count(session: Session) -> Result<String, Error> {
    let count = session.get::<u64>(data::COUNTER)?.unwrap_or(0) + 1;
    session.insert(data::COUNTER, count)?;
    Ok(count.to_string())
}

async fn fill(session: Session) -> Result<&'static str, Error> {
    session.insert(data::USER, data::USER_ID)?;
    session.insert(data::COUNTER, 0)?;
    session.insert(data::CART, data::cart())?;
    Ok("filled")
}

async fn rotate(session: Session) -> &'static str {
    session.renew();
    "rotated"
}

async fn flash(session: Session) -> Result<HttpResponse, Error> {
    session.insert(data::MESSAGE, data::SAVED)?;
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/flashed")).finish())
}

async fn flashed(session: Session) -> String {
    session.remove_as::<String>(data::MESSAGE).and_then(Result::ok).unwrap_or_default()
}

/// How to have an application of actix: one for each thread, as its server has them.
#[derive(Clone)]
struct ActixSubject<F>(F);

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

/// Requests into an application, and the cookie they carry as actix's release of `http` has it.
struct ActixClient<S> {
    app: Rc<S>,
    cookie: Option<header::HeaderValue>,
}

impl<S> Clone for ActixClient<S> {
    fn clone(&self) -> Self {
        Self { app: Rc::clone(&self.app), cookie: None }
    }
}

impl<S> ActixClient<S> {
    /// The same value from one request to the next, unless it changed: those of axum do not copy it
    /// either.
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

struct ActixReply(ServiceResponse);

impl Reply for ActixReply {
    fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    fn set_cookies(&self, f: &mut dyn FnMut(&[u8])) {
        self.0.headers().get_all(header::SET_COOKIE).for_each(|line| f(line.as_bytes()));
    }

    async fn text(self) -> String {
        let body = to_bytes(self.0.into_body()).await.expect("a body in memory");
        String::from_utf8_lossy(&body).into_owned()
    }
}
