//! Boxed futures, and work that continues when its caller is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use crate::error::{Error, ErrorKind, Result};

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The tasks that outlive their callers, so that a shutdown can wait for them.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(Arc<Semaphore>);

impl Tasks {
    /// More tasks than a process can have.
    const ALL: u32 = 1 << 24;

    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(Self::ALL as usize)))
    }

    fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }

    /// Waits until no task is running.
    pub(crate) async fn idle(&self) {
        drop(self.0.acquire_many(Self::ALL).await);
    }

    /// Returns the number of running tasks.
    pub(crate) fn running(&self) -> usize {
        (Self::ALL as usize).saturating_sub(self.0.available_permits())
    }
}

/// Runs a future to completion, even if the caller is dropped.
///
/// A future that is ready at the first poll, as with an in-process engine, costs no task. Any other
/// continues in a task of its own.
pub(crate) async fn to_its_end<T: Send + 'static>(
    tasks: &Tasks,
    mut future: BoxFuture<'static, Result<T>>,
) -> Result<T> {
    let runtime = Handle::try_current().map_err(|_| {
        Error::new(ErrorKind::Internal, "a session can only be committed within a tokio runtime")
    })?;
    let at_once = std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        })
    });
    if let Some(result) = at_once.await {
        return result;
    }
    let running = tasks.begin();
    let to_its_end = async move {
        let result = future.await;
        drop(running);
        result
    };
    runtime.spawn(to_its_end.in_current_span()).await.map_err(|_| {
        Error::new(
            ErrorKind::Internal,
            "the commit was stopped: an update closure panicked, or the runtime shut down",
        )
    })?
}
