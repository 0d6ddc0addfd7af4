//! How a session fares when its engine fails: what the application and its client see. One
//! function, one fault. What the store itself must do is in the conformance crate's `faults!`.

use std::time::{Duration, Instant};

use mocha_session::{RequestInfo, Result, SessionManager};

use crate::engines::Engine;

const PATIENCE: Duration = Duration::from_secs(1);

async fn impatient(engine: &Engine) -> SessionManager {
    engine.manager_with(|builder| builder.store_timeout(PATIENCE)).await
}

async fn count(manager: &SessionManager, cookie: &str) -> Result<Option<String>> {
    let lazy = manager.open(RequestInfo::new(cookie.to_owned()));
    lazy.load().await?.update("n", |n: Option<u32>| n.unwrap_or(0) + 1)?;
    let headers = manager.finish(&lazy, 200).await.into_result()?;
    Ok(headers.set_cookie().map(ToOwned::to_owned))
}

async fn counted(manager: &SessionManager, cookie: &str) -> Option<u32> {
    manager.open(RequestInfo::new(cookie.to_owned())).load().await.unwrap().get("n").unwrap()
}

/// Counts until it works again: a client may need a call to notice that its connection is dead.
async fn recovers(manager: &SessionManager, cookie: &str) {
    let begun = Instant::now();
    while let Err(error) = count(manager, cookie).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "it did not recover: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The connection is cut between a write and its answer: applied once, or said to be unknown; never
/// twice.
pub async fn answer_lost_after_the_write(direct: Engine) {
    let (engine, proxy) = direct.through_proxy().await;
    let (observer, manager) = (direct.manager().await, impatient(&engine).await);
    for round in 0..5 {
        let cookie = observer.seed(|session| session.insert("n", 0)).await.unwrap();
        recovers(&manager, &cookie).await;
        let before = counted(&observer, &cookie).await.unwrap();
        let lazy = manager.open(RequestInfo::new(cookie.clone()));
        lazy.load().await.unwrap().update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
        proxy.lose_answers();
        let (finished, ()) = tokio::join!(manager.finish(&lazy, 200), async {
            tokio::time::sleep(Duration::from_millis(40 * round)).await;
            proxy.pass();
        });
        let after = counted(&observer, &cookie).await.unwrap();
        match finished.into_result() {
            Ok(_) => assert_eq!(after, before + 1),
            Err(error) => {
                assert!(error.is_unavailable(), "{error:?}");
                assert!(after <= before + 1, "applied twice");
            }
        }
    }
}

/// The server is down: an error that says so, no cookie change; it is back: it works without a
/// restart.
pub async fn down_and_back(direct: Engine) {
    let (engine, proxy) = direct.through_proxy().await;
    let (observer, manager) = (direct.manager().await, impatient(&engine).await);
    let cookie = observer.seed(|session| session.insert("n", 0)).await.unwrap();
    recovers(&manager, &cookie).await;
    proxy.down();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..3 {
        let error = count(&manager, &cookie).await.unwrap_err();
        assert!(error.is_unavailable() && error.http_status() == 503, "{error:?}");
    }
    // Down at the commit: the request had loaded its session.
    proxy.pass();
    recovers(&manager, &cookie).await;
    let before = counted(&observer, &cookie).await;
    let lazy = manager.open(RequestInfo::new(cookie.clone()));
    lazy.load().await.unwrap().insert("late", true).unwrap();
    proxy.down();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let finished = manager.finish(&lazy, 200).await;
    assert!(finished.error().unwrap().is_unavailable());
    assert_eq!(finished.set_cookie(), None);
    proxy.pass();
    assert_eq!(counted(&observer, &cookie).await, before, "nothing is lost");
    recovers(&manager, &cookie).await;
    assert!(manager.ping().await.is_ok());
}

/// The server hangs: bounded by the deadline; it goes on: it works.
pub async fn hanging(direct: Engine) {
    let (engine, proxy) = direct.through_proxy().await;
    let (observer, manager) = (direct.manager().await, impatient(&engine).await);
    let cookie = observer.seed(|session| session.insert("n", 0)).await.unwrap();
    recovers(&manager, &cookie).await;
    proxy.hang();
    let begun = Instant::now();
    let error = count(&manager, &cookie).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(begun.elapsed() < PATIENCE * 3, "{:?}", begun.elapsed());
    proxy.pass();
    recovers(&manager, &cookie).await;
}

/// Every fault, on one engine.
#[macro_export]
macro_rules! fault_cases {
    ($open:path) => {
        $crate::fault_cases!(@ $open, answer_lost_after_the_write down_and_back hanging);
    };
    (@ $open:path, $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                if let Some(engine) = $open().await {
                    $crate::faults::$case(engine).await;
                }
            }
        )*
    };
}
