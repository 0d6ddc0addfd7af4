//! The handles to a session: reload, detached, explicit commits, what is closed, and the ones for
//! tests of applications.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use mocha_session_core::{ErrorKind, LazySession, RequestInfo, Session, SessionManager};
use support::{App, Browser, Fault, with_values};

#[tokio::test]
async fn reload_sees_what_others_wrote_under_what_this_request_changed() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("b", 2).unwrap();
    session.update("n", |n: Option<u8>| n.unwrap_or(0) + 1).unwrap();
    browser
        .clone()
        .request(&app.other_process(), |session| {
            session.insert("a", 9).unwrap();
            session.insert("n", 10).unwrap();
        })
        .await;
    assert_eq!(session.get::<u8>("a").unwrap(), Some(1));
    session.reload().await.unwrap();
    let now = ["a", "b", "n"].map(|key| session.get::<u8>(key).unwrap());
    assert_eq!(now, [Some(9), Some(2), Some(11)]);
    app.store.reset_calls();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!((app.store.calls().load, app.store.calls().update), (0, 1), "it is up to date");
    assert_eq!(browser.get::<u8>(&app.manager, "n").await, Some(11));
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    assert_eq!(session.take::<u8>("a").unwrap(), Some(1));
    session.insert("mine", 1).unwrap();
    app.store.on("load", 0, Fault::Fail(ErrorKind::Unavailable));
    assert!(session.reload().await.unwrap_err().is_unavailable());
    // Another request takes the token and leaves something else.
    browser
        .clone()
        .request(&app.other_process(), |session| {
            assert_eq!(session.take::<u8>("a").unwrap(), Some(1));
            session.insert("theirs", 1).unwrap();
        })
        .await;
    assert!(session.reload().await.unwrap_err().is_conflict());
    assert!(
        app.manager.finish(&lazy, 200).await.into_result().unwrap_err().is_conflict(),
        "taken once"
    );
    assert_eq!(browser.get::<u8>(&app.manager, "theirs").await, Some(1), "and nothing is lost");
}

#[tokio::test]
async fn reload_of_a_session_that_is_gone_says_so_and_drops_the_changes() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("b", 2).unwrap();
    browser.clone().request(&app.other_process(), |session| session.destroy()).await.unwrap();
    assert!(session.reload().await.unwrap_err().is_gone());
    assert!(session.is_new() && session.is_empty());
    assert!(session.insert("c", 3).unwrap_err().is_gone());
    assert!(session.commit().await.unwrap_err().is_gone());
    assert_eq!(app.manager.finish(&lazy, 200).await.into_result().unwrap().set_cookie(), None);
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_detached_handle_follows_a_new_and_a_rotated_session_and_sees_a_logout() {
    let app = App::new();
    let mut browser = Browser::new();
    let (lazy, session) = browser.start(&app.manager).await;
    let detached = session.detached();
    session.insert("a", 1).unwrap();
    assert!(
        detached.load().await.unwrap_err().is_conflict(),
        "it says that it waited for the response"
    );
    let job = tokio::spawn({
        let detached = detached.clone();
        async move { detached.load().await.unwrap().unwrap().get::<u8>("a").unwrap() }
    });
    tokio::task::yield_now().await;
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert_eq!(job.await.unwrap(), Some(1), "it waited");
    let job = detached.load().await.unwrap().unwrap();
    job.update("a", |a: Option<u8>| a.unwrap_or(0) + 1).unwrap();
    job.commit().await.unwrap();
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(2));

    let (lazy, session) = browser.start(&app.manager).await;
    let detached = session.detached();
    session.rotate().unwrap();
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    let job = detached.load().await.unwrap().unwrap();
    assert_eq!(job.get::<u8>("a").unwrap(), Some(2));

    browser.request(&app.manager, |session| session.destroy()).await.unwrap();
    assert!(detached.load().await.unwrap().is_none());
    job.insert("late", 1).unwrap();
    assert!(job.commit().await.unwrap_err().is_gone());
    assert!(job.reload().await.unwrap_err().is_gone());
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test]
async fn a_5xx_or_a_panic_commits_nothing() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let before = browser.clone();
    let changes: [fn(&Session); 4] = [
        |session| session.insert("a", 2).unwrap(),
        |session| session.rotate().unwrap(),
        |session| session.destroy().unwrap(),
        |session| session.login("alice").unwrap(),
    ];
    app.store.reset_calls();
    for change in changes {
        for status in [500, 503, 599] {
            let ((), headers) = browser.request_status(&app.manager, status, change).await;
            assert_eq!(headers.set_cookie(), None, "{status}");
        }
        // A handler that panicked: its request is dropped and never finished.
        let (_lazy, session) = browser.start(&app.manager).await;
        change(&session);
    }
    assert_eq!(app.store.calls().writes(), 0);
    assert_eq!((browser.get::<u8>(&app.manager, "a").await, &browser), (Some(1), &before));
    let other = app.process_with(|rules| rules.commit_on_server_error(true));
    browser.request_status(&other, 500, |session| session.insert("a", 2).unwrap()).await;
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(2));
}

