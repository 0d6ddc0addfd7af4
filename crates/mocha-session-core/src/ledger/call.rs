//! A store call: its deadline, and the engine and operation in its errors.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::error::{Error, ErrorKind, Result};
use crate::future::BoxFuture;
use crate::ledger::vault::Vault;
use crate::observe::Event;

/// A running store call.
///
/// An engine that answers at the first poll, as an in-process engine does, needs no timer. The
/// timer is boxed, and so is what an observer needs, so that the futures of every request stay
/// small.
#[must_use]
pub(crate) struct Call<'c, T> {
    future: BoxFuture<'c, Result<T>>,
    timer: Option<Pin<Box<Sleep>>>,
    vault: &'c Vault,
    operation: &'static str,
    /// The maximum duration, in deadlines of a call.
    deadlines: u32,
    /// The start of the call, for an observer.
    since: Option<Box<Instant>>,
}

impl<'c, T> Call<'c, T> {
    pub(crate) fn new(
        future: BoxFuture<'c, Result<T>>,
        vault: &'c Vault,
        operation: &'static str,
        deadlines: u32,
    ) -> Self {
        let since = vault.observed.is_some().then(|| Box::new(Instant::now()));
        Self { future, timer: None, vault, operation, deadlines, since }
    }
}

impl<T> Future for Call<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let result = match self.future.as_mut().poll(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let timeout = self.vault.timeout.saturating_mul(self.deadlines);
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(timer.as_mut().poll(cx));
                let why = format!(
                    "no answer within {timeout:?}; is the engine overloaded or unreachable?"
                );
                Err(Error::new(ErrorKind::Timeout, why))
            }
        };
        let (engine, operation) = (self.vault.engine, self.operation);
        let result = result.map_err(|error| error.on(engine).during(operation));
        if let Some(since) = self.since.take() {
            let (error, took) = (result.as_ref().err(), since.elapsed());
            self.vault.observed.tell(|| Event::StoreCall { engine, operation, error, took });
        }
        Poll::Ready(result)
    }
}

/// Waits before a retry: a random time of at most one millisecond in round 0, doubling per round.
pub(crate) async fn pause(round: u32) {
    let most = 1_000_u64 << round.min(7);
    tokio::time::sleep(Duration::from_micros(fastrand::u64(most / 4..=most))).await;
}
