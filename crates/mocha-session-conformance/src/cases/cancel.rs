//! A dropped future leaves the old or the new entry, and a working store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mocha_session_core::store::{Bytes, Revision};

use crate::subject::{HOUR, Stop, Subject, Verdict, ensure, within};

/// The length of several packets, so that a write could be torn.
const SIZE: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) async fn cancelled_writes_leave_old_or_new(it: &Subject) -> Verdict {
    let start = Instant::now();
    let size = SIZE.min(it.store.capabilities().max_value().unwrap_or(SIZE));
    let key = it.key();
    it.create(&key, &filled(size, 0)).await?;
    let mut newest = 0;
    for round in 1..=200u8 {
        let Some((_, revision)) = whole(it.load(&key).await?, newest)? else {
            return Err(Stop::Fail("a cancelled update removed the entry".to_owned()));
        };
        newest = round;
        let store = Arc::clone(&it.store);
        let next = filled(size, round);
        cut_short(
            async move { store.update(&key, &next, within(HOUR), &revision).await.map(drop) },
        )
        .await;
        if start.elapsed() > PATIENCE {
            break;
        }
    }
    // The entry must still be updatable. A cancelled write may still arrive.
    for _ in 0..50 {
        let Some((_, revision)) = whole(it.load(&key).await?, newest)? else { break };
        if it.store.update(&key, b"after", within(HOUR), &revision).await?.is_some() {
            let store = Arc::clone(&it.store);
            cut_short(async move { store.delete(&key).await.map(drop) }).await;
            if let Some((found, _)) = it.load(&key).await? {
                ensure!(found == b"after"[..], "a cancelled delete changed the entry");
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(Stop::Fail("after cancelled updates the entry can no longer be updated".to_owned()))
}

pub(crate) async fn cancelled_creates_leave_nothing_or_all(it: &Subject) -> Verdict {
    let start = Instant::now();
    let size = SIZE.min(it.store.capabilities().max_value().unwrap_or(SIZE));
    for round in 1..=100u8 {
        let (key, store, bytes) = (it.key(), Arc::clone(&it.store), filled(size, round));
        cut_short(async move { store.create(&key, &bytes, within(HOUR)).await.map(drop) }).await;
        whole(it.load(&key).await?, round)?;
        if start.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(())
}

/// The unread answer of a cancelled call must not reach the next caller.
pub(crate) async fn cancelled_calls_do_not_mix_answers(it: &Subject) -> Verdict {
    let start = Instant::now();
    let (one, other) = (it.key(), it.key());
    it.create(&one, b"one").await?;
    let revision = it.create(&other, b"the other").await?;
    for _ in 0..200 {
        let store = Arc::clone(&it.store);
        cut_short(async move { store.load(&one).await.map(drop) }).await;
        it.holds(&other, b"the other", &revision).await?;
        let store = Arc::clone(&it.store);
        let expected = revision.clone();
        cut_short(
            async move { store.update(&one, b"never", within(HOUR), &expected).await.map(drop) },
        )
        .await;
        it.holds(&other, b"the other", &revision).await?;
        if start.elapsed() > PATIENCE {
            break;
        }
    }
    let found = it.load(&one).await?;
    ensure!(
        found.is_some_and(|(found, _)| found == b"one"[..]),
        "a cancelled update with a wrong revision was done"
    );
    Ok(())
}

/// Starts a call and drops it: after a few polls, after a moment, or when it is done.
async fn cut_short(
    call: impl Future<Output = Result<(), mocha_session_core::Error>> + Send + 'static,
) {
    if fastrand::bool() {
        let mut call = Box::pin(call);
        let polls = fastrand::usize(0..4);
        FewPolls { call: call.as_mut(), left: polls }.await;
    } else {
        let task = tokio::spawn(call);
        tokio::time::sleep(Duration::from_micros(fastrand::u64(0..1_500))).await;
        task.abort();
        // Drops the future at the end of the block, so that it does not block the next call.
        let _ = task.await;
    }
}

/// Polls a future at most this many times.
struct FewPolls<'a, F> {
    call: Pin<&'a mut F>,
    left: usize,
}

impl<F: Future> Future for FewPolls<'_, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(()) };
        self.left = left;
        self.call.as_mut().poll(context).map(drop)
    }
}

/// Returns a value that repeats its number, so that a torn write is visible.
fn filled(size: usize, number: u8) -> Vec<u8> {
    vec![number; size]
}

/// Checks that the loaded value is one of those written up to `newest`.
fn whole(loaded: Option<(Bytes, Revision)>, newest: u8) -> Verdict<Option<(Bytes, Revision)>> {
    if let Some((bytes, _)) = &loaded {
        let first = bytes.first().copied();
        ensure!(
            bytes.iter().all(|byte| Some(*byte) == first),
            "a cancelled write left a torn entry"
        );
        ensure!(first.is_none_or(|first| first <= newest), "a value that was never written");
    }
    Ok(loaded)
}
