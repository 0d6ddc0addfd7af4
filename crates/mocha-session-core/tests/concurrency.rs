//! What happens when requests of one session meet: nothing is lost, nothing comes back.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use mocha_session_core::{ErrorKind, SessionManager};
use support::{App, Browser, Fault, finish_in_background, with_values};

async fn logged_in(app: &App) -> Browser {
    let mut browser = Browser::new();
    browser
        .request(&app.manager, |session| {
            session.insert("a", 1).unwrap();
            session.login("alice").unwrap();
        })
        .await;
    browser
}

fn both(app: &App) -> (SessionManager, SessionManager) {
    (app.manager.clone(), app.other_process())
}

#[tokio::test]
async fn disjoint_keys_from_two_requests_are_both_kept() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (one, two) = both(&app);
    let (first, session_1) = browser.start(&one).await;
    let (second, session_2) = browser.start(&two).await;
    session_1.insert("x", 1).unwrap();
    session_2.insert("y", 2).unwrap();
    one.finish(&first, 200).await.into_result().unwrap();
    two.finish(&second, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u8>(&one, "x").await, Some(1));
    assert_eq!(browser.get::<u8>(&one, "y").await, Some(2));
}

async fn count(app: &App, managers: &[SessionManager], tasks: usize) -> u64 {
    let browser = with_values(&app.manager).await;
    let mut all = Vec::new();
    for task in 0..tasks {
        let (browser, manager) = (browser.clone(), managers[task % managers.len()].clone());
        all.push(tokio::spawn(async move {
            let (lazy, session) = browser.start(&manager).await;
            session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).unwrap();
            manager.finish(&lazy, 200).await.into_result().unwrap();
        }));
    }
    for task in all {
        task.await.unwrap();
    }
    browser.get(&app.manager, "n").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_from_64_tasks_sum_exactly_and_cost_a_write_each() {
    let app = App::new();
    assert_eq!(count(&app, std::slice::from_ref(&app.manager), 64).await, 64);
    // One create, one write per task. A few more reads than tasks: who lost a race for the turn
    // looks again.
    assert_eq!(app.store.calls().create, 1);
    assert!(app.store.calls().update <= 64 + 8, "{:?}", app.store.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_from_8_processes_sum_exactly() {
    let app = App::new();
    let managers: Vec<_> = (0..8).map(|_| app.other_process()).collect();
    assert_eq!(count(&app, &managers, 64).await, 64);
}

#[tokio::test]
async fn logout_while_a_slow_request_is_in_flight_stays_out() {
    for process in [App::new, App::new] {
        let app = process();
        let mut browser = logged_in(&app).await;
        let (slow, slow_session) = browser.start(&app.manager).await;
        slow_session.insert("x", 1).unwrap();
        let ((), headers) =
            browser.clone().request_status(&app.manager, 200, |s| s.destroy().unwrap()).await;
        assert!(headers.set_cookie().unwrap().contains("Max-Age=0"));
        let late = app.manager.finish(&slow, 200).await.into_result().unwrap();
        assert_eq!(late.set_cookie(), None, "a late response never touches the cookie");
        assert!(!browser.is_live(&app.manager).await);
        assert_eq!(app.store.sessions(), 0);
        browser.take(&headers);
        assert_eq!(browser.cookie, None);
    }
}

#[tokio::test]
async fn logout_between_a_slow_commits_look_and_its_write_stays_out() {
    let app = App::new();
    let browser = logged_in(&app).await;
    let (slow, session) = browser.start(&app.manager).await;
    session.insert("x", 1).unwrap();
    let mut paused = app.store.pause("update", 0);
    let writing = finish_in_background(&app.manager, slow);
    paused.arrived().await;
    let other = app.other_process();
    browser.clone().request(&other, |session| session.destroy().unwrap()).await;
    paused.release();
    assert_eq!(writing.await.unwrap().unwrap().set_cookie(), None);
    assert!(!browser.is_live(&other).await);
}

#[tokio::test]
async fn a_refresh_only_request_meets_a_logout_and_stays_out() {
    let app = App::new();
    let browser = logged_in(&app).await;
    app.clock.advance(std::time::Duration::from_secs(3 * 24 * 3600));
    let (reading, _session) = browser.start(&app.manager).await;
    browser.clone().request(&app.other_process(), |session| session.destroy().unwrap()).await;
    assert_eq!(app.manager.finish(&reading, 200).await.into_result().unwrap().set_cookie(), None);
    assert!(!browser.is_live(&app.manager).await);
}

#[tokio::test]
async fn a_stale_refresh_after_a_write_leaves_the_write() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    app.clock.advance(std::time::Duration::from_secs(3 * 24 * 3600));
    let (reading, _session) = browser.start(&app.manager).await;
    browser.clone().request(&app.other_process(), |session| session.insert("a", 2).unwrap()).await;
    app.manager.finish(&reading, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(2));
}

#[tokio::test]
async fn a_write_in_flight_while_the_session_rotates_is_carried_or_gone_never_a_second_session() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let old = browser.clone();
    // The write comes first: the rotation meets it and replays over it.
    let (rotating, session) = browser.start(&app.manager).await;
    session.rotate().unwrap();
    let mut paused = app.store.pause("update", 0); // the tombstone
    let rotation = finish_in_background(&app.manager, rotating);
    paused.arrived().await;
    old.clone().request(&app.other_process(), |session| session.insert("b", 2).unwrap()).await;
    paused.release();
    browser.take(&rotation.await.unwrap().unwrap());
    assert_eq!(browser.get::<u8>(&app.manager, "b").await, Some(2));
    assert!(!old.is_live(&app.manager).await);
    // The write comes late: its base is gone.
    let (writing, session) = browser.start(&app.manager).await;
    session.insert("c", 3).unwrap();
    let before = browser.clone();
    browser.request(&app.other_process(), |session| session.rotate().unwrap()).await;
    assert_ne!(before, browser);
    assert_eq!(app.manager.finish(&writing, 200).await.into_result().unwrap().set_cookie(), None);
    assert_eq!(browser.get::<u8>(&app.manager, "c").await, None);
    assert_eq!(app.store.sessions(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_n_rotations_at_once_one_wins_and_one_session_is_left() {
    for round in 0..20 {
        let app = App::new();
        let browser =
            if round % 2 == 0 { with_values(&app.manager).await } else { logged_in(&app).await };
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let (browser, manager) = (browser.clone(), app.other_process());
            tasks.push(tokio::spawn(async move {
                let (lazy, session) = browser.start(&manager).await;
                if session.is_new() {
                    return None; // came after a rotation was through
                }
                session.rotate().unwrap();
                manager
                    .finish(&lazy, 200)
                    .await
                    .into_result()
                    .unwrap()
                    .set_cookie()
                    .map(ToOwned::to_owned)
            }));
        }
        let mut lines = Vec::new();
        for task in tasks {
            lines.extend(task.await.unwrap());
        }
        assert_eq!(lines.len(), 1, "the losers send no cookie line");
        assert_eq!(app.store.sessions(), 1);
        let winner = Browser { cookie: lines[0].split(';').next().map(ToOwned::to_owned) };
        assert_eq!(winner.get::<u8>(&app.manager, "a").await, Some(1));
        if round % 2 == 1 {
            assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 1);
            assert!(!winner.is_live(&app.manager).await);
        }
    }
}

#[tokio::test]
async fn logout_holding_the_old_id_after_a_rotation_created_the_new_one() {
    let app = App::new();
    let browser = logged_in(&app).await;
    let (rotating, session) = browser.start(&app.manager).await;
    session.rotate().unwrap();
    let (logout, session) = browser.start(&app.other_process()).await;
    session.destroy().unwrap();
    // The rotation is through; the logout, which loaded before it, follows it to the successor.
    let headers = app.manager.finish(&rotating, 200).await.into_result().unwrap();
    let mut rotated = browser.clone();
    rotated.take(&headers);
    assert!(rotated.is_live(&app.manager).await);
    let out = app.other_process().finish(&logout, 200).await.into_result().unwrap();
    assert!(out.set_cookie().unwrap().contains("Max-Age=0"));
    assert!(!rotated.is_live(&app.manager).await && !browser.is_live(&app.manager).await);
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test]
async fn logout_between_a_rotations_two_writes_leaves_neither() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (rotating, session) = browser.start(&app.manager).await;
    session.rotate().unwrap();
    let mut paused = app.store.pause("update", 0);
    let rotation = finish_in_background(&app.manager, rotating);
    paused.arrived().await;
    browser.clone().request(&app.other_process(), |session| session.destroy().unwrap()).await;
    paused.release();
    assert_eq!(rotation.await.unwrap().unwrap().set_cookie(), None, "no late cookie logs back in");
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test]
async fn a_login_that_loses_starts_fresh_from_its_own_changes_alone() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (one, two) = both(&app);
    let (first, session_1) = browser.start(&one).await;
    let (second, session_2) = browser.start(&two).await;
    session_1.insert("one", 1).unwrap();
    session_1.login("alice").unwrap();
    session_2.insert("two", 2).unwrap();
    session_2.login("bob").unwrap();
    let (mut alice, mut bob) = (browser.clone(), browser.clone());
    alice.take(&one.finish(&first, 200).await.into_result().unwrap());
    bob.take(&two.finish(&second, 200).await.into_result().unwrap());
    assert!(alice.is_live(&one).await && bob.is_live(&one).await, "both may win");
    assert_eq!(alice.get::<u8>(&one, "a").await, Some(1));
    let bobs = bob.open(&one).load().await.unwrap();
    assert_eq!((bobs.owner().as_deref(), bobs.keys()), (Some("bob"), vec!["two".to_owned()]));
    assert!(!browser.is_live(&one).await);
}

