//! The owner index's rules: what is alive is listed and can be ended, whatever failed, was lost or
//! was late before.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_core::{ErrorKind, Secrets, Session, SessionManager};
use support::{App, Browser, Fault, listed, logged_in};

const OLD: &str = "an old secret of more than 32 bytes: kdU2hs8";
const NEW: &str = "a new secret of more than 32 bytes: pqP82jdn";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Lets every tombstone expire.
fn wait(app: &App) {
    app.clock.advance(Duration::from_secs(11 * 60));
}

fn under(app: &App, secrets: &str, unsigned: bool) -> SessionManager {
    let secrets = Secrets::parse(secrets).unwrap();
    app.process_with(|rules| rules.secrets(secrets).accept_unsigned(unsigned))
}

/// The index knows `sessions`, and ends them all.
async fn all_are_found_and_end(app: &App, manager: &SessionManager, sessions: usize) {
    assert_eq!(listed(manager, "alice").await, sessions);
    assert_eq!(manager.revoke_all("alice").await.unwrap(), sessions);
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test]
async fn after_a_secret_was_introduced_the_sessions_of_before_are_found_written_and_ended() {
    for used in [false, true] {
        let app = App::new();
        let mut browser = logged_in(&app.manager, "alice").await;
        logged_in(&app.manager, "alice").await;
        let signing = under(&app, NEW, true);
        assert_eq!(listed(&signing, "alice").await, 2);
        if used {
            app.clock.advance(3 * DAY); // a refresh is due
            for n in 0..3 {
                browser.request(&signing, |session| session.insert("n", n)).await.unwrap();
                assert_eq!(browser.get::<u8>(&signing, "n").await, Some(n));
            }
            browser.request(&signing, |session| session.rotate()).await.unwrap();
            browser.request(&signing, |session| session.login("alice")).await.unwrap();
        }
        all_are_found_and_end(&app, &signing, 2).await;
        assert!(!browser.is_live(&signing).await);
    }
}

#[tokio::test]
async fn secrets_that_are_rotated_in_mixed_order_leave_no_place_unvisited() {
    let app = App::new();
    let (before, after) = (format!("{OLD},{NEW}"), format!("{NEW},{OLD}"));
    let processes = [under(&app, &before, false), under(&app, &after, false)];
    let mut browsers = Vec::new();
    for process in processes.iter().cycle().take(6) {
        browsers.push(logged_in(process, "alice").await);
    }
    // Entries go from place to place.
    for (at, browser) in browsers.iter_mut().enumerate() {
        app.clock.advance(DAY);
        browser.request(&processes[at / 2 % 2], |session| session.rotate()).await.unwrap();
        browser.request(&processes[at % 2], |session| session.insert("a", 1)).await.unwrap();
    }
    for process in &processes {
        assert_eq!(listed(process, "alice").await, 6);
    }
    let session = browsers[5].open(&processes[0]).load().await.unwrap();
    assert_eq!(processes[0].revoke_others(&session).await.unwrap(), 5);
    all_are_found_and_end(&app, &processes[1], 1).await;
}

#[tokio::test]
async fn of_a_login_that_was_submitted_twice_both_sessions_are_listed_and_can_be_ended() {
    for refreshes in [0, 1] {
        for ends in ["revoke_all", "revoke_others"] {
            let app = App::with(|rules| rules.idle_timeout(Duration::from_secs(60 * 60)));
            let mut twice = [logged_in(&app.manager, "alice").await, Browser::new()];
            twice[1] = twice[0].clone();
            let (first, session) = twice[0].start(&app.manager).await;
            session.login("alice").unwrap();
            let (second, session) = twice[1].start(&app.manager).await;
            session.login("alice").unwrap();
            for (browser, lazy) in twice.iter_mut().zip([&first, &second]) {
                browser.take(&app.manager.finish(lazy, 200).await.into_result().unwrap());
            }
            assert_ne!(twice[0], twice[1]);
            wait(&app); // eleven minutes later one of them is used, which refreshes it
            twice[refreshes]
                .request(&app.manager, |session| assert!(session.owner().is_some()))
                .await;
            if ends == "revoke_all" {
                all_are_found_and_end(&app, &app.manager, 2).await;
                continue;
            }
            let session = twice[refreshes].open(&app.manager).load().await.unwrap();
            assert_eq!(app.manager.revoke_others(&session).await.unwrap(), 1);
            assert!(twice[refreshes].is_live(&app.manager).await);
            assert!(!twice[1 - refreshes].is_live(&app.manager).await);
            assert_eq!(listed(&app.manager, "alice").await, 1);
        }
    }
}

#[tokio::test]
async fn of_a_login_that_was_submitted_twice_one_is_logged_out_and_the_other_is_still_listed() {
    for leaves in [0, 1] {
        for late in [false, true] {
            let app = App::new();
            let mut twice = [logged_in(&app.manager, "alice").await, Browser::new()];
            twice[1] = twice[0].clone();
            let (first, session) = twice[0].start(&app.manager).await;
            session.login("alice").unwrap();
            let (second, session) = twice[1].start(&app.manager).await;
            session.login("alice").unwrap();
            for (browser, lazy) in twice.iter_mut().zip([&first, &second]) {
                browser.take(&app.manager.finish(lazy, 200).await.into_result().unwrap());
            }
            if late {
                wait(&app);
            }
            twice[leaves].request(&app.manager, |session| session.destroy()).await.unwrap();
            assert!(twice[1 - leaves].is_live(&app.manager).await, "{leaves} {late}");
            all_are_found_and_end(&app, &app.manager, 1).await;
        }
    }
}

