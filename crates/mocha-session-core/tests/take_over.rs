//! Sessions of another library: each becomes one of ours, once, and only where it must be asked
//! for. What the libraries themselves store is read in `mocha-session-compat`'s tests.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mocha_session_core::store::async_trait;
use mocha_session_core::{
    CookiePolicy, Error, ErrorKind, OldSessions, RequestInfo, Result, Session, SessionManager,
};
use support::{App, Browser, Calls, listed};

const SECRET: &str = "qR7kXz3mVbN1Lp9sTjYd2HfUcAe5KoWgGt8Zx4Cv";

/// User names under the values of an old cookie, `sid`.
#[derive(Default)]
struct Users {
    live: Mutex<HashMap<String, String>>,
    reads: AtomicUsize,
    /// The engine of the old sessions is down for writes.
    down: AtomicBool,
    /// Sessions that only their cookies have.
    endless: bool,
}

#[derive(Clone, Default)]
struct Old(Arc<Users>);

impl Old {
    fn with_alice() -> Self {
        let old = Self::default();
        old.0.live.lock().unwrap().insert("a1".into(), "alice".into());
        old
    }

    fn endless() -> Self {
        let users = Users { endless: true, ..Users::default() };
        users.live.lock().unwrap().insert("a1".into(), "alice".into());
        Self(Arc::new(users))
    }

    fn reads(&self) -> usize {
        self.0.reads.swap(0, Ordering::Relaxed)
    }

    fn live(&self) -> usize {
        self.0.live.lock().unwrap().len()
    }

    fn app(&self) -> App {
        App::with(|builder| builder.take_over(self.clone()))
    }
}

#[async_trait]
impl OldSessions for Old {
    fn cookie(&self) -> &'static str {
        "sid"
    }

    async fn read(&self, cookie: &str, session: &Session) -> Result<bool> {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        let user = self.0.live.lock().unwrap().get(cookie).cloned();
        let Some(user) = user else { return Ok(false) };
        session.insert("n", 42)?;
        session.login(user)?;
        Ok(true)
    }

    async fn end(&self, cookie: &str) -> Result<()> {
        if self.0.down.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "the old sessions' engine is down"));
        }
        if !self.0.endless {
            self.0.live.lock().unwrap().remove(cookie);
        }
        Ok(())
    }
}

/// A browser with the old application's cookie.
fn old_browser() -> Browser {
    Browser { cookie: Some("theme=dark; sid=a1".into()) }
}

fn owner(session: &Session) -> (Option<String>, Option<u32>) {
    (session.owner(), session.get("n").unwrap())
}

fn alice() -> (Option<String>, Option<u32>) {
    (Some("alice".into()), Some(42))
}

#[tokio::test]
async fn an_old_session_goes_on_as_one_of_ours_once() {
    let old = Old::with_alice();
    let app = old.app();
    let mut browser = old_browser();
    assert_eq!(browser.request(&app.manager, owner).await, alice());
    assert!(browser.header().starts_with("__Host-session="), "{}", browser.header());
    assert_eq!((old.live(), listed(&app.manager, "alice").await), (0, 1));
    assert_eq!(browser.request(&app.manager, owner).await, alice());
    assert_eq!(old.reads(), 1);
}

#[tokio::test]
async fn requests_with_our_cookie_or_without_an_old_one_cost_nothing_more() {
    let old = Old::with_alice();
    let (with, without) = (old.app(), App::new());
    let read = async |app: &App, cookie: String| {
        app.store.reset_calls();
        let mut browser = Browser { cookie: Some(cookie) };
        browser.request(&app.manager, |session| session.owner()).await;
        app.store.calls()
    };
    let mut bob = Browser::new();
    bob.request(&with.manager, |session| session.login("bob")).await.unwrap();
    let unknown = Browser::new().header() + "__Host-session=unknown";
    for cookie in [bob.header(), unknown, String::new(), "sid2=a1; asid=a1; sid=".into()] {
        let expected = read(&without, cookie.clone()).await;
        assert_eq!(read(&with, cookie).await, expected);
    }
    // Even beside an old one.
    assert_eq!(read(&with, format!("sid=a1; {}", bob.header())).await.all(), 1);
    assert_eq!((old.reads(), old.live()), (0, 1));
}

#[tokio::test]
async fn an_old_cookie_that_names_nothing_is_asked_for_and_nothing_is_stored() {
    let app = Old::default().app();
    let mut browser = old_browser();
    assert_eq!(browser.request(&app.manager, owner).await, (None, None));
    assert_eq!(app.store.calls(), Calls { load: 1, create: 0, update: 0, delete: 0 });
    assert_eq!(browser, old_browser(), "no cookie line");
}

#[tokio::test]
async fn requests_that_arrive_before_the_browser_has_our_cookie_get_the_same_session() {
    let old = Old::with_alice();
    let app = old.app();
    let (mut first, mut second) = (old_browser(), old_browser());
    first.request(&app.manager, |session| session.insert("cart", 1)).await.unwrap();
    // Another process: what is remembered is in the store.
    let elsewhere = app.process_with(|builder| builder.take_over(old.clone()));
    assert_eq!(second.request(&elsewhere, owner).await, alice());
    assert_eq!(second.get::<u32>(&app.manager, "cart").await, Some(1));
    assert_eq!((first, listed(&app.manager, "alice").await), (second, 1));
    assert_eq!(old.reads(), 1);
}