#[tokio::test]
async fn take_of_a_one_time_token_from_two_requests_gives_it_to_one() {
    let app = App::new();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("token", "t")).await.unwrap();
    let (one, two) = both(&app);
    let (first, session_1) = browser.start(&one).await;
    let (second, session_2) = browser.start(&two).await;
    assert_eq!(session_1.take::<String>("token").unwrap().as_deref(), Some("t"));
    assert_eq!(session_2.take::<String>("token").unwrap().as_deref(), Some("t"), "provisional");
    one.finish(&first, 200).await.into_result().unwrap();
    let error = two.finish(&second, 200).await.into_result().unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
}

#[tokio::test]
async fn one_request_empties_the_session_while_another_inserts_and_the_insert_lives() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (one, two) = both(&app);
    let (emptying, session_1) = browser.start(&one).await;
    let (inserting, session_2) = browser.start(&two).await;
    session_1.clear().unwrap();
    session_2.insert("b", 2).unwrap();
    let (mut first, mut second) = (browser.clone(), browser.clone());
    first.take(&one.finish(&emptying, 200).await.into_result().unwrap());
    assert_eq!(first.cookie, None);
    let headers = two.finish(&inserting, 200).await.into_result().unwrap();
    second.take(&headers);
    assert!(
        headers.set_cookie().is_some(),
        "the cookie that the other response removed is set again"
    );
    app.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(second.get::<u8>(&one, "b").await, Some(2));
    assert_eq!(second.get::<u8>(&one, "a").await, None);
}

