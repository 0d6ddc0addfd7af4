//! Requests of one session at once, in many orders of their store calls: what one was told holds
//! for the others.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_core::{HeaderChanges, LazySession, Result, SessionManager};
use support::{App, Browser, finish_in_background, listed, logged_in};

/// So many orders are tried of each.
const ORDERS: u64 = 400;

/// An application whose store's calls come in another order for each seed.
fn in_order(seed: u64) -> App {
    fastrand::seed(seed);
    App::new()
}

async fn with_token(app: &App) -> Browser {
    let mut browser = Browser::new();
    browser
        .request(&app.manager, |session| {
            session.insert("token", "t").unwrap();
            session.insert("n", 0).unwrap();
        })
        .await;
    browser
}

/// Lets all of them answer at once.
async fn answer_all(
    app: &App,
    requests: Vec<(SessionManager, LazySession)>,
) -> Vec<Result<HeaderChanges>> {
    app.store.shuffle();
    let tasks: Vec<_> =
        requests.into_iter().map(|(manager, lazy)| finish_in_background(&manager, lazy)).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// Lets every tombstone expire.
fn wait(app: &App) {
    app.clock.advance(Duration::from_secs(11 * 60));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_taken_by_one_request_whatever_rotates_or_takes_meanwhile() {
    for seed in 0..ORDERS {
        let app = in_order(seed);
        let browser = with_token(&app).await;
        let mut requests = Vec::new();
        for turns in [None, Some(false), Some(true), None] {
            let manager = app.other_process();
            let (lazy, session) = browser.start(&manager).await;
            if turns != Some(true) {
                assert!(session.take::<String>("token").unwrap().is_some());
            }
            if turns.is_some() {
                session.rotate().unwrap();
            }
            requests.push((manager, lazy));
        }
        let answers = answer_all(&app, requests).await;
        let takers = [0, 1, 3].into_iter().filter(|at| answers[*at].is_ok()).count();
        assert!(takers <= 1, "order {seed}: {takers} requests answer 200 with the token");
        for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_eq!(answer.http_status(), 409, "order {seed}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_take_that_finish_drops_because_the_session_moved_on_is_an_error() {
    let app = App::new();
    let mut browser = with_token(&app).await;
    let (late, session) = browser.start(&app.manager).await;
    assert!(session.take::<String>("token").unwrap().is_some());
    let mut other = browser.clone();
    other.request(&app.other_process(), |session| session.rotate()).await.unwrap();
    let taken = other
        .request(&app.other_process(), |session| session.take::<String>("token").unwrap())
        .await;
    assert!(taken.is_some());
    let dropped = app.manager.finish(&late, 200).await.into_result().unwrap_err();
    assert!(dropped.is_gone() && dropped.http_status() == 409);
    // Taken and committed, then revoked: who loaded it before gets nothing either.
    browser = logged_in(&app.manager, "alice").await;
    browser.request(&app.manager, |session| session.insert("token", "t")).await.unwrap();
    let (late, session) = browser.start(&app.manager).await;
    let (_first, first) = browser.start(&app.other_process()).await;
    assert!(first.take::<String>("token").unwrap().is_some());
    first.commit().await.unwrap();
    app.manager.revoke_all("alice").await.unwrap();
    assert!(session.take::<String>("token").unwrap().is_some());
    assert_eq!(app.manager.finish(&late, 200).await.into_result().unwrap_err().http_status(), 409);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_gone_has_written_nothing_and_one_that_is_not_has() {
    for seed in 0..ORDERS {
        let app = in_order(seed);
        let browser = with_token(&app).await;
        let mut requests = Vec::new();
        let mut counting = Vec::new();
        for at in 0..4 {
            let manager = app.other_process();
            let (lazy, session) = browser.start(&manager).await;
            if at == 3 {
                session.rotate().unwrap();
                requests.push((manager, lazy));
            } else {
                session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
                counting.push(session);
            }
        }
        app.store.shuffle();
        let commits: Vec<_> = counting
            .into_iter()
            .map(|session| tokio::spawn(async move { session.commit().await }))
            .collect();
        let answers = answer_all(&app, requests).await;
        let mut done = 0;
        for commit in commits {
            match commit.await.unwrap() {
                Ok(()) => done += 1,
                Err(error) => assert!(error.is_gone(), "order {seed}: {error}"),
            }
        }
        let mut browser = browser.clone();
        browser.take(answers[0].as_ref().unwrap());
        assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(done), "order {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_again_beside_a_logout_of_the_old_id_is_dead_or_listed_and_can_be_revoked() {
    for seed in 0..ORDERS {
        let app = in_order(seed);
        let mut browser = logged_in(&app.manager, "alice").await;
        let (login, logout) = (app.other_process(), app.other_process());
        let (again, session) = browser.start(&login).await;
        session.login("alice").unwrap();
        let (bye, session) = browser.start(&logout).await;
        session.destroy().unwrap();
        let answers = answer_all(&app, vec![(login, again), (logout, bye)]).await;
        if let Ok(headers) = &answers[0] {
            browser.take(headers);
        }
        let alive = app.store.sessions();
        assert_eq!(listed(&app.manager, "alice").await, alive, "order {seed}");
        app.manager.revoke_all("alice").await.unwrap();
        assert_eq!(app.store.sessions(), 0, "order {seed}");
        wait(&app);
        assert!(!browser.is_live(&app.manager).await);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_alive_is_listed_whatever_a_users_requests_do_at_once() {
    for seed in 0..2 * ORDERS {
        let app = in_order(seed);
        let browser = logged_in(&app.manager, "alice").await;
        let mut requests = Vec::new();
        for _ in 0..3 {
            let manager = app.other_process();
            let (lazy, session) = browser.start(&manager).await;
            match fastrand::u8(0..4) {
                0 => session.login("alice").unwrap(),
                1 => session.rotate().unwrap(),
                2 => session.destroy().unwrap(),
                _ => session.insert("a", fastrand::u8(..)).unwrap(),
            }
            requests.push((manager, lazy));
        }
        answer_all(&app, requests).await;
        let alive = app.store.sessions();
        assert_eq!(listed(&app.manager, "alice").await, alive, "order {seed}");
        // A day on, after everybody looked in, it is the same.
        wait(&app);
        logged_in(&app.manager, "alice").await;
        assert_eq!(listed(&app.manager, "alice").await, alive + 1, "order {seed}");
        app.manager.revoke_all("alice").await.unwrap();
        assert_eq!(app.store.sessions(), 0, "order {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn eight_first_logins_of_one_user_at_once_all_live_and_are_all_listed() {
    for seed in 0..40 {
        let app = in_order(seed);
        let mut requests = Vec::new();
        for _ in 0..8 {
            let manager = app.other_process();
            let (lazy, session) = Browser::new().start(&manager).await;
            session.login("alice").unwrap();
            requests.push((manager, lazy));
        }
        let answers = answer_all(&app, requests).await;
        for answer in answers {
            let mut browser = Browser::new();
            browser.take(&answer.unwrap());
            assert!(browser.is_live(&app.manager).await, "order {seed}: 200 and not logged in");
        }
        assert_eq!(listed(&app.manager, "alice").await, 8, "order {seed}");
        assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 8);
        assert_eq!(app.store.sessions(), 0);
    }
}

#[tokio::test]
async fn a_session_that_was_emptied_and_rotated_goes_on_under_the_new_id() {
    for commit_between in [false, true] {
        let app = App::new();
        let mut browser = with_token(&app).await;
        let old = browser.clone();
        let (lazy, session) = browser.start(&app.manager).await;
        session.clear().unwrap();
        if commit_between {
            session.commit().await.unwrap();
        }
        session.rotate().unwrap();
        session.commit().await.unwrap();
        session.insert("b", 2).unwrap();
        browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
        assert_ne!(browser, old, "{commit_between}");
        assert_eq!(browser.get::<u8>(&app.manager, "b").await, Some(2), "{commit_between}");
        assert!(!old.is_live(&app.manager).await, "{commit_between}: not under the old one");
        assert_eq!(app.store.sessions(), 1, "{commit_between}");
    }
}
