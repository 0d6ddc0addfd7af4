//! What requests cost: store calls, and allocations where the session is not touched.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mocha_session_core::{RequestInfo, Session, SessionManager};
use support::{App, Browser, Calls};

fn calls(load: usize, create: usize, update: usize) -> Calls {
    Calls { load, create, update, delete: 0 }
}

async fn cost(app: &App, browser: &mut Browser, request: impl FnOnce(&Session)) -> Calls {
    app.store.reset_calls();
    browser.request(&app.manager, request).await;
    app.store.calls()
}

#[tokio::test]
async fn every_request_costs_the_store_calls_that_were_promised() {
    let app = App::new();
    let mut browser = Browser::new();
    assert_eq!(cost(&app, &mut browser, |_| ()).await, calls(0, 0, 0), "no cookie, nothing stored");
    assert_eq!(
        cost(&app, &mut browser, |session| session.insert("a", 1).unwrap()).await,
        calls(0, 1, 0),
        "new"
    );
    app.store.reset_calls();
    let lazy = browser.open(&app.manager);
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(app.store.calls(), calls(0, 0, 0), "untouched");
    assert_eq!(
        cost(&app, &mut browser, |session| assert!(session.contains("a"))).await,
        calls(1, 0, 0),
        "read"
    );
    let read_and_write = |session: &Session| {
        session.update("a", |a: Option<u8>| a.unwrap_or(0) + 1).unwrap();
        session.insert("b", 2).unwrap();
        session.flash().info("saved").unwrap();
    };
    assert_eq!(cost(&app, &mut browser, read_and_write).await, calls(1, 0, 1), "read and write");
    assert_eq!(
        cost(&app, &mut browser, |session| session.rotate().unwrap()).await,
        calls(1, 1, 1),
        "rotation"
    );
    app.clock.advance(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(
        cost(&app, &mut browser, |session| assert!(session.contains("a"))).await,
        calls(1, 0, 1),
        "refresh"
    );
    assert_eq!(
        cost(&app, &mut browser, |session| session.destroy().unwrap()).await,
        calls(1, 0, 1),
        "logout"
    );
    assert_eq!(
        cost(&app, &mut browser, |session| session.destroy().unwrap()).await,
        calls(0, 0, 0)
    );
}

#[tokio::test]
async fn an_owner_that_is_indexed_costs_two_more() {
    let app = App::new();
    let mut browser = Browser::new();
    // The index is read before the session is created and written after it, if it is still the
    // same.
    let login = |session: &Session| session.login("alice").unwrap();
    assert_eq!(cost(&app, &mut browser, login).await.all(), 1 + 2);
    assert_eq!(cost(&app, &mut Browser::new(), login).await.all(), 1 + 2, "the second device");
    assert_eq!(
        cost(&app, &mut browser, |session| session.rotate().unwrap()).await,
        calls(2, 1, 2),
        "3 + 2"
    );
    assert_eq!(
        cost(&app, &mut browser, |session| assert!(session.is_empty())).await,
        calls(1, 0, 0),
        "read"
    );
    assert_eq!(
        cost(&app, &mut browser, |session| session.insert("a", 1).unwrap()).await,
        calls(1, 0, 1),
        "write"
    );
    app.clock.advance(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(
        cost(&app, &mut browser, |session| assert!(session.contains("a"))).await,
        calls(2, 0, 2),
        "refresh"
    );
    assert_eq!(
        cost(&app, &mut browser, |session| session.destroy().unwrap()).await,
        calls(2, 0, 2),
        "logout"
    );
}

#[tokio::test]
async fn a_hot_session_costs_n_writes_in_one_process() {
    let app = App::new();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("n", 0)).await.unwrap();
    let mut requests = Vec::new();
    for _ in 0..50 {
        let (lazy, session) = browser.start(&app.manager).await;
        session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
        requests.push(lazy);
    }
    app.store.reset_calls();
    let mut held = app.store.pause("update", 0);
    let tasks: Vec<_> = requests
        .into_iter()
        .map(|lazy| support::finish_in_background(&app.manager, lazy))
        .collect();
    held.arrived().await;
    tokio::task::yield_now().await;
    held.release();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(app.store.calls(), calls(0, 0, 50));
    assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(50));
}

#[tokio::test]
async fn an_update_runs_once_unless_somebody_else_wrote() {
    for (others, runs) in [(0, 1), (1, 2)] {
        let app = App::new();
        let mut browser = Browser::new();
        browser.request(&app.manager, |session| session.insert("n", 0)).await.unwrap();
        let (lazy, session) = browser.start(&app.manager).await;
        let counted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&counted);
        let add = move |n: Option<u32>| {
            counter.fetch_add(1, Ordering::SeqCst);
            n.unwrap_or(0) + 1
        };
        session.update("n", add).unwrap();
        for _ in 0..others {
            browser
                .clone()
                .request(&app.other_process(), |other| other.insert("n", 10))
                .await
                .unwrap();
        }
        app.manager.finish(&lazy, 200).await.into_result().unwrap();
        assert_eq!(counted.load(Ordering::SeqCst), runs);
        assert_eq!(browser.get::<u32>(&app.manager, "n").await, Some(10 * others + 1));
    }
}

/// The allocations of polling a future that never waits.
fn allocations(future: impl Future<Output = ()>) -> u64 {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut ready = false;
    let counted =
        allocation_counter::measure(|| ready = future.as_mut().poll(&mut context).is_ready());
    assert!(ready);
    counted.count_total
}

#[tokio::test]
async fn an_untouched_request_allocates_once_and_a_read_a_bounded_number_of_times() {
    let app = App::new();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("a", 1)).await.unwrap();
    let manager: SessionManager = app.manager.clone();
    for cookies in 0..2 {
        let header = if cookies == 0 { String::new() } else { browser.header() };
        let info = RequestInfo::new(header);
        let untouched = allocations(async {
            let lazy = manager.open(info);
            manager.finish(&lazy, 200).await.into_result().unwrap();
        });
        assert_eq!(untouched, 1, "the handle itself");
    }
    let info = RequestInfo::new(browser.header());
    let read = allocations(async {
        let lazy = manager.open(info);
        assert_eq!(lazy.load().await.unwrap().get::<u8>("a").unwrap(), Some(1));
        manager.finish(&lazy, 200).await.into_result().unwrap();
    });
    assert!((2..=10).contains(&read), "{read}");
}