#[tokio::test]
async fn what_was_committed_stays_and_its_cookie_is_sent_whatever_the_status() {
    for status in [200, 204, 302, 304, 404, 500, 503] {
        for rotate in [false, true] {
            let app = App::new();
            let mut browser = if rotate { with_values(&app.manager).await } else { Browser::new() };
            let (lazy, session) = browser.start(&app.manager).await;
            session.insert("a", 2).unwrap();
            session.rotate().unwrap();
            session.commit().await.unwrap();
            let headers = app.manager.finish(&lazy, status).await.into_result().unwrap();
            browser.take(&headers);
            assert!(headers.set_cookie().is_some(), "{status} {rotate}");
            assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(2), "{status} {rotate}");
        }
    }
    // What came after the commit is dropped by a 5xx, the id is not.
    let app = App::new();
    let mut browser = Browser::new();
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("a", 1).unwrap();
    session.commit().await.unwrap();
    session.insert("a", 2).unwrap();
    session.destroy().unwrap();
    browser.take(&app.manager.finish(&lazy, 500).await.into_result().unwrap());
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
}

#[tokio::test]
async fn when_finish_fails_the_committed_ids_cookie_is_still_told() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.rotate().unwrap();
    session.commit().await.unwrap();
    session.insert("b", 2).unwrap();
    app.store.on("update", 0, Fault::Fail(ErrorKind::Unavailable));
    let (headers, error) = app.manager.finish(&lazy, 200).await.into_parts();
    assert!(error.unwrap().is_unavailable());
    browser.take(&headers);
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));
    // Where nothing was committed there is nothing to tell.
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("b", 2).unwrap();
    app.store.on("update", 0, Fault::Fail(ErrorKind::Unavailable));
    let finished = app.manager.finish(&lazy, 200).await;
    assert!(finished.error().is_some() && finished.set_cookie().is_none());
}

#[tokio::test]
async fn only_finish_closes_the_session() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.commit().await.unwrap();
    session.insert("b", 2).unwrap();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    let kinds = [
        session.insert("c", 3).unwrap_err().kind(),
        session.remove("a").unwrap_err().kind(),
        session.clear().unwrap_err().kind(),
        session.rotate().unwrap_err().kind(),
        session.destroy().unwrap_err().kind(),
        session.login("alice").unwrap_err().kind(),
        session.set_label("x").unwrap_err().kind(),
        session.update("a", |a: Option<u8>| a.unwrap_or(0)).unwrap_err().kind(),
        session.flash().info("x").unwrap_err().kind(),
        session.commit().await.unwrap_err().kind(),
        session.reload().await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::Closed; 11]);
    assert_eq!(session.get::<u8>("b").unwrap(), Some(2), "reading goes on");
    assert!(
        app.manager.finish(&lazy, 200).await.into_result().unwrap().is_none(),
        "a second finish does nothing"
    );
}

