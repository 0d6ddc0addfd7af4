//! Requests that end in the middle: their client goes away, or a closure panics.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::{App, finish_in_background, with_values};

#[tokio::test]
async fn a_request_dropped_in_mid_commit_leaves_the_old_or_the_new_state() {
    for after in [false, true] {
        for (operation, what) in
            [("update", "write"), ("create", "rotate"), ("update", "rotate"), ("update", "destroy")]
        {
            let app = App::new();
            let browser = with_values(&app.manager).await;
            let (lazy, session) = browser.start(&app.manager).await;
            match what {
                "write" => session.insert("a", 2).unwrap(),
                "rotate" => session.rotate().unwrap(),
                _ => session.destroy().unwrap(),
            }
            let mut paused = if after {
                app.store.pause_after(operation, 0)
            } else {
                app.store.pause(operation, 0)
            };
            let task = finish_in_background(&app.manager, lazy);
            paused.arrived().await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            paused.release();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            match what {
                "write" => {
                    let value = browser.get::<u8>(&app.manager, "a").await.unwrap();
                    assert_eq!(value, if after { 2 } else { 1 });
                }
                "rotate" => {
                    assert_eq!(app.store.sessions(), 1, "{operation} {after}: completed");
                    assert!(!browser.is_live(&app.manager).await);
                }
                _ => assert_eq!(app.store.sessions(), 0, "{after}: completed"),
            }
        }
    }
}

#[tokio::test]
async fn commit_runs_to_its_end_when_its_future_is_dropped() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
    let mut paused = app.store.pause("update", 0);
    let committing = tokio::spawn({
        let session = session.clone();
        async move { session.commit().await }
    });
    paused.arrived().await;
    committing.abort();
    let _ = committing.await;
    paused.release();
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(
        browser.get::<u32>(&app.manager, "n").await,
        Some(1),
        "once, although finish came after it"
    );
}

#[tokio::test]
async fn a_commit_that_nobody_looks_at_any_more_holds_nobody_up() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (_lazy, session) = browser.start(&app.manager).await;
    session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
    let mut paused = app.store.pause("update", 0);
    let mut committing = Box::pin(session.commit());
    let waits = std::future::poll_fn(|cx| {
        std::task::Poll::Ready(committing.as_mut().poll(cx).is_pending())
    });
    assert!(waits.await);
    paused.arrived().await;
    paused.release();
    // Neither polled nor dropped, as in a `select!` whose other branch is running.
    let patience = std::time::Duration::from_secs(2);
    tokio::time::timeout(patience, session.reload())
        .await
        .expect("the commit goes on by itself")
        .unwrap();
    let mut other = browser.clone();
    let write = other.request(&app.manager, |session| session.insert("b", 2));
    tokio::time::timeout(patience, write).await.expect("its turn comes").unwrap();
    committing.await.unwrap();
    assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1));
}

#[tokio::test]
async fn what_a_panicking_closure_kept_from_being_committed_is_not_lost() {
    use std::sync::atomic::{AtomicU32, Ordering};

    let app = App::new();
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    // The second run, which another writer causes, panics.
    let runs = AtomicU32::new(0);
    let update = move |n: Option<u32>| {
        assert_ne!(runs.fetch_add(1, Ordering::SeqCst), 1, "a closure that panics");
        n.unwrap_or(0) + 1
    };
    session.update("n", update).unwrap();
    browser.clone().request(&app.other_process(), |other| other.insert("b", 3)).await.unwrap();
    let panicked = tokio::spawn({
        let session = session.clone();
        async move { session.commit().await }
    });
    assert!(!matches!(panicked.await, Ok(Ok(()))), "it is not said to be committed");
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(1), "the next commit has it");
    assert_eq!(browser.get::<u32>(&app.manager, "b").await, Some(3));
}
