//! Sweeping: what expired is removed from engines that do not do so by themselves.

use std::time::Duration;

use super::{Backend, SessionManager};
use crate::error::Result;
use crate::vault::{Vault, pause};

/// How far our clock may be off without a sweep removing what is still alive elsewhere.
const SKEW: Duration = Duration::from_secs(60);
/// How many entries a batch looks at.
const BATCH: usize = 500;
/// How often a batch that failed is tried again.
const TRIES: u32 = 3;

/// What a whole sweep did.
///
/// ```
/// use mocha_session_core::SweepTotal;
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
    /// How many entries were looked at.
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// How many were removed.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Whether the engine removes what expired by itself, so that there was nothing to do.
    pub fn is_native(&self) -> bool {
        self.native
    }

    /// How many expired entries could not be removed. The trace has the first reason of each batch,
    /// and the next sweep tries them again.
    pub fn failed(&self) -> u64 {
        self.failed
    }
}

/// A sweep in the background, until it is dropped.
///
/// ```no_run
/// # fn demo(manager: mocha_session_core::SessionManager) {
/// let sweeper = manager.spawn_sweeper(std::time::Duration::from_secs(600));
/// // … as long as the server runs …
/// drop(sweeper);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a sweeper that is dropped stops"]
pub struct Sweeper(tokio::task::JoinHandle<()>);

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SessionManager {
    /// Removes what expired more than a minute ago, in bounded batches. Any number of processes may
    /// do so at once.
    ///
    /// # Errors
    /// The engine's, when a batch fails three times in a row. What was removed stays removed.
    pub async fn sweep(&self) -> Result<SweepTotal> {
        match &self.shared.backend {
            Backend::Client(_) => Ok(SweepTotal { native: true, ..SweepTotal::default() }),
            Backend::Store { vault, .. } => sweep(vault).await,
        }
    }

    /// Sweeps at this interval in the background, and goes on after errors (they are traced).
    ///
    /// Must be called inside a tokio runtime.
    pub fn spawn_sweeper(&self, every: Duration) -> Sweeper {
        let manager = self.clone();
        let every = every.max(Duration::from_millis(10));
        Sweeper(tokio::spawn(async move {
            loop {
                // Not all processes at once: each waits between half the interval and the whole.
                tokio::time::sleep(every.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                match manager.sweep().await {
                    Ok(total) if total.native => return,
                    Ok(total) => {
                        tracing::debug!(removed = total.removed, "expired sessions were swept")
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a sweep of expired sessions failed; the next one goes on");
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
        // A batch is many small calls for some engines: it gets the time of several.
        let batch = vault.store.sweep(before, cursor.clone(), BATCH);
        match vault.call_for("sweep", vault.timeout.saturating_mul(12), batch).await {
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
