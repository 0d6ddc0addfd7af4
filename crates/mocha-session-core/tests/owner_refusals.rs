//! Logins that are refused because their user has too many sessions.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mocha_session_core::observe::{Event, Observer};
use mocha_session_core::{
    Error, ErrorKind, RequestInfo, Secrets, Session, SessionManager, WhenFull,
};
use support::{App, Browser, Fault, finish_in_background, listed, logged_in};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn refusing(most: usize) -> App {
    App::with(|rules| rules.max_sessions_per_owner(most, WhenFull::RefuseLogin))
}

fn beside(app: &App, most: usize) -> SessionManager {
    app.process_with(|rules| rules.max_sessions_per_owner(most, WhenFull::RefuseLogin))
}

/// The login of a browser, with its response's status where it was refused.
async fn log_in(browser: &mut Browser, manager: &SessionManager, owner: &str) -> Result<(), Error> {
    let (lazy, session) = browser.start(manager).await;
    session.login(owner).unwrap();
    let headers = manager.finish(&lazy, 200).await.into_result()?;
    browser.take(&headers);
    Ok(())
}

#[tokio::test]
async fn at_the_limit_a_login_is_refused_and_every_session_stays_as_it_was() {
    let app = refusing(2);
    let devices = [logged_in(&app.manager, "alice").await, logged_in(&app.manager, "alice").await];
    let mut visitor = Browser::new();
    visitor.request(&app.manager, |session| session.insert("cart", 3)).await.unwrap();
    let before = app.store.snapshot();

    let (lazy, session) = visitor.start(&app.manager).await;
    session.login("alice").unwrap();
    session.insert("role", "administrator").unwrap();
    let refused = session.commit().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooManySessions);
    assert!(refused.is_too_many_sessions() && refused.http_status() == 409);
    assert_eq!((session.owner(), session.get("cart").unwrap()), (None, Some(3)));
    assert_eq!(session.get::<String>("role").unwrap(), None, "what a login allowed is not kept");
    let known: Vec<_> = before.iter().map(|(key, _)| *key).collect();
    let live = app.store.snapshot().into_iter().filter(|(key, _)| known.contains(key));
    assert!(live.eq(before), "no session and no index was written");

    // The handler answers with a page, which the request commits as ever.
    session.flash().error("Log out on another device first.").unwrap();
    session.insert("cart", 4).unwrap();
    let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
    visitor.take(&headers);
    assert_eq!(visitor.get(&app.manager, "cart").await, Some(4));
    for device in devices {
        assert!(device.is_live(&app.manager).await);
    }
    assert_eq!((listed(&app.manager, "alice").await, app.store.sessions()), (2, 3));
}

#[tokio::test]
async fn without_a_commit_of_its_own_the_response_of_a_refused_login_is_an_error() {
    let app = refusing(1);
    let device = logged_in(&app.manager, "alice").await;
    let mut visitor = Browser::new();
    visitor.request(&app.manager, |session| session.insert("cart", 3)).await.unwrap();
    for known in [true, false] {
        let mut browser = if known { visitor.clone() } else { Browser::new() };
        let (lazy, session) = browser.start(&app.manager).await;
        session.login("alice").unwrap();
        let (headers, error) = app.manager.finish(&lazy, 200).await.into_parts();
        assert!(error.is_some_and(|error| error.is_too_many_sessions()));
        assert_eq!(headers.set_cookie(), None, "{known}");
        browser.take(&headers);
        assert_eq!(browser.is_live(&app.manager).await, known);
    }
    assert_eq!(visitor.get(&app.manager, "cart").await, Some(3));
    assert!(device.is_live(&app.manager).await);
    assert_eq!((listed(&app.manager, "alice").await, app.store.sessions()), (1, 2));
}

#[tokio::test]
async fn a_session_that_is_listed_may_log_in_again_even_above_a_lowered_limit() {
    let app = refusing(3);
    let mut devices = Vec::new();
    for _ in 0..3 {
        devices.push(logged_in(&app.manager, "alice").await);
    }
    for manager in [app.manager.clone(), beside(&app, 1)] {
        log_in(&mut devices[1], &manager, "alice").await.unwrap();
        assert_eq!(listed(&manager, "alice").await, 3);
        log_in(&mut Browser::new(), &manager, "alice").await.unwrap_err();
    }
}

#[tokio::test]
async fn a_session_whose_next_owner_has_no_room_stays_its_owners() {
    let app = refusing(1);
    logged_in(&app.manager, "bob").await;
    let mut device = logged_in(&app.manager, "alice").await;
    assert!(log_in(&mut device, &app.manager, "bob").await.unwrap_err().is_too_many_sessions());
    let owner = device.request(&app.manager, |session| session.owner()).await;
    assert_eq!(owner.as_deref(), Some("alice"));
    assert_eq!((listed(&app.manager, "alice").await, listed(&app.manager, "bob").await), (1, 1));
}

