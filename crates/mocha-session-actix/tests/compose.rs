//! Beside actix's own middleware, on either side.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use actix_http::Request;
use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::{
    Compress, Condition, DefaultHeaders, ErrorHandlerResponse, ErrorHandlers, Logger, Next,
    NormalizePath, from_fn,
};
use actix_web::test::{TestRequest, init_service};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse, error};
use mocha_session_actix::{Error, LazySession, Session, SessionMiddleware};
use mocha_session_core as core;
use support::{Client, count, manager};

async fn unavailable(session: Session) -> Result<HttpResponse, Error> {
    session.insert("n", 100)?;
    Ok(HttpResponse::ServiceUnavailable().finish())
}

async fn large(session: Session) -> Result<String, Error> {
    session.insert("large", 1)?;
    Ok("large ".repeat(1_000))
}

fn routes(config: &mut ServiceConfig) {
    config
        .route("/", web::post().to(count))
        .route("/unavailable", web::get().to(unavailable))
        .route("/large", web::get().to(large));
}

/// The promises that hold with any middleware around or within.
async fn proves<S, B>(app: S)
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    let mut client = Client::new(app);
    assert_eq!(client.post("/").await, (200, "1".into()));
    assert_eq!(client.post("/").await, (200, "2".into()));
    assert_eq!(client.get("/unavailable").await.0, 503);
    assert_eq!(client.post("/").await, (200, "3".into()), "the other committed nothing");
}

fn sessions() -> SessionMiddleware {
    SessionMiddleware::new(manager("s"))
}

fn header() -> DefaultHeaders {
    DefaultHeaders::new().add(("x-app", "1"))
}

/// A middleware of the application, whatever body lies within.
async fn passes(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
    next.call(request).await
}

#[actix_web::test]
async fn composes_on_either_side() {
    let app = || App::new().configure(routes);
    proves(init_service(app().wrap(Logger::default()).wrap(sessions())).await).await;
    proves(init_service(app().wrap(NormalizePath::trim()).wrap(sessions())).await).await;
    proves(init_service(app().wrap(header()).wrap(sessions())).await).await;
    proves(init_service(app().wrap(from_fn(passes)).wrap(sessions())).await).await;
    proves(init_service(app().wrap(Compress::default()).wrap(sessions())).await).await;
    proves(init_service(app().wrap(sessions()).wrap(Logger::default())).await).await;
    proves(init_service(app().wrap(sessions()).wrap(NormalizePath::trim())).await).await;
    proves(init_service(app().wrap(sessions()).wrap(header())).await).await;
    proves(init_service(app().wrap(sessions()).wrap(from_fn(passes))).await).await;
    proves(init_service(app().wrap(sessions()).wrap(Compress::default())).await).await;
    proves(init_service(app().wrap(Condition::new(true, sessions()))).await).await;
    let scoped = App::new().service(web::scope("").configure(routes).wrap(sessions()));
    proves(init_service(scoped).await).await;
    let resource = web::resource("/").route(web::post().to(count)).wrap(sessions());
    assert_eq!(Client::new(init_service(App::new().service(resource)).await).lines("/").await, 1);
}

#[actix_web::test]
async fn what_is_compressed_within_or_around_has_its_cookie() {
    let gzip = || TestRequest::get().uri("/large").insert_header((header::ACCEPT_ENCODING, "gzip"));
    let app = App::new().configure(routes).wrap(Compress::default()).wrap(sessions());
    let within = Client::new(init_service(app).await).request(gzip()).await;
    let app = App::new().configure(routes).wrap(sessions()).wrap(Compress::default());
    let around = Client::new(init_service(app).await).request(gzip()).await;
    for response in [within, around] {
        assert_eq!(response.headers().get(header::CONTENT_ENCODING).unwrap(), "gzip");
        assert!(response.headers().contains_key(header::SET_COOKIE));
        assert!(to_bytes(response.into_body()).await.unwrap().len() < 500);
    }
}

#[actix_web::test]
async fn error_pages_of_the_application_see_the_errors_of_sessions_from_around() {
    #[allow(clippy::unnecessary_wraps, reason = "what `ErrorHandlers` takes")]
    fn page(response: ServiceResponse) -> actix_web::Result<ErrorHandlerResponse<BoxBody>> {
        let (request, _) = response.into_parts();
        let page = HttpResponse::InternalServerError().body("our page");
        Ok(ErrorHandlerResponse::Response(ServiceResponse::new(request, page).map_into_left_body()))
    }
    let pages = || ErrorHandlers::new().handler(StatusCode::INTERNAL_SERVER_ERROR, page);
    let routes = |config: &mut ServiceConfig| {
        config.route("/", web::get().to(async |_: Session<u8>| "never"));
    };
    let app = App::new().configure(routes).wrap(pages()).wrap(sessions());
    assert_eq!(Client::new(init_service(app).await).get("/").await, (500, "our page".into()));
    let app = App::new().configure(routes).wrap(sessions()).wrap(pages());
    assert_eq!(Client::new(init_service(app).await).get("/").await, (500, "our page".into()));
}

/// A guard that sends strangers away, as an error of the service.
async fn guard(
    session: Session,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
    match request.query_string() {
        "refuse" => {
            session.insert("refused", true).map_err(Error::from)?;
            Err(error::ErrorForbidden("not you"))
        }
        "fail" => {
            session.insert("refused", true).map_err(Error::from)?;
            session.get::<String>("refused").map_err(Error::from)?;
            next.call(request).await
        }
        _ => next.call(request).await,
    }
}

async fn refused(session: Session) -> Result<String, Error> {
    Ok(session.get::<bool>("refused")?.unwrap_or_default().to_string())
}

#[actix_web::test]
async fn an_error_of_a_middleware_within_is_a_response_of_its_status() {
    let sessions = sessions().on_error(|error: &core::Error, request| {
        HttpResponse::InternalServerError().body(format!(
            "{} {:?}",
            request.uri.path(),
            error.kind()
        ))
    });
    let app = App::new().route("/", web::get().to(refused)).wrap(from_fn(guard)).wrap(sessions);
    let mut client = Client::new(init_service(app).await);
    assert_eq!(client.get("/?fail").await, (500, "/ InvalidInput".into()));
    assert_eq!(
        client.get("/").await,
        (200, "false".into()),
        "the session's error committed nothing"
    );
    let response = client.send(Method::GET, "/?refuse").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(response.headers().contains_key(header::SET_COOKIE));
    assert_eq!(response.headers().get(header::CACHE_CONTROL).unwrap(), "no-store");
    assert_eq!(client.get("/").await, (200, "true".into()), "as any response of 403");
}

#[actix_web::test]
async fn a_middleware_within_whose_extractor_fails_is_shaped_too() {
    async fn wants(
        _: LazySession<u8>,
        request: ServiceRequest,
        next: Next<impl MessageBody + 'static>,
    ) -> actix_web::Result<ServiceResponse<impl MessageBody>> {
        next.call(request).await
    }
    let sessions = sessions().on_error(|_, _| HttpResponse::Gone().body("shaped"));
    let app = App::new().configure(routes).wrap(from_fn(wants)).wrap(sessions);
    assert_eq!(Client::new(init_service(app).await).post("/").await, (410, "shaped".into()));
}
