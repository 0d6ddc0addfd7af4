//! Keeps the connections of each Tokio runtime apart, because a connection belongs to the runtime
//! that opened it.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;

use crate::error::Result;
use crate::store::{Effect, Failure};

/// One value per Tokio runtime that uses a store, such as a connection or a pool.
///
/// A connection's socket belongs to the reactor of the runtime that opened it, and its driver is a
/// task of that runtime. If several runtimes shared a connection, it would stall while that runtime
/// is busy, and close when that runtime ends. Programs with one runtime per thread, such as those
/// that use actix-web, share a store between runtimes. The value of a runtime is dropped when the
/// runtime ends.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::backend::PerRuntime;
///
/// struct Pool;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mocha_session::Result<()> {
/// let pools = PerRuntime::<Pool>::new();
/// assert!(std::sync::Arc::ptr_eq(&pools.here(|| Pool)?, &pools.here(|| Pool)?));
/// # Ok(())
/// # }
/// ```
pub struct PerRuntime<T>(Arc<All<T>>);

type All<T> = RwLock<Vec<Kept<T>>>;

struct Kept<T> {
    runtime: Id,
    value: Arc<T>,
    /// Ends the task of [`End`] when the value is dropped first.
    _end: oneshot::Sender<Infallible>,
}

/// Drops a runtime's value with the task that holds this: a runtime drops its tasks when it ends.
struct End<T> {
    all: Weak<All<T>>,
    runtime: Id,
}

impl<T> PerRuntime<T> {
    /// Creates an empty collection.
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(Vec::new())))
    }

    /// Returns the values of all runtimes.
    pub fn all(&self) -> Vec<Arc<T>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|kept| Arc::clone(&kept.value)).collect()
    }
}

impl<T: Send + Sync + 'static> PerRuntime<T> {
    /// Returns the value of the current Tokio runtime, and makes it on the first call.
    ///
    /// # Errors
    /// `Unavailable` if there is no Tokio runtime.
    pub fn here(&self, make: impl FnOnce() -> T) -> Result<Arc<T>> {
        let Ok(handle) = Handle::try_current() else {
            let why = "the store was called outside a Tokio runtime; call it from a Tokio task";
            return Err(Failure::NotSent.error(Effect::Read, why));
        };
        let runtime = handle.id();
        let find = |all: &Vec<Kept<T>>| {
            let kept = all.iter().find(|kept| kept.runtime == runtime);
            kept.map(|kept| Arc::clone(&kept.value))
        };
        if let Some(value) = find(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(value);
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = find(&all) {
            return Ok(value);
        }
        let (value, (end, dropped)) = (Arc::new(make()), oneshot::channel());
        all.push(Kept { runtime, value: Arc::clone(&value), _end: end });
        // A runtime that is ending drops the task at once, which takes the lock.
        drop(all);
        let end = End { all: Arc::downgrade(&self.0), runtime };
        handle.spawn(async move {
            let _end = end;
            drop(dropped.await);
        });
        Ok(value)
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let Some(all) = self.all.upgrade() else { return };
        let mut kept = all.write().unwrap_or_else(PoisonError::into_inner);
        let ended = kept.iter().position(|kept| kept.runtime == self.runtime);
        let ended = ended.map(|at| kept.swap_remove(at));
        drop(kept);
        // After the lock, because a value may close its connections.
        drop(ended);
    }
}

impl<T> Default for PerRuntime<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for PerRuntime<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerRuntime")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn each_runtime_has_its_own() {
        let kept = PerRuntime::<u8>::new();
        assert!(kept.here(|| 1).unwrap_err().is_unavailable(), "no runtime");
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, two) = (runtime(), runtime());
        let first = one.block_on(async { kept.here(|| 1).unwrap() });
        let second = two.block_on(async { kept.here(|| 1).unwrap() });
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&first, &one.block_on(async { kept.here(|| 1).unwrap() })));
        assert_eq!(kept.all().len(), 2);
    }

    #[test]
    fn value_of_a_runtime_that_has_ended_is_dropped() {
        let kept = PerRuntime::<u8>::new();
        for _ in 0..10 {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let value = Arc::downgrade(&runtime.block_on(async { kept.here(|| 1).unwrap() }));
            assert!(value.upgrade().is_some());
            drop(runtime);
            assert!(value.upgrade().is_none() && kept.all().is_empty());
        }
    }

    #[test]
    fn task_of_a_runtime_ends_with_the_collection() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let kept = PerRuntime::<u8>::new();
        runtime.block_on(async {
            kept.here(|| 1).unwrap();
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
            drop(kept);
            tokio::task::yield_now().await;
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
        });
    }
}