#[tokio::test]
async fn after_a_late_rotation_that_lost_the_index_still_has_the_live_key() {
    for used in [false, true] {
        let app = App::new();
        let mut browser = logged_in(&app.manager, "alice").await;
        let (late, session) = browser.start(&app.manager).await;
        session.rotate().unwrap();
        browser.request(&app.manager, |session| session.rotate()).await.unwrap();
        if used {
            app.clock.advance(2 * DAY);
            browser.request(&app.manager, |session| assert!(session.owner().is_some())).await;
        }
        wait(&app); // the tombstone over the old key is gone
        assert_eq!(app.manager.finish(&late, 200).await.into_result().unwrap().set_cookie(), None);
        assert!(browser.is_live(&app.manager).await, "{used}");
        all_are_found_and_end(&app, &app.manager, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_seventeen_rotations_that_failed_at_their_last_write_the_index_still_has_the_live_key()
 {
    for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Full] {
        let app = App::new();
        let mut browser = logged_in(&app.manager, "alice").await;
        let small = app.store.dump().len();
        for _ in 0..17 {
            let (lazy, session) = browser.start(&app.manager).await;
            session.rotate().unwrap();
            // Its first update is the index'. A timeout is tried once more, after the successor was
            // written anew; after the others the successor is to be discarded, which fails as well.
            app.store.on("update", 1, Fault::Fail(kind));
            let second = if kind == ErrorKind::Timeout { 3 } else { 2 };
            app.store.on("update", second, Fault::Fail(kind));
            let done = app.manager.finish(&lazy, 200).await;
            assert!(done.error().is_some());
            app.store.repair();
        }
        assert!(browser.is_live(&app.manager).await);
        assert_eq!(listed(&app.manager, "alice").await, 1);
        app.clock.advance(2 * DAY);
        browser.request(&app.manager, |session| assert!(session.owner().is_some())).await;
        wait(&app);
        assert!(app.store.dump().len() < 20 * small, "what is known dead is dropped");
        assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 1, "{kind:?}");
        assert!(!browser.is_live(&app.manager).await, "{kind:?}");
    }
}

#[tokio::test]
async fn a_logout_with_an_id_that_was_rotated_more_than_a_tombstone_ago_ends_the_successor() {
    for rotations in [1, 2, 3] {
        let app = App::new();
        let mut browser = logged_in(&app.manager, "alice").await;
        let (late, session) = browser.start(&app.manager).await;
        session.destroy().unwrap();
        for _ in 0..rotations {
            browser.request(&app.manager, |session| session.rotate()).await.unwrap();
            wait(&app);
        }
        let headers = app.manager.finish(&late, 200).await.into_result().unwrap();
        assert!(headers.set_cookie().is_some_and(|line| line.contains("Max-Age=0")));
        assert!(!browser.is_live(&app.manager).await, "{rotations}");
        assert_eq!(
            (app.store.sessions(), listed(&app.manager, "alice").await),
            (0, 0),
            "{rotations}"
        );
    }
}

type Damage = (&'static str, fn(&mut Vec<u8>));

#[tokio::test]
async fn one_damaged_or_newer_record_keeps_no_other_of_a_users_sessions_alive() {
    let damages: [Damage; 3] = [
        ("newer", |record| record[1] = 2),
        ("cut", |record| record.truncate(20)),
        ("foreign", |record| *record = b"{\"a\": 1}".to_vec()),
    ];
    for (what, damage) in damages {
        for nth in 0..3 {
            let app = App::new();
            for _ in 0..3 {
                logged_in(&app.manager, "alice").await;
            }
            let mut sessions = 0;
            app.store.tamper(|record| {
                if record[2] & 0x3f == 1 {
                    if sessions == nth {
                        damage(record);
                    }
                    sessions += 1;
                }
            });
            let before = app.store.snapshot().len();
            let error = app.manager.revoke_all("alice").await.unwrap_err();
            assert!(error.is_corrupt(), "{what}: reported after the others");
            let kinds: Vec<_> = app
                .store
                .snapshot()
                .iter()
                .map(|(_, record)| record.get(2).map(|kind| kind & 0x3f))
                .collect();
            assert_eq!(kinds.iter().filter(|kind| **kind == Some(5)).count(), 2, "{what} {nth}");
            assert_eq!(
                app.store.snapshot().len(),
                before - 1,
                "{what} {nth}: the damaged one is deleted"
            );
            assert_eq!(listed(&app.manager, "alice").await, 0, "{what} {nth}");
            assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 0, "{what} {nth}");
        }
    }
}

#[tokio::test]
async fn a_revoke_all_whose_client_goes_away_goes_on_to_its_end() {
    // Its writes: the marks, a tombstone for each of three sessions, the marks are cleared.
    for nth in 0..5 {
        let app = App::new();
        for _ in 0..3 {
            logged_in(&app.manager, "alice").await;
        }
        let mut paused = app.store.pause("update", nth);
        let revoking = tokio::spawn({
            let manager = app.manager.clone();
            async move { manager.revoke_all("alice").await }
        });
        paused.arrived().await;
        revoking.abort();
        assert!(revoking.await.unwrap_err().is_cancelled());
        paused.release();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!((app.store.sessions(), listed(&app.manager, "alice").await), (0, 0), "{nth}");
        app.store.reset_calls();
        assert_eq!(
            app.manager.revoke_all("alice").await.unwrap(),
            0,
            "{nth}: nothing was left to do"
        );
    }
}

#[tokio::test]
async fn a_relogin_that_fails_half_way_leaves_the_old_session_covered_for_its_whole_life() {
    for (operation, nth) in [("load", 0), ("create", 0), ("update", 0), ("update", 1)] {
        let app = App::new();
        let mut browser = Browser::new();
        browser
            .request(&app.manager, |session: &Session| {
                session.login("alice").unwrap();
                session.remember_for(300 * DAY).unwrap();
            })
            .await;
        let (lazy, session) = browser.start(&app.manager).await;
        session.login("alice").unwrap();
        session.forget_on_close().unwrap();
        app.store.on(operation, nth, Fault::Fail(ErrorKind::Unavailable));
        app.manager.finish(&lazy, 200).await.into_result().unwrap_err();
        // Long after the new session would have expired, somebody writes the index.
        app.clock.advance(29 * DAY);
        let other = logged_in(&app.manager, "alice").await;
        assert!(browser.is_live(&app.manager).await && other.is_live(&app.manager).await);
        all_are_found_and_end(&app, &app.manager, 2).await;
    }
}

/// A login of alice whose index was read, and whose session is about to be stored.
async fn login_under_way(
    app: &App,
) -> (
    support::Gatekeeper,
    tokio::task::JoinHandle<mocha_session_core::Result<mocha_session_core::HeaderChanges>>,
) {
    let manager = app.other_process();
    let (lazy, session) = Browser::new().start(&manager).await;
    session.login("alice").unwrap();
    let mut paused = app.store.pause("create", 0);
    let logging_in = support::finish_in_background(&manager, lazy);
    paused.arrived().await;
    (paused, logging_in)
}

#[tokio::test]
async fn only_log_out_everywhere_refuses_a_login_that_is_under_way() {
    for known in [0, 1] {
        for meanwhile in ["login", "logout", "revoke", "evict", "revoke_others", "revoke_all"] {
            let app = App::new();
            let mut before = Browser::new();
            for _ in 0..known {
                before = logged_in(&app.manager, "alice").await;
            }
            if known == 0 && matches!(meanwhile, "logout" | "revoke" | "revoke_others") {
                continue;
            }
            let (mut paused, logging_in) = login_under_way(&app).await;
            match meanwhile {
                "login" => drop(logged_in(&app.manager, "alice").await),
                "logout" => {
                    before.request(&app.manager, |session| session.destroy()).await.unwrap();
                }
                "evict" => app.store.evict(4),
                "revoke_all" => drop(app.manager.revoke_all("alice").await.unwrap()),
                _ => {
                    let session = before.open(&app.manager).load().await.unwrap();
                    if meanwhile == "revoke" {
                        app.manager.revoke("alice", session.handle().unwrap()).await.unwrap();
                    } else {
                        app.manager.revoke_others(&session).await.unwrap();
                    }
                }
            }
            paused.release();
            let refused = matches!(meanwhile, "revoke_all" | "revoke_others");
            match logging_in.await.unwrap() {
                Ok(_) => assert!(!refused, "{meanwhile} {known}"),
                Err(error) => {
                    assert!(refused && error.http_status() == 409, "{meanwhile} {known}: {error}");
                }
            }
            if meanwhile != "evict" {
                assert_eq!(
                    listed(&app.manager, "alice").await,
                    app.store.sessions(),
                    "{meanwhile} {known}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_login_that_lost_its_session_gets_a_handle_of_its_own() {
    for ends in [false, true] {
        let app = App::new();
        let mut browser = logged_in(&app.manager, "alice").await;
        let first = browser.open(&app.manager).load().await.unwrap().handle().unwrap();
        let mut late = browser.clone();
        let (lazy, session) = late.start(&app.manager).await;
        session.login("alice").unwrap();
        let other: fn(&Session) = if ends {
            |session| session.destroy().unwrap()
        } else {
            |session| session.login("alice").unwrap()
        };
        browser.request(&app.manager, other).await;
        late.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
        let second = late.open(&app.manager).load().await.unwrap().handle().unwrap();
        assert_ne!(first, second, "{ends}");
        assert!(app.manager.revoke("alice", second).await.unwrap());
        assert!(!late.is_live(&app.manager).await);
        assert_eq!(browser.is_live(&app.manager).await, !ends, "the other is not ended with it");
    }
}