#[tokio::test]
async fn what_ended_makes_room_even_if_its_entry_was_left_behind() {
    let app = App::with(|rules| {
        rules.max_sessions_per_owner(1, WhenFull::RefuseLogin).idle_timeout(HOUR)
    });
    for how in ["logout", "logout without the index", "revoked", "expired", "emptied"] {
        let mut device = logged_in(&app.manager, "alice").await;
        log_in(&mut Browser::new(), &app.manager, "alice").await.unwrap_err();
        match how {
            "logout" => device.request(&app.manager, Session::destroy).await.unwrap(),
            "logout without the index" => {
                app.store.on("update", 1, Fault::Fail(ErrorKind::Unavailable));
                device.request(&app.manager, Session::destroy).await.unwrap();
                app.store.repair();
            }
            "expired" => app.clock.advance(HOUR + Duration::from_secs(1)),
            _ => drop(app.manager.revoke_all("alice").await.unwrap()),
        }
        let mut next = Browser::new();
        log_in(&mut next, &app.manager, "alice").await.unwrap_or_else(|error| {
            unreachable!("{how}: {error}");
        });
        assert_eq!(listed(&app.manager, "alice").await, 1, "{how}");
        app.manager.revoke_all("alice").await.unwrap();
    }
}

#[tokio::test]
async fn sessions_that_are_listed_under_an_older_secret_count() {
    const OLD: &str = "an old secret of more than 32 bytes: 8dm2M";
    const NEW: &str = "a new secret of more than 32 bytes: kdU2hs";
    let app = App::new();
    let process = |secrets: &str| {
        app.process_with(|rules| {
            rules
                .secrets(Secrets::parse(secrets).unwrap())
                .max_sessions_per_owner(2, WhenFull::RefuseLogin)
        })
    };
    let (old, both) = (process(OLD), process(&format!("{NEW},{OLD}")));
    let mut first = logged_in(&old, "alice").await;
    logged_in(&both, "alice").await;
    assert!(log_in(&mut Browser::new(), &both, "alice").await.unwrap_err().is_too_many_sessions());
    log_in(&mut first, &both, "alice").await.unwrap();
    assert_eq!(listed(&both, "alice").await, 2);
}

#[tokio::test]
async fn of_two_processes_at_the_limit_one_logs_in_whatever_the_order_of_their_calls() {
    for (operation, nth) in [("load", 0), ("create", 0), ("update", 0)] {
        for before in [true, false] {
            let app = refusing(2);
            logged_in(&app.manager, "alice").await;
            let (lazy, session) = Browser::new().start(&app.manager).await;
            session.login("alice").unwrap();
            let mut paused = if before {
                app.store.pause(operation, nth)
            } else {
                app.store.pause_after(operation, nth)
            };
            let first = finish_in_background(&app.manager, lazy);
            paused.arrived().await;
            let second = log_in(&mut Browser::new(), &beside(&app, 2), "alice").await;
            paused.release();
            let first = first.await.unwrap().map(drop);
            let refused: Vec<_> = [first, second].into_iter().filter_map(Result::err).collect();
            assert_eq!(refused.len(), 1, "{operation} {before}: {refused:?}");
            assert!(refused[0].is_too_many_sessions(), "{operation} {before}");
            assert_eq!((listed(&app.manager, "alice").await, app.store.sessions()), (2, 2));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_logins_at_once_as_many_succeed_as_there_is_room() {
    let storage = SessionManager::in_memory().unwrap().storage().clone();
    let process = || {
        SessionManager::builder(storage.clone())
            .max_sessions_per_owner(3, WhenFull::RefuseLogin)
            .build()
            .unwrap()
    };
    let processes = [process(), process()];
    let logins: Vec<_> = (0..12)
        .map(|at| {
            let manager = processes[at % 2].clone();
            tokio::spawn(async move {
                let lazy = manager.open(RequestInfo::new(()));
                lazy.load().await.unwrap().login("alice").unwrap();
                manager.finish(&lazy, 200).await.into_result().map(drop)
            })
        })
        .collect();
    let mut done = 0;
    for login in logins {
        match login.await.unwrap() {
            Ok(()) => done += 1,
            Err(error) => assert!(error.is_too_many_sessions(), "{error}"),
        }
    }
    assert_eq!((done, listed(&processes[0], "alice").await), (3, 3));
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Observer for Told {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::LoginRefused { session, .. } => {
                let named = session.fingerprint().is_some();
                let line = format!("refused {:?} {named}", session.owner());
                self.0.lock().unwrap().push(line);
            }
            Event::Failed { error, .. } => self.0.lock().unwrap().push(error.to_string()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_refused_login_is_told_and_is_no_failure() {
    let told = Told::default();
    let app = App::with(|rules| {
        rules.max_sessions_per_owner(1, WhenFull::RefuseLogin).observer(told.clone())
    });
    logged_in(&app.manager, "alice").await;
    let mut visitor = Browser::new();
    log_in(&mut visitor, &app.manager, "alice").await.unwrap_err();
    visitor.request(&app.manager, |session| session.insert("cart", 3)).await.unwrap();
    log_in(&mut visitor, &app.manager, "alice").await.unwrap_err();
    let told = told.0.lock().unwrap().join(", ");
    assert_eq!(told, "refused Some(\"alice\") false, refused Some(\"alice\") true");
}
