//! The application under axum.

use std::fmt;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use mocha_session::SessionManager;
use mocha_session::axum::{Error, Flash, LazySession, Session, SessionLayer};
use tower::ServiceExt as _;

use super::{Answer, Answering, Client, Framework, Gate, Send};

/// axum, through the tower layer.
#[derive(Debug)]
pub struct Axum;

impl Framework for Axum {
    fn serve(manager: SessionManager, gate: Gate) -> Box<dyn Client> {
        let router = Router::new()
            .route("/untouched", get(|| async { "ok" }))
            .route("/lazy", get(|_lazy: LazySession| async { "ok" }))
            .route("/read", get(read))
            .route(
                "/contains",
                get(|session: Session| async move { session.contains("n").to_string() }),
            )
            .route("/optional", get(optional))
            .route(
                "/owner",
                get(|session: Session| async move { session.owner().unwrap_or_default() }),
            )
            .route("/count", post(count))
            .route("/set/{key}/{value}", post(set))
            .route("/get/{key}", get(text))
            .route(
                "/clear",
                post(|session: Session| async move { session.clear().map_err(Error::from) }),
            )
            .route("/login/{who}", post(login))
            .route(
                "/rotate",
                post(|session: Session| async move { session.rotate().map_err(Error::from) }),
            )
            .route(
                "/logout",
                post(|session: Session| async move { session.destroy().map_err(Error::from) }),
            )
            .route("/status/{status}", post(status))
            .route("/committed/{status}", post(committed))
            .route("/panic", post(panicking))
            .route("/slow", post(slow))
            .route("/flash/{text}", post(flash))
            .route("/messages/{status}", get(messages))
            .route("/cached", get(cached).post(cached_write))
            .layer(SessionLayer::new(manager))
            .with_state(gate);
        Box::new(AxumClient(router))
    }
}

type Handled<T = Response> = Result<T, Error>;

async fn read(session: Session) -> Handled<String> {
    Ok(session.get::<u64>("n")?.unwrap_or_default().to_string())
}

async fn optional(session: Option<Session>) -> &'static str {
    if session.is_some() { "some" } else { "none" }
}

async fn count(session: Session) -> Handled<String> {
    Ok(session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?.to_string())
}

async fn set(session: Session, Path((key, value)): Path<(String, String)>) -> Handled<()> {
    Ok(session.insert(key, value)?)
}

async fn text(session: Session, Path(key): Path<String>) -> Handled<String> {
    Ok(session.get(key)?.unwrap_or_default())
}

async fn login(session: Session, Path(who): Path<String>) -> Handled<()> {
    Ok(session.login(who)?)
}

async fn status(session: Session, Path(status): Path<u16>) -> Handled {
    session.insert("n", 99)?;
    Ok(StatusCode::from_u16(status).unwrap().into_response())
}

async fn committed(session: Session, Path(status): Path<u16>) -> Handled {
    session.login("early")?;
    session.commit().await?;
    session.insert("n", 99)?;
    Ok(StatusCode::from_u16(status).unwrap().into_response())
}

async fn panicking(session: Session) -> Handled<()> {
    session.insert("n", 99)?;
    panic!("as the test asked");
}

async fn slow(State(gate): State<Gate>, session: Session) -> Handled<()> {
    gate.pass().await;
    Ok(session.insert("slow", "yes")?)
}

async fn flash(flash: Flash, Path(text): Path<String>) -> Handled<Redirect> {
    flash.info(text)?;
    Ok(Redirect::to("/messages/200"))
}

async fn messages(flash: Flash, Path(status): Path<u16>) -> Handled {
    let texts: Vec<_> = flash.messages().iter().map(|message| message.text().to_owned()).collect();
    Ok((StatusCode::from_u16(status).unwrap(), texts.join(",")).into_response())
}

async fn cached(session: Session) -> Handled {
    read(session).await.map(own_headers)
}

async fn cached_write(session: Session) -> Handled {
    count(session).await.map(own_headers)
}

fn own_headers(body: String) -> Response {
    ([(header::CACHE_CONTROL, "public, max-age=60"), (header::SET_COOKIE, "theme=dark")], body)
        .into_response()
}

struct AxumClient(Router);

impl Client for AxumClient {
    fn send(&self, request: Send) -> Answering<'_> {
        let (service, request) = (self.0.clone(), request.into_http(Body::empty()));
        Box::pin(async move { Answer::read(service.oneshot(request).await.unwrap()).await })
    }

    fn again(&self) -> Box<dyn Client> {
        Box::new(Self(self.0.clone()))
    }
}

impl fmt::Debug for AxumClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AxumClient")
    }
}
