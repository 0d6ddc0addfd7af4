//! A session that somebody asks for only after the response went out.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use mocha_session_core::{ErrorKind, SessionManager};
use mocha_session_memory::MemoryStore;
use mocha_session_tower::{LazySession, SessionLayer};
use tower::ServiceExt as _;

#[tokio::test]
async fn what_nobody_asked_for_in_time_is_closed() {
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let handler = async move |lazy: LazySession| {
        *keep.lock().unwrap() = Some(lazy.into_inner());
        "the rest follows as a stream"
    };
    let manager = SessionManager::new(MemoryStore::new()).unwrap();
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(manager));
    let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    assert!(!response.headers().contains_key("vary"), "untouched");
    let lazy = kept.lock().unwrap().take().unwrap();
    // An empty session whose changes nobody commits would be a lie.
    assert_eq!(lazy.load().await.unwrap_err().kind(), ErrorKind::Closed);
}
