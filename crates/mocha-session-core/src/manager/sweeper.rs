//! Sweeps: removes expired sessions from engines that do not expire entries by themselves.

use std::time::Duration;

use super::SessionManager;
use crate::backend::pause;
use crate::error::Result;
use crate::ledger::vault::Vault;
use crate::session::shared::Backend;

/// The allowed clock difference between processes. A sweep does not remove sessions that expired
/// more recently.
const SKEW: Duration = Duration::from_secs(60);
/// The number of entries that a batch examines.
const BATCH: usize = 500;
/// The number of attempts for each batch.
const TRIES: u32 = 3;

/// The result of a complete sweep.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::SweepTotal;
///
/// let total = SweepTotal::default();
/// assert_eq!((total.examined(), total.removed(), total.is_native()), (0, 0, false));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepTotal {
    examined: u64,
    removed: u64,
    native: bool,
    failed: u64,
}

impl SweepTotal {
    /// Returns the number of entries examined.
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// Returns the number of entries removed.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Returns whether the engine removes expired entries by itself, so that there was nothing to
    /// do.
    pub fn is_native(&self) -> bool {
        self.native
    }

    /// Returns the number of expired entries that could not be removed. The first error of each
    /// batch is traced, and the next sweep tries again.
    pub fn failed(&self) -> u64 {
        self.failed
    }
}

/// A background task that sweeps regularly. Dropping it stops the task.
///
/// ```no_run
/// # fn demo(manager: mocha_session_core::SessionManager) {
/// let sweeper = manager.spawn_sweeper(std::time::Duration::from_secs(600));
/// // Run the server.
/// drop(sweeper);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping the sweeper stops it"]
pub struct Sweeper(tokio::task::JoinHandle<()>);

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SessionManager {
    /// Removes sessions that expired more than a minute ago, in batches of 500 entries. Several
    /// processes may sweep at the same time.
    ///
    /// # Errors
    /// The engine's error, if a batch fails three times in a row. Sessions that were removed stay
    /// removed.
    pub async fn sweep(&self) -> Result<SweepTotal> {
        match &self.shared.backend {
            Backend::Client(_) => Ok(SweepTotal { native: true, ..SweepTotal::default() }),
            Backend::Store(vault) => sweep(vault).await,
        }
    }

    /// Sweeps in the background, and continues after errors, which are traced.
    ///
    /// The time between two sweeps is random, between half of `every` and `every`. `every` is at
    /// least 10 ms. Must be called inside a Tokio runtime.
    pub fn spawn_sweeper(&self, every: Duration) -> Sweeper {
        let manager = self.clone();
        let every = every.max(Duration::from_millis(10));
        Sweeper(tokio::spawn(async move {
            loop {
                // Random, so that the processes do not all sweep at the same time.
                tokio::time::sleep(every.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                match manager.sweep().await {
                    Ok(total) if total.native => return,
                    Ok(total) => {
                        tracing::debug!(removed = total.removed, "expired sessions were removed");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a sweep of expired sessions failed; it is retried");
                    }
                }
            }
        }))
    }
}

pub(super) async fn sweep(vault: &Vault) -> Result<SweepTotal> {
    let mut total = SweepTotal::default();
    let mut cursor = None;
    let mut failures = 0;
    loop {
        let before = vault.clock.now().checked_sub(SKEW).unwrap_or(std::time::UNIX_EPOCH);
        // Some engines need many small calls for a batch, so it gets a longer deadline.
        let batch = vault.store.sweep(before, cursor.clone(), BATCH);
        match vault.call_for("sweep", 12, batch).await {
            Ok(report) => {
                failures = 0;
                total.examined += report.examined();
                total.removed += report.removed();
                total.native |= report.is_native();
                total.failed += report.failed();
                if let Some(why) = report.failure() {
                    let (engine, failed) = (vault.store.capabilities().engine(), report.failed());
                    tracing::warn!(engine, failed, why, "expired sessions could not be removed");
                }
                match report.next() {
                    Some(next) => cursor = Some(next.clone()),
                    None => return Ok(total),
                }
            }
            Err(error) if failures + 1 >= TRIES => return Err(error),
            Err(_) => {
                failures += 1;
                pause(failures + 5).await;
            }
        }
    }
}
