//! The layers of tower-sessions 0.14 and 0.15 over the store, on each engine: what visitors,
//! attackers and crossing requests get.

#![cfg(all(feature = "tower-sessions-0_14", feature = "tower-sessions-0_15"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

#[allow(dead_code, reason = "its main function")]
#[path = "../examples/tower_sessions.rs"]
mod example;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use support::on_engines;
use tokio::sync::Notify;
use tower::ServiceExt as _;

/// A browser, which keeps its cookie.
#[derive(Clone)]
struct Browser {
    app: Router,
    cookie: Option<String>,
}

/// A response: its status, its `Set-Cookie` lines, its text.
struct Answer {
    status: StatusCode,
    lines: Vec<String>,
    text: String,
}

impl Browser {
    fn of(app: &Router) -> Self {
        Self { app: app.clone(), cookie: None }
    }

    fn with(app: &Router, cookie: &str) -> Self {
        Self { app: app.clone(), cookie: Some(cookie.to_owned()) }
    }

    async fn get(&mut self, path: &str) -> Answer {
        let mut request = Request::builder().uri(path);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let lines = response.headers().get_all(header::SET_COOKIE).iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap().to_owned()).collect();
        for line in &lines {
            let pair = line.split(';').next().unwrap();
            self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
        }
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, lines, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn text(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        answer.text
    }
}

/// Holds a request back after it has used its session.
#[derive(Clone, Default)]
struct Gate {
    arrived: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    async fn wait(&self) {
        self.arrived.notify_one();
        self.open.notified().await;
    }
}

