//! Two live cookies of one name: nobody when read; a login or a logout ends all of them.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use mocha_session_conformance::tools::Trace;
use mocha_session_core::{LazySession, RequestInfo, Session, SessionManager};
use support::{App, Browser, listed, logged_in};

/// A browser that has a cookie of another path or domain beside its own.
struct Two {
    stray: Browser,
    own: Browser,
}

impl Two {
    async fn new(app: &App) -> Self {
        let (mut stray, mut own) = (Browser::new(), Browser::new());
        for browser in [&mut stray, &mut own] {
            browser.request(&app.manager, |session| session.insert("cart", 1)).await.unwrap();
        }
        Self { stray, own }
    }

    fn open(&self, manager: &SessionManager) -> LazySession {
        manager.open(RequestInfo::new(format!("{}; {}", self.stray.header(), self.own.header())))
    }

    /// A request with both; lines are for the browser's own.
    async fn request<T>(
        &mut self,
        manager: &SessionManager,
        handler: impl FnOnce(&Session) -> T,
    ) -> T {
        let lazy = self.open(manager);
        let answer = handler(&lazy.load().await.unwrap());
        self.own.take(&manager.finish(&lazy, 200).await.into_result().unwrap());
        answer
    }
}

#[tokio::test]
async fn who_logs_in_with_two_live_cookies_is_logged_in_on_the_next_page_and_leaves_one_session() {
    for times in 1..=3 {
        let app = App::new();
        let mut two = Two::new(&app).await;
        let (stray, own) = (two.stray.clone(), two.own.clone());
        for _ in 0..times {
            two.request(&app.manager, |session| {
                assert!(session.is_new() || session.owner().is_some());
                session.login("alice").unwrap();
            })
            .await;
        }
        let owner = two.request(&app.manager, |session| session.owner()).await;
        assert_eq!(owner.as_deref(), Some("alice"), "{times}");
        assert!(!stray.is_live(&app.manager).await && !own.is_live(&app.manager).await);
        assert_eq!((app.store.sessions(), listed(&app.manager, "alice").await), (1, 1), "{times}");
    }
}

#[tokio::test]
async fn who_logs_in_with_two_cookies_of_two_users_ends_the_sessions_of_both() {
    let app = App::new();
    let (stray, own) =
        (logged_in(&app.manager, "bob").await, logged_in(&app.manager, "carol").await);
    let mut two = Two { stray, own };
    two.request(&app.manager, |session| {
        assert_eq!(session.owner(), None);
        session.login("alice").unwrap();
    })
    .await;
    assert_eq!(
        two.request(&app.manager, |session| session.owner()).await.as_deref(),
        Some("alice")
    );
    assert_eq!(app.store.sessions(), 1);
    for (owner, sessions) in [("alice", 1), ("bob", 0), ("carol", 0)] {
        assert_eq!(listed(&app.manager, owner).await, sessions, "{owner}");
    }
}

#[tokio::test]
async fn who_logs_out_with_two_live_cookies_is_logged_out_of_both() {
    for explicit in [false, true] {
        let app = App::new();
        let mut two = Two::new(&app).await;
        let lazy = two.open(&app.manager);
        let session = lazy.load().await.unwrap();
        session.destroy().unwrap();
        if explicit {
            session.commit().await.unwrap();
        }
        let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
        assert!(headers.set_cookie().is_some_and(|line| line.contains("Max-Age=0")), "{explicit}");
        two.own.take(&headers);
        assert_eq!((app.store.sessions(), &two.own.cookie), (0, &None), "{explicit}");
        assert!(!two.stray.is_live(&app.manager).await);
    }
}

#[tokio::test]
async fn what_else_is_written_with_two_live_cookies_is_stored_nowhere() {
    let app = App::new();
    let mut two = Two::new(&app).await;
    let (before, own) = (app.store.snapshot().len(), two.own.clone());
    two.request(&app.manager, |session| {
        session.insert("a", 1).unwrap();
        session.flash().info("saved").unwrap();
        session.rotate().unwrap();
    })
    .await;
    assert_eq!((app.store.snapshot().len(), &two.own), (before, &own));
    assert!(two.stray.is_live(&app.manager).await && two.own.is_live(&app.manager).await);
    // Nor after a login that a 5xx dropped.
    let lazy = two.open(&app.manager);
    lazy.load().await.unwrap().login("alice").unwrap();
    assert_eq!(app.manager.finish(&lazy, 500).await.into_result().unwrap().set_cookie(), None);
    assert_eq!(app.store.sessions(), 2);
}

#[tokio::test]
async fn two_live_cookies_are_warned_of_once_in_the_trace_and_one_live_cookie_is_not() {
    let app = App::new();
    let mut two = Two::new(&app).await;
    let trace = Trace::start();
    let lazy = two.open(&app.manager);
    for _ in 0..3 {
        lazy.load().await.unwrap();
    }
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    let warnings = trace.at("WARN");
    assert!(
        warnings.len() == 1 && warnings[0].contains("several live session cookies"),
        "{warnings:?}"
    );
    assert!(!warnings[0].contains(two.own.header().split_once('=').unwrap().1), "no id in it");
    two.request(&app.manager, |session| session.login("alice")).await.unwrap();
    two.request(&app.manager, |session| assert!(session.owner().is_some())).await;
    assert_eq!(trace.at("WARN").len(), 2, "the login's, and none after it");
}

#[tokio::test]
async fn client_side_the_next_page_after_a_login_with_two_cookies_is_logged_in() {
    let (clock, manager) = App::client_side("a secret of more than 32 bytes: kdU2hs8dm2M");
    let mut two = Two { stray: Browser::new(), own: Browser::new() };
    two.own.request(&manager, |session| session.insert("cart", 1)).await.unwrap();
    clock.advance(std::time::Duration::from_secs(1));
    two.stray.request(&manager, |session| session.insert("cart", 2)).await.unwrap();
    assert_eq!(two.request(&manager, |session| session.get::<u8>("cart").unwrap()).await, Some(2));
    clock.advance(std::time::Duration::from_secs(1));
    two.request(&manager, |session| session.login("alice")).await.unwrap();
    assert_eq!(two.request(&manager, |session| session.owner()).await.as_deref(), Some("alice"));
}