#[tokio::test]
async fn a_change_that_equals_the_base_is_applied_when_a_conflict_makes_it_a_change() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("a", 1).unwrap(); // as it is
    session.insert("b", 2).unwrap();
    browser.clone().request(&app.other_process(), |session| session.insert("a", 99).unwrap()).await;
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
}

#[tokio::test]
async fn a_lost_answer_is_neither_applied_twice_nor_reported() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
    app.store.on("update", 0, Fault::LoseAnswer);
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1));
    // A create whose answer is lost.
    let mut other = Browser::new();
    app.store.on("create", 0, Fault::LoseAnswer);
    other.request(&app.manager, |session| session.insert("b", 1)).await.unwrap();
    assert_eq!(other.get::<u32>(&app.manager, "b").await, Some(1));
    assert_eq!(app.store.sessions(), 2);
}

#[tokio::test]
async fn a_write_that_was_not_done_but_may_have_been_is_done_once() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
    app.store.on("update", 0, Fault::Fail(ErrorKind::Ambiguous));
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1));
}

#[tokio::test]
async fn an_ambiguous_failure_then_other_writers_then_our_look_is_not_applied_twice() {
    for others in 1..=6 {
        let app = App::new();
        let browser = with_values(&app.manager).await;
        let (lazy, session) = browser.start(&app.manager).await;
        session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
        app.store.on("update", 0, Fault::LoseAnswer);
        let mut look = app.store.pause("load", 0);
        let writing = finish_in_background(&app.manager, lazy);
        look.arrived().await;
        for at in 0..others {
            browser
                .clone()
                .request(&app.other_process(), |session| session.insert("o", at).unwrap())
                .await;
        }
        look.release();
        let result = writing.await.unwrap();
        // With more writers since than the record remembers nobody can tell: an error, never a
        // second application.
        assert_eq!(result.is_ok(), others < 4, "{others}: {result:?}");
        assert!(result.is_ok() || result.unwrap_err().is_ambiguous());
        assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1), "{others}");
        assert_eq!(browser.get::<u32>(&app.manager, "o").await, Some(others - 1));
    }
}

#[tokio::test]
async fn delete_and_create_with_the_same_bytes_between_load_and_update_refuses_the_stale_update() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
    app.store.recreate_all();
    app.store.reset_calls();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(app.store.calls().update, 2, "the first was refused");
    assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1));
}

#[tokio::test]
async fn destroying_by_a_clone_while_a_commit_is_under_way_logs_out() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("a", 2).unwrap();
    let mut paused = app.store.pause_after("update", 0);
    let committing = tokio::spawn({
        let session = session.clone();
        async move { session.commit().await }
    });
    paused.arrived().await;
    session.destroy().unwrap();
    paused.release();
    committing.await.unwrap().unwrap();
    assert!(session.is_empty() && session.is_new(), "what was committed is not seen again");
    let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert!(
        headers.set_cookie().is_some_and(|line| line.contains("Max-Age=0")),
        "the cookie is removed"
    );
    assert_eq!(app.store.sessions(), 0);
}
