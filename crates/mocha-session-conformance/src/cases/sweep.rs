//! A sweep removes expired entries in bounded batches, and spares refreshed ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mocha_session_core::store::{SessionStore, StorageKey};

use crate::subject::{HOUR, Subject, Verdict, at_once, ensure, skip, sweep_all, within};

const NATIVE: &str = "the engine expires by itself: there is nothing to sweep";

pub(crate) async fn sweep_removes_expired_and_keeps_live(it: &Subject) -> Verdict {
    let (mut live, mut expired) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let key = it.key();
        live.push((key, it.create(&key, b"live").await?));
        let key = it.key();
        it.create_for(&key, b"expired", Duration::from_millis(1)).await?;
        expired.push(key);
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    if !it.sweep(SystemTime::now()).await? {
        skip!("{NATIVE}");
    }
    for key in &expired {
        it.is_absent(key, "that had expired, after a sweep").await?;
    }
    for (key, revision) in &live {
        it.holds(key, b"live", revision).await?;
    }
    Ok(())
}

pub(crate) async fn sweep_goes_by_the_given_time(it: &Subject) -> Verdict {
    let key = it.key();
    let revision = it.create(&key, b"live").await?;
    let mut cursor = None;
    loop {
        // No real entry expired before 1970, so no data is at risk.
        let report = it.store.sweep(SystemTime::UNIX_EPOCH, cursor, 500).await?;
        if report.is_native() {
            skip!("{NATIVE}");
        }
        ensure!(
            report.removed() == 0,
            "a sweep of entries that expired before 1970 removed {}",
            report.removed()
        );
        cursor = report.next().cloned();
        if cursor.is_none() {
            return it.holds(&key, b"live", &revision).await;
        }
    }
}

pub(crate) async fn sweep_is_bounded_and_ends(it: &Subject) -> Verdict {
    const ENTRIES: usize = 60;
    const LIMIT: usize = 10;
    let mut keys = Vec::with_capacity(ENTRIES);
    for _ in 0..ENTRIES {
        let key = it.key();
        it.create_for(&key, b"expired", Duration::from_millis(1)).await?;
        keys.push(key);
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (now, mut cursor) = (SystemTime::now(), None);
    loop {
        let report = it.store.sweep(now, cursor, LIMIT).await?;
        if report.is_native() {
            skip!("{NATIVE}");
        }
        ensure!(
            report.examined() <= 4 * LIMIT as u64,
            "a batch of about {LIMIT} entries examined {}",
            report.examined()
        );
        ensure!(report.removed() <= report.examined(), "a sweep removed more than it examined");
        cursor = report.next().cloned();
        if cursor.is_none() {
            break;
        }
    }
    for key in &keys {
        it.is_absent(key, "that had expired, after a sweep in small batches").await?;
    }
    Ok(())
}

/// Refreshes entries at the moment of their expiry, during sweeps. A sweep must not remove an
/// acknowledged update.
pub(crate) async fn sweep_spares_what_was_refreshed_meanwhile(it: &Subject) -> Verdict {
    if !it.sweep(SystemTime::now()).await? {
        skip!("{NATIVE}");
    }
    let done = Arc::new(AtomicBool::new(false));
    let sweepers: Vec<_> =
        (0..2).map(|_| tokio::spawn(sweeper(Arc::clone(&it.store), Arc::clone(&done)))).collect();
    let start = Instant::now();
    let mut verdict = Ok(());
    for _ in 0..100 {
        let keys: [StorageKey; 16] = std::array::from_fn(|_| it.key());
        verdict = at_once(keys.len(), |number| refresh(Arc::clone(&it.store), keys[number]))
            .await
            .map(drop);
        if verdict.is_err() || start.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    done.store(true, Ordering::Relaxed);
    for sweeper in sweepers {
        if let Ok(result) = sweeper.await {
            result?;
        }
    }
    verdict
}

async fn sweeper(store: Arc<dyn SessionStore>, done: Arc<AtomicBool>) -> Verdict {
    while !done.load(Ordering::Relaxed) {
        sweep_all(&*store, SystemTime::now(), 50).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn refresh(store: Arc<dyn SessionStore>, key: StorageKey) -> Verdict {
    let Some(revision) = store.create(&key, b"old", within(Duration::from_millis(20))).await?
    else {
        return Ok(());
    };
    tokio::time::sleep(Duration::from_micros(fastrand::u64(14_000..24_000))).await;
    let refreshed = store.update(&key, b"refreshed", within(HOUR), &revision).await?;
    // Long enough for a sweep that has read the old entry to act on it.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let found = store.load(&key).await?;
    match refreshed {
        Some(revision) => ensure!(
            found.is_some_and(|found| *found.revision() == revision),
            "a sweep removed an entry that had been refreshed meanwhile"
        ),
        None => ensure!(
            found.is_none_or(|found| found.value()[..] == *b"old"),
            "a refused update was done"
        ),
    }
    Ok(())
}
