//! The application that `docs/migrating.md` moves from tower-sessions to this library: five lines
//! change, and nobody is logged out.

#![allow(clippy::unwrap_used, reason = "tests")]

extern crate tower_sessions14 as tower_sessions;

#[path = "moved/after.rs"]
mod after;
#[path = "moved/before.rs"]
mod before;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, http::HeaderMap};
use mocha_session_conformance::engine_url;
use tower::ServiceExt as _;

/// Any error, as the applications' handlers have it.
#[derive(Debug)]
pub(crate) struct Failed;

impl<E: std::error::Error> From<E> for Failed {
    fn from(_: E) -> Self {
        Self
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// A visit with this cookie: the page, and the cookie from now on.
async fn visit(app: &Router, cookie: &str) -> (String, String) {
    let request = Request::get("/").header(header::COOKIE, cookie).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let cookie = set_cookie(response.headers()).unwrap_or_else(|| cookie.to_owned());
    let page = to_bytes(response.into_body(), 1000).await.unwrap();
    (String::from_utf8(page.to_vec()).unwrap(), cookie)
}

fn set_cookie(headers: &HeaderMap) -> Option<String> {
    let line = headers.get(header::SET_COOKIE)?.to_str().unwrap();
    Some(line.split(';').next().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn live_sessions_of_tower_sessions_in_redis_go_on_after_the_move() {
    let Some(url) = engine_url("MOCHA_TEST_REDIS_URL") else { return };
    let (before, after) = (before::app(&url).await.unwrap(), after::app(&url).await.unwrap());
    let (page, old) = visit(&before, "").await;
    assert_eq!((page.as_str(), old.starts_with("id=")), ("1", true));
    assert_eq!(visit(&before, &old).await.0, "2");

    let (page, new) = visit(&after, &old).await;
    assert_eq!((page.as_str(), new.starts_with("__Host-session=")), ("3", true));
    // The browser keeps the old cookie too.
    let both = format!("{old}; {new}");
    assert_eq!(visit(&after, &both).await, ("4".to_owned(), both));
    // It has moved: the old application does not know it any more.
    assert_eq!(visit(&before, &old).await.0, "1");
}

#[test]
fn the_guide_shows_the_five_lines_that_change() {
    let (before, after) = (include_str!("moved/before.rs"), include_str!("moved/after.rs"));
    let only = |text: &'static str, other: &'static str, sign: &'static str| {
        let lines = text.lines().filter(move |line| !other.lines().any(|it| it == *line));
        lines.map(move |line| format!("{sign}{line}")).collect::<Vec<_>>()
    };
    let (gone, new) = (only(before, after, "-"), only(after, before, "+"));
    assert_eq!((gone.len(), new.len()), (5, 5));
    let guide = include_str!("../../../docs/migrating.md");
    let diff = guide.split("```diff\n").nth(1).unwrap().split("```").next().unwrap();
    let shown = |sign| diff.lines().filter(move |line| line.starts_with(sign)).collect::<Vec<_>>();
    assert_eq!(
        (shown('-'), shown('+')),
        (gone.iter().map(|it| &**it).collect(), new.iter().map(|it| &**it).collect())
    );
}
