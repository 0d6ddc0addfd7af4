//! One of several simultaneous writes wins, none is lost, and a delete is final.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mocha_session_core::store::{SessionStore, StorageKey};

use crate::subject::{HOUR, Stop, Subject, Verdict, at_once, ensure, value, within};

/// The number of tasks that race.
const TASKS: usize = 64;
/// The time for which a race is repeated. An in-memory engine needs many rounds to show a race. A
/// distant engine has time for few.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn one_of_many_creates_wins(it: &Subject) -> Verdict {
    let start = Instant::now();
    for round in 0..200 {
        let key = it.key();
        let results = at_once(TASKS, |number| {
            let store = Arc::clone(&it.store);
            async move { Ok(store.create(&key, &contender(number), within(HOUR)).await?) }
        });
        let results = results.await?;
        let winners: Vec<_> = (0..TASKS).filter(|number| results[*number].is_some()).collect();
        ensure!(
            winners.len() == 1,
            "{} of {TASKS} simultaneous creates won (round {round})",
            winners.len()
        );
        let (number, revision) = (winners[0], results[winners[0]].as_ref());
        let Some(revision) = revision else { continue };
        it.holds(&key, &contender(number), revision).await?;
        if start.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(())
}

pub(crate) async fn one_of_many_updates_wins(it: &Subject) -> Verdict {
    let start = Instant::now();
    let key = it.key();
    let mut revision = it.create(&key, b"base").await?;
    for round in 0..200 {
        let results = at_once(TASKS, |number| {
            let (store, expected) = (Arc::clone(&it.store), revision.clone());
            async move { Ok(store.update(&key, &contender(number), within(HOUR), &expected).await?) }
        });
        let results = results.await?;
        let mut winners =
            results.into_iter().enumerate().filter_map(|(number, won)| Some((number, won?)));
        let first = winners.next();
        let count = usize::from(first.is_some()) + winners.count();
        ensure!(
            count == 1,
            "{count} of {TASKS} simultaneous updates of one revision won (round {round})"
        );
        let Some((number, won)) = first else { continue };
        it.holds(&key, &contender(number), &won).await?;
        revision = won;
        if start.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(())
}

pub(crate) async fn compare_and_set_counters_add_up(it: &Subject) -> Verdict {
    let key = it.key();
    it.create(&key, &0u64.to_be_bytes()).await?;
    let added = at_once(32, |_| count_up(Arc::clone(&it.store), key)).await?;
    let sum: u64 = added.iter().sum();
    let found = it
        .load(&key)
        .await?
        .and_then(|(bytes, _)| Some(u64::from_be_bytes(bytes[..].try_into().ok()?)));
    ensure!(
        found == Some(sum),
        "32 tasks had {sum} increments acknowledged, the counter says {}",
        found.map_or_else(|| "nothing".to_owned(), |found| found.to_string())
    );
    Ok(())
}

/// Increments the counter until the time is over, at least once. Returns the acknowledged
/// increments.
async fn count_up(store: Arc<dyn SessionStore>, key: StorageKey) -> Verdict<u64> {
    let start = Instant::now();
    for added in 0..50 {
        if added > 0 && start.elapsed() > PATIENCE {
            return Ok(added);
        }
        loop {
            let Some(stored) = store.load(&key).await? else {
                return Err(Stop::Fail("the counter is gone".to_owned()));
            };
            let (bytes, revision) = stored.into_parts();
            let Ok(bytes) = bytes[..].try_into() else {
                return Err(Stop::Fail("the counter was torn".to_owned()));
            };
            let next = u64::from_be_bytes(bytes) + 1;
            // Lets the other tasks run, also on a store that never waits.
            tokio::task::yield_now().await;
            if store.update(&key, &next.to_be_bytes(), within(HOUR), &revision).await?.is_some() {
                break;
            }
        }
    }
    Ok(50)
}

pub(crate) async fn delete_during_updates_is_final(it: &Subject) -> Verdict {
    let start = Instant::now();
    for round in 0..500 {
        let key = it.key();
        let revision = it.create(&key, b"base").await?;
        let deleted = Arc::new(AtomicBool::new(false));
        at_once(8, |number| {
            let (store, expected, deleted) =
                (Arc::clone(&it.store), revision.clone(), Arc::clone(&deleted));
            async move {
                // One task deletes at a random moment. The rest update, some of them each other's
                // values.
                if number == 0 {
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..500))).await;
                    store.delete(&key).await?;
                    deleted.store(true, Ordering::SeqCst);
                } else if number % 2 == 1 {
                    store.update(&key, &contender(number), within(HOUR), &expected).await?;
                } else {
                    while !deleted.load(Ordering::SeqCst) {
                        let Some(stored) = store.load(&key).await? else { break };
                        store
                            .update(&key, &contender(number), within(HOUR), stored.revision())
                            .await?;
                        // A store in memory never waits, and would keep the thread from the
                        // deleting task.
                        tokio::task::yield_now().await;
                    }
                }
                Ok(())
            }
        })
        .await?;
        ensure!(
            it.load(&key).await?.is_none(),
            "an update revived a deleted entry (round {round})"
        );
        if start.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(())
}

pub(crate) async fn acknowledged_writes_are_seen_at_once(it: &Subject) -> Verdict {
    let key = it.key();
    let mut revision = it.create(&key, b"0").await?;
    for round in 0..30u8 {
        revision = it.update(&key, &[round], &revision).await?;
        let seen = at_once(4, |_| {
            let store = Arc::clone(&it.store);
            async move { Ok(store.load(&key).await?) }
        });
        for stored in seen.await? {
            ensure!(
                stored.is_some_and(
                    |stored| stored.value()[..] == [round] && *stored.revision() == revision
                ),
                "a load that began after a write was acknowledged does not see it"
            );
        }
    }
    it.store.delete(&key).await?;
    let seen = at_once(4, |_| {
        let store = Arc::clone(&it.store);
        async move { Ok(store.load(&key).await?) }
    });
    ensure!(
        seen.await?.iter().all(Option::is_none),
        "a load that began after a delete was acknowledged sees the entry"
    );
    Ok(())
}

fn contender(number: usize) -> Vec<u8> {
    value(40, u8::try_from(number).unwrap_or(u8::MAX))
}
