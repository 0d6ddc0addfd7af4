//! Connections belong to the runtime that opened them, so a store keeps those of each runtime
//! apart.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::runtime::{Handle, Id};

use crate::error::Result;
use crate::store::{Effect, Failure};

/// What a store keeps for each Tokio runtime that uses it: a connection, or a pool of them.
///
/// A connection's socket belongs to the reactor of the runtime that opened it, and its driver is a
/// task of that runtime. A connection that several runtimes share stalls while that runtime is
/// busy, and ends with it. Programs with a runtime for each thread, as actix-web has them, share a
/// store between runtimes.
///
/// ```
/// use mocha_session_core::backend::PerRuntime;
///
/// #[derive(Default)]
/// struct Pool;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mocha_session_core::Result<()> {
/// let pools = PerRuntime::<Pool>::new();
/// assert!(std::sync::Arc::ptr_eq(&pools.here()?, &pools.here()?));
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct PerRuntime<T>(RwLock<Vec<(Id, Arc<T>)>>);

impl<T: Default> PerRuntime<T> {
    /// The runtimes that are remembered. Some of them have ended, which a runtime does not tell.
    const MOST: usize = 1_000;

    /// Nothing yet.
    pub fn new() -> Self {
        Self(RwLock::default())
    }

    /// What belongs to the runtime of the caller.
    ///
    /// # Errors
    /// `Unavailable` where there is no Tokio runtime.
    pub fn here(&self) -> Result<Arc<T>> {
        let Ok(runtime) = Handle::try_current().map(|runtime| runtime.id()) else {
            let why = "there is no Tokio runtime here; call the store from a task of one";
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
        let kept = Arc::new(T::default());
        // The newest first, so that those that have ended are forgotten first.
        all.truncate(Self::MOST - 1);
        all.insert(0, (runtime, Arc::clone(&kept)));
        Ok(kept)
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
        assert!(kept.here().unwrap_err().is_unavailable(), "no runtime");
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, two) = (runtime(), runtime());
        let first = one.block_on(async { kept.here().unwrap() });
        let second = two.block_on(async { kept.here().unwrap() });
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&first, &one.block_on(async { kept.here().unwrap() })));
    }
}
