//! Boxed futures, and work that continues when its caller is dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use tokio::runtime::Handle;
use tracing::Instrument as _;

use crate::error::{Error, ErrorKind, Result};

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs a future to completion, even if the caller is dropped.
///
/// A future that is ready at the first poll, as with an in-process engine, costs no task. Any other
/// continues in a task of its own.
pub(crate) async fn to_its_end<T: Send + 'static>(
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
    runtime.spawn(future.in_current_span()).await.map_err(|_| {
        Error::new(
            ErrorKind::Internal,
            "the commit was stopped: an update closure panicked, or the runtime shut down",
        )
    })?
}