#[tokio::test]
async fn of_two_first_requests_at_once_one_begins_the_session_and_both_have_it() {
    let old = Old::with_alice();
    let app = old.app();
    // The first one has stored its session and is about to remember it.
    let mut held = app.store.pause("create", 2);
    let slow = {
        let manager = app.manager.clone();
        tokio::spawn(async move {
            let mut browser = old_browser();
            (browser.request(&manager, owner).await, browser)
        })
    };
    held.arrived().await;
    let mut fast = old_browser();
    assert_eq!(fast.request(&app.manager, owner).await, alice());
    held.release();
    let (seen, slow) = slow.await.unwrap();
    assert_eq!((seen, slow), (alice(), fast.clone()));
    assert_eq!((listed(&app.manager, "alice").await, old.live()), (1, 0), "the other one ended");
    assert_eq!(fast.request(&app.manager, owner).await, alice());
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_half_done() {
    let old = Old::with_alice();
    let app = old.app();
    let mut held = app.store.pause("create", 2);
    let gone = {
        let manager = app.manager.clone();
        tokio::spawn(async move { old_browser().request(&manager, owner).await })
    };
    held.arrived().await;
    gone.abort();
    held.release();
    let mut browser = old_browser();
    assert_eq!(browser.request(&app.manager, owner).await, alice());
    // What the first one began is ended by it, though nobody waits for it.
    let ended = async {
        while listed(&app.manager, "alice").await > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    assert_eq!((listed(&app.manager, "alice").await, old.live()), (1, 0));
}

#[tokio::test]
async fn a_logout_is_final_even_where_the_old_session_cannot_be_ended() {
    for old in [Old::with_alice(), Old::endless()] {
        let app = old.app();
        let mut browser = old_browser();
        browser.request(&app.manager, |session| session.destroy()).await.unwrap();
        assert_eq!(browser.cookie, None);
        let mut again = old_browser();
        assert_eq!(again.request(&app.manager, owner).await, (None, None));
        assert_eq!(listed(&app.manager, "alice").await, 0);
        // A stranger like any other: what is stored now has a session of its own.
        again.request(&app.manager, |session| session.insert("cart", 1)).await.unwrap();
        assert_eq!(again.get::<u32>(&app.manager, "cart").await, Some(1));
    }
}

#[tokio::test]
async fn a_request_that_crosses_a_new_id_does_not_log_the_user_out() {
    let old = Old::with_alice();
    let app = old.app();
    let mut browser = old_browser();
    browser.request(&app.manager, owner).await;
    browser.request(&app.manager, |session| session.rotate()).await.unwrap();
    let mut late = old_browser();
    late.request(&app.manager, |session| session.insert("late", 1)).await.unwrap();
    assert_eq!(late, old_browser(), "no line, and nothing stored");
    assert_eq!(browser.request(&app.manager, owner).await, alice());
}

#[tokio::test]
async fn an_old_session_that_cannot_be_ended_now_is_ended_by_the_next_request() {
    let old = Old::with_alice();
    let app = old.app();
    old.0.down.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let refused = old_browser().open(&app.manager).load().await.map(drop).unwrap_err();
        assert!(refused.is_unavailable() && refused.to_string().contains("take over"), "{refused}");
    }
    old.0.down.store(false, Ordering::Relaxed);
    let mut browser = old_browser();
    assert_eq!(browser.request(&app.manager, owner).await, alice());
    assert_eq!((old.live(), listed(&app.manager, "alice").await, old.reads()), (0, 1, 1));
}

#[tokio::test]
async fn an_engine_that_fails_takes_nothing_over_and_the_next_request_does() {
    for call in ["load", "create"] {
        let old = Old::with_alice();
        let app = old.app();
        app.store.fail(call, 20, ErrorKind::Unavailable);
        assert!(old_browser().open(&app.manager).load().await.is_err());
        assert_eq!(old.live(), 1, "{call}");
        app.store.repair();
        assert_eq!(old_browser().request(&app.manager, owner).await, alice());
        assert_eq!(listed(&app.manager, "alice").await, 1, "{call}");
    }
}

#[tokio::test]
async fn a_client_side_session_goes_on_too_and_has_no_second_beginning() {
    let old = Old::with_alice();
    let (_, plain) = App::client_side(SECRET);
    let manager = SessionManager::builder(mocha_session_core::Storage::client_side())
        .secrets(mocha_session_core::Secrets::parse(SECRET).unwrap())
        .take_over(old.clone())
        .build()
        .unwrap();
    let mut browser = old_browser();
    let (seen, _) = browser.request_status(&manager, 500, owner).await;
    assert_eq!(seen, alice());
    assert_eq!(browser.request(&plain, owner).await, alice(), "told even after an error");
    assert_eq!(old_browser().request(&manager, owner).await, (None, None));
}

#[tokio::test]
async fn a_cookie_of_the_same_name_is_refused() {
    let refused = SessionManager::builder(support::ScriptedStore::new(&App::new().clock))
        .cookie(CookiePolicy::named("sid").secure(false))
        .take_over(Old::default())
        .build()
        .unwrap_err();
    assert!(refused.is_invalid_config() && refused.to_string().contains("`sid`"), "{refused}");
}

#[tokio::test]
async fn an_untouched_session_takes_nothing_over() {
    let old = Old::with_alice();
    let app = old.app();
    let lazy = app.manager.open(RequestInfo::new("sid=a1"));
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!((old.reads(), app.store.calls().all()), (0, 0));
}
