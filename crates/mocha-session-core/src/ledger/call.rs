//! A store call: its deadline, and the engine and operation in its errors.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};
use tracing::Span;

use crate::error::{Error, ErrorKind, Result};
use crate::future::BoxFuture;
use crate::ledger::vault::Vault;
use crate::observe::{Event, spans};

/// A running store call.
///
/// An engine that answers at the first poll, as an in-process engine does, needs no timer. The
/// timer is boxed, and so is what observers and spans need, so that the futures of every request stay
/// small.
#[must_use]
pub(crate) struct Call<'c, T> {
    future: BoxFuture<'c, Result<T>>,
    timer: Option<Pin<Box<Sleep>>>,
    vault: &'c Vault,
    operation: &'static str,
    /// The maximum duration, in deadlines of a call.
    deadlines: u32,
    watch: Option<Box<Watch>>,
}

/// When a call started, for an observer, and its span.
struct Watch {
    since: Instant,
    span: Span,
}

impl<'c, T> Call<'c, T> {
    pub(crate) fn new(
        future: BoxFuture<'c, Result<T>>,
        vault: &'c Vault,
        operation: &'static str,
        deadlines: u32,
    ) -> Self {
        let watched = vault.observed.is_some() || spans::wanted();
        let watch = watched.then(|| {
            let span = spans::call(vault.engine, operation);
            Box::new(Watch { since: Instant::now(), span })
        });
        Self { future, timer: None, vault, operation, deadlines, watch }
    }
}

impl<T> Future for Call<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let call = &mut *self;
        let entered = call.watch.as_ref().map(|watch| watch.span.enter());
        let answer = call.future.as_mut().poll(cx);
        drop(entered);
        let result = match answer {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let timeout = call.vault.timeout.saturating_mul(call.deadlines);
                let timer = call.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(timer.as_mut().poll(cx));
                let why = format!(
                    "no answer within {timeout:?}; is the engine overloaded or unreachable?"
                );
                Err(Error::new(ErrorKind::Timeout, why))
            }
        };
        let (engine, operation) = (call.vault.engine, call.operation);
        let result = result.map_err(|error| error.on(engine).during(operation));
        if let Some(watch) = call.watch.take() {
            let (error, took) = (result.as_ref().err(), watch.since.elapsed());
            spans::answered(&watch.span, error);
            call.vault.observed.tell(|| Event::StoreCall { engine, operation, error, took });
        }
        Poll::Ready(result)
    }
}