macro_rules! version {
    ($version:ident, $peer:ident, $store:ident) => {
        mod $version {
            mod cases {
                use axum::Router;
                use axum::extract::{Path, State};
                use axum::http::StatusCode;
                use axum::routing::get;
                use mocha_session_compat::$store::MochaStore;
                use mocha_session_core::Storage;
                use $peer::cookie::time::{Duration, OffsetDateTime};
                use $peer::session::Error;
                use $peer::{Expiry, Session, SessionManagerLayer};

                use crate::support::{Counting, Engine};
                use crate::{Browser, Gate};

                type Answer = Result<String, StatusCode>;

                fn failed(_: Error) -> StatusCode {
                    StatusCode::SERVICE_UNAVAILABLE
                }

                async fn read(session: Session, Path(key): Path<String>) -> Answer {
                    let value = session.get::<u64>(&key).await.map_err(failed)?;
                    Ok(value.map_or_else(|| "none".to_owned(), |value| value.to_string()))
                }

                async fn write(session: Session, Path(pair): Path<(String, u64)>) -> Answer {
                    session.insert(&pair.0, pair.1).await.map_err(failed)?;
                    Ok(String::new())
                }

                async fn remove(session: Session, Path(key): Path<String>) -> Answer {
                    session.remove::<u64>(&key).await.map_err(failed)?;
                    Ok(String::new())
                }

                async fn cycle(session: Session) -> Answer {
                    session.cycle_id().await.map_err(failed)?;
                    Ok(String::new())
                }

                async fn flush(session: Session) -> Answer {
                    session.flush().await.map_err(failed)?;
                    Ok(String::new())
                }

                async fn flush_and_write(session: Session) -> Answer {
                    session.flush().await.map_err(failed)?;
                    session.insert("n", 2).await.map_err(failed)?;
                    Ok(String::new())
                }

                async fn day(session: Session) -> Answer {
                    let day = OffsetDateTime::now_utc() + Duration::days(1);
                    session.set_expiry(Some(Expiry::AtDateTime(day)));
                    Ok(String::new())
                }

                async fn slow(session: Session, State(gate): State<Gate>) -> Answer {
                    session.insert("slow", 1).await.map_err(failed)?;
                    gate.wait().await;
                    Ok("done".to_owned())
                }

                async fn untouched(_: Session) -> &'static str {
                    "hello"
                }

                fn app(storage: impl Into<Storage>, gate: &Gate, idle: Duration) -> Router {
                    let store = MochaStore::new(storage).unwrap();
                    let layer = SessionManagerLayer::new(store)
                        .with_expiry(Expiry::OnInactivity(idle));
                    Router::new()
                        .route("/", get(untouched))
                        .route("/read/{key}", get(read))
                        .route("/write/{key}/{value}", get(write))
                        .route("/remove/{key}", get(remove))
                        .route("/cycle", get(cycle))
                        .route("/flush", get(flush))
                        .route("/flush_and_write", get(flush_and_write))
                        .route("/day", get(day))
                        .route("/slow", get(slow))
                        .with_state(gate.clone())
                        .layer(layer)
                }

                fn hourly(engine: &Engine) -> Router {
                    app(engine.storage.clone(), &Gate::default(), Duration::hours(1))
                }

                pub(super) async fn a_session_that_nobody_uses_costs_no_call_and_no_cookie(
                    engine: Engine,
                ) {
                    let store = Counting::new(&engine.storage);
                    let app = app(store.clone(), &Gate::default(), Duration::hours(1));
                    let mut browser = Browser::of(&app);
                    assert!(browser.get("/").await.lines.is_empty());
                    assert_eq!(browser.text("/read/n").await, "none");
                    assert_eq!((store.calls(), &browser.cookie), (0, &None));
                    browser.get("/write/n/1").await;
                    assert_eq!(store.calls(), 1);
                    assert!(browser.get("/").await.lines.is_empty());
                    assert_eq!(store.calls(), 0);
                    assert_eq!(browser.text("/read/n").await, "1");
                    assert_eq!(store.calls(), 1);
                }

                pub(super) async fn values_are_kept_changed_and_removed(engine: Engine) {
                    let app = hourly(&engine);
                    let mut browser = Browser::of(&app);
                    let line = browser.get("/write/n/42").await.lines.pop().unwrap();
                    assert!(line.contains("Max-Age=3600") || line.contains("Max-Age=3599"));
                    let there = engine.other_process().await;
                    let there = self::app(there, &Gate::default(), Duration::hours(1));
                    let mut elsewhere = Browser { app: there, ..browser.clone() };
                    assert_eq!(elsewhere.text("/read/n").await, "42");
                    elsewhere.get("/write/n/43").await;
                    assert_eq!(browser.text("/read/n").await, "43");
                    browser.get("/remove/n").await;
                    assert_eq!(elsewhere.text("/read/n").await, "none");
                    let line = browser.get("/day").await.lines.pop().unwrap();
                    assert!(line.contains("Max-Age=86400") || line.contains("Max-Age=86399"));
                }

                pub(super) async fn ids_that_a_client_made_up_are_not_adopted(engine: Engine) {
                    let app = hourly(&engine);
                    for made_up in ["id=AAAAAAAAAAAAAAAAAAAAAA", "id=malformed", "id="] {
                        for path in ["/write/n/1", "/flush_and_write"] {
                            let mut browser = Browser::with(&app, made_up);
                            assert!(browser.get(path).await.status.is_success());
                            assert_ne!(browser.cookie.as_deref(), Some(made_up));
                            assert_ne!(browser.text("/read/n").await, "none");
                            let mut attacker = Browser::with(&app, made_up);
                            assert_eq!(attacker.text("/read/n").await, "none");
                        }
                    }
                }

                pub(super) async fn a_new_id_keeps_the_values_and_ends_the_old_id(engine: Engine) {
                    let app = hourly(&engine);
                    let mut browser = Browser::of(&app);
                    browser.get("/write/n/1").await;
                    let mut old = browser.clone();
                    browser.get("/cycle").await;
                    assert_ne!(browser.cookie, old.cookie);
                    assert_eq!(browser.text("/read/n").await, "1");
                    assert_eq!(old.text("/read/n").await, "none");
                    assert_eq!(engine.live().await, 1);
                }

                pub(super) async fn a_logout_ends_the_session_and_removes_the_cookie(
                    engine: Engine,
                ) {
                    let app = hourly(&engine);
                    for (path, kept) in [("/flush", false), ("/flush_and_write", true)] {
                        let mut browser = Browser::of(&app);
                        browser.get("/write/secret/1").await;
                        let mut stolen = browser.clone();
                        browser.get(path).await;
                        assert_eq!(browser.cookie.is_some(), kept);
                        assert_ne!(browser.cookie, stolen.cookie);
                        assert_eq!(stolen.text("/read/secret").await, "none");
                        assert_eq!(stolen.text("/read/n").await, "none");
                    }
                }

                pub(super) async fn an_idle_session_expires(engine: Engine) {
                    let idle = Duration::milliseconds(1_500);
                    let app = app(engine.storage.clone(), &Gate::default(), idle);
                    let mut browser = Browser::of(&app);
                    browser.get("/write/n/1").await;
                    let mut late = browser.clone();
                    assert_eq!(browser.text("/read/n").await, "1");
                    tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
                    assert_eq!(late.text("/read/n").await, "none");
                    assert_eq!(engine.live().await, 0);
                }

                /// Sends `/slow`, does `meanwhile` while it runs, and returns its answer.
                async fn crossing(
                    slow: &Browser,
                    gate: &Gate,
                    meanwhile: impl AsyncFnOnce(),
                ) -> crate::Answer {
                    let mut slow = slow.clone();
                    let answer = tokio::spawn(async move { slow.get("/slow").await });
                    gate.arrived.notified().await;
                    meanwhile().await;
                    gate.open.notify_one();
                    answer.await.unwrap()
                }

                pub(super) async fn a_request_in_flight_brings_back_no_session_that_ended(
                    engine: Engine,
                ) {
                    let gate = Gate::default();
                    let app = app(engine.storage.clone(), &gate, Duration::hours(1));
                    // A logout, and a login that gives a new id.
                    for path in ["/flush", "/cycle"] {
                        let mut browser = Browser::of(&app);
                        browser.get("/write/secret/1").await;
                        let old = browser.clone();
                        let late = crossing(&old, &gate, async || {
                            browser.get(path).await;
                        });
                        let late = late.await;
                        // Its line would overwrite the newer cookie.
                        assert_eq!(late.status, StatusCode::INTERNAL_SERVER_ERROR);
                        assert_eq!(late.lines, Vec::<String>::new());
                        assert_eq!(old.clone().text("/read/secret").await, "none");
                        assert_eq!(old.clone().text("/read/slow").await, "none");
                    }
                    assert_eq!(engine.live().await, 1, "the session with the new id");
                }

                /// Not a promise: their layer writes the whole session.
                pub(super) async fn of_two_requests_at_once_the_last_write_wins(engine: Engine) {
                    let gate = Gate::default();
                    let app = app(engine.storage.clone(), &gate, Duration::hours(1));
                    let mut browser = Browser::of(&app);
                    browser.get("/write/n/1").await;
                    let mut other = browser.clone();
                    let late = crossing(&browser, &gate, async || {
                        other.get("/write/n/2").await;
                    });
                    assert_eq!(late.await.status, StatusCode::OK);
                    assert_eq!(browser.text("/read/slow").await, "1");
                    assert_eq!(browser.text("/read/n").await, "1", "the update to 2 is lost");
                }
            }

            use super::on_engines;

            on_engines!(tokio::test(flavor = "multi_thread"), cases:
                a_session_that_nobody_uses_costs_no_call_and_no_cookie,
                values_are_kept_changed_and_removed,
                ids_that_a_client_made_up_are_not_adopted,
                a_new_id_keeps_the_values_and_ends_the_old_id,
                a_logout_ends_the_session_and_removes_the_cookie,
                an_idle_session_expires,
                a_request_in_flight_brings_back_no_session_that_ended,
                of_two_requests_at_once_the_last_write_wins,
            );
        }
    };
}

version!(v0_14, tower_sessions14, tower_sessions_0_14);
version!(v0_15, tower_sessions15, tower_sessions_0_15);

#[tokio::test]
async fn the_example_counts() {
    let storage = support::memory().await.unwrap().storage;
    let mut browser = Browser::of(&example::app(storage).unwrap());
    for count in ["1", "2", "3"] {
        assert_eq!(browser.text("/").await, count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_down_is_an_error_and_the_cookie_stays() {
    let Some((storage, proxy)) = support::redis_behind_a_proxy().await else { return };
    let mut browser = Browser::of(&example::app(storage).unwrap());
    assert_eq!(browser.text("/").await, "1");
    let cookie = browser.cookie.clone();
    proxy.down();
    let answer = browser.get("/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((answer.lines, &browser.cookie), (Vec::new(), &cookie));
}