#[tokio::test]
async fn a_session_nobody_asked_for_cannot_be_loaded_after_finish() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let lazy = browser.open(&app.manager);
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    // An empty session would say that nobody is logged in.
    assert_eq!(lazy.load().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(lazy.load_existing().await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(!lazy.is_touched());
    // Nor when the response goes out while it is being loaded.
    let lazy = browser.open(&app.manager);
    let mut paused = app.store.pause("load", 0);
    let loading = tokio::spawn({
        let lazy = lazy.clone();
        async move { lazy.load().await }
    });
    paused.arrived().await;
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    paused.release();
    assert_eq!(loading.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn closures_run_outside_the_lock_and_may_use_the_session() {
    let app = App::new();
    let (lazy, session) = with_values(&app.manager).await.start(&app.manager).await;
    let inner = session.clone();
    let sum = session
        .update("sum", move |_: Option<u8>| inner.get::<u8>("a").unwrap().unwrap() + 1)
        .unwrap();
    assert_eq!(sum, 2);
    let inner = session.clone();
    let made = session
        .get_or_insert_with("made", move || inner.get::<u8>("sum").unwrap().unwrap())
        .unwrap();
    assert_eq!(made, 2);
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
}

#[tokio::test]
async fn clones_and_every_load_of_a_request_are_one_session() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    app.store.reset_calls();
    let lazy = browser.open(&app.manager);
    let (one, two) = (lazy.load().await.unwrap(), lazy.clone().load().await.unwrap());
    one.insert("b", 2).unwrap();
    assert_eq!(two.get::<u8>("b").unwrap(), Some(2));
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!((app.store.calls().load, app.store.calls().update), (1, 1));
}

#[tokio::test]
async fn in_memory_is_for_tests_of_handlers() {
    let session = Session::in_memory().unwrap();
    session.insert("a", 1).unwrap();
    session.login("alice").unwrap();
    session.commit().await.unwrap();
    session.reload().await.unwrap();
    assert_eq!(
        (session.get::<u8>("a").unwrap(), session.owner().as_deref()),
        (Some(1), Some("alice"))
    );
    // What a handler may do beyond it, in a test as well: claim, go on detached, list and end a
    // user's sessions. What was pushed is for those who come later.
    session.flash().info("saved").unwrap();
    session.commit().await.unwrap();
    assert!(session.flash().claim().await.unwrap().is_empty());
    let detached = session.detached().load().await.unwrap().unwrap();
    assert_eq!(detached.flash().claim().await.unwrap().len(), 1);
    detached.insert("a", 2).unwrap();
    detached.commit().await.unwrap();
    session.reload().await.unwrap();
    assert_eq!(session.get::<u8>("a").unwrap(), Some(2));
    session.destroy().unwrap();
    assert!(session.is_empty() && session.owner().is_none());
    let manager = SessionManager::in_memory().unwrap();
    let cookie = manager.seed(|session| session.login("alice")).await.unwrap();
    assert_eq!(manager.sessions_of("alice").await.unwrap().len(), 1);
    assert_eq!(manager.revoke_all("alice").await.unwrap(), 1);
    assert!(manager.open(RequestInfo::new(cookie)).load_existing().await.unwrap().is_none());
}

#[tokio::test]
async fn seed_stores_a_session_and_gives_its_cookie() {
    let app = App::new();
    let cookie = app
        .manager
        .seed(|session| {
            session.insert("a", 1)?;
            session.login("alice")
        })
        .await
        .unwrap();
    let session = app.manager.open(RequestInfo::new(cookie)).load().await.unwrap();
    assert_eq!(
        (session.get::<u8>("a").unwrap(), session.owner().as_deref()),
        (Some(1), Some("alice"))
    );
    assert_eq!(app.manager.sessions_of("alice").await.unwrap().len(), 1);
    assert!(app.manager.seed(|_| Ok(())).await.unwrap_err().is_invalid_input());
}

#[tokio::test]
async fn finish_is_ready_where_nothing_is_to_be_written_or_waited_for() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    app.store.reset_calls();

    let lazy = browser.open(&app.manager);
    let ready = |lazy: &LazySession, status| app.manager.finish(lazy, status).is_ready();
    assert!(app.manager.finish(&lazy, 200).await.into_result().unwrap().is_none(), "untouched");
    assert_eq!(lazy.load().await.unwrap_err().kind(), ErrorKind::Closed);

    let (lazy, session) = browser.start(&app.manager).await;
    let finish = app.manager.finish(&lazy, 200);
    assert!(finish.is_ready());
    let said = finish.await.into_result().unwrap();
    assert!(
        !said.is_none() && said.set_cookie().is_none(),
        "read: the response varies with the cookie"
    );
    assert_eq!(session.insert("a", 2).unwrap_err().kind(), ErrorKind::Closed);

    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("a", 2).unwrap();
    assert!(!ready(&lazy, 200), "there is a change to commit");
    assert!(ready(&lazy, 500), "which a server error drops");
    assert_eq!(browser.get::<u8>(&app.manager, "a").await, Some(1));

    let (lazy, session) = browser.start(&app.manager).await;
    let mut paused = app.store.pause("load", 0);
    let reloading = tokio::spawn(async move { session.reload().await });
    paused.arrived().await;
    assert!(!ready(&lazy, 200), "a reload is to be waited for");
    paused.release();
    reloading.await.unwrap().unwrap();
    assert!(ready(&lazy, 200));

    browser.request(&app.manager, |session| session.flash().info("saved").map(drop)).await.unwrap();
    let (lazy, session) = browser.start(&app.manager).await;
    assert_eq!(session.flash().messages().len(), 1);
    assert!(!ready(&lazy, 200), "there is a message to consume");
    app.manager.finish(&lazy, 200).await.into_result().unwrap();

    app.clock.advance(std::time::Duration::from_secs(3 * 24 * 3600));
    let (lazy, _session) = browser.start(&app.manager).await;
    assert!(!ready(&lazy, 200), "the idle deadline is to be moved");
    assert!(app.manager.finish(&lazy, 200).await.into_result().unwrap().set_cookie().is_some());
}
