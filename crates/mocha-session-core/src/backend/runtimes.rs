//! Keeps the connections of each Tokio runtime apart, because a connection belongs to the runtime
//! that opened it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::runtime::{Handle, Id};

use crate::error::Result;
use crate::store::{Effect, Failure};

/// One value per Tokio runtime that uses a store, such as a connection or a pool.
///
/// A connection's socket belongs to the reactor of the runtime that opened it, and its driver is a
/// task of that runtime. If several runtimes shared a connection, it would stall while that runtime
/// is busy, and close when that runtime ends. Programs with one runtime per thread, such as those
/// that use actix-web, share a store between runtimes.
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
pub struct PerRuntime<T>(RwLock<Vec<(Id, Arc<T>)>>);

impl<T> PerRuntime<T> {
    /// The maximum number of runtimes. It is limited, because a runtime does not report its end.
    const MOST: usize = 1_000;

    /// Creates an empty collection.
    pub const fn new() -> Self {
        Self(RwLock::new(Vec::new()))
    }

    /// Returns the value of the current Tokio runtime, and makes it on the first call.
    ///
    /// # Errors
    /// `Unavailable` if there is no Tokio runtime.
    pub fn here(&self, make: impl FnOnce() -> T) -> Result<Arc<T>> {
        let Ok(runtime) = Handle::try_current().map(|runtime| runtime.id()) else {
            let why = "the store was called outside a Tokio runtime; call it from a Tokio task";
            return Err(Failure::NotSent.error(Effect::Read, why));
        };
        let find = |all: &Vec<(Id, Arc<T>)>| {
            all.iter().find(|(known, _)| *known == runtime).map(|(_, kept)| Arc::clone(kept))
        };
        if let Some(kept) = find(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(kept);
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = find(&all) {
            return Ok(kept);
        }
        let kept = Arc::new(make());
        // The newest comes first, so that `truncate` drops the oldest, which are likely to have
        // ended.
        all.truncate(Self::MOST - 1);
        all.insert(0, (runtime, Arc::clone(&kept)));
        Ok(kept)
    }

    /// Returns the values of all runtimes.
    pub fn all(&self) -> Vec<Arc<T>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(_, kept)| Arc::clone(kept)).collect()
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
}
