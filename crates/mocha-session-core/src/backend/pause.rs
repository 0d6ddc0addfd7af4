//! The pause before a repeated attempt.

use std::time::Duration;

/// Waits before something is tried again that lost to something concurrent: a random time of at
/// most one millisecond in round 0, doubling per round up to 128 ms.
///
/// The time is random so that callers that met do not meet again.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use mocha_session::backend::pause;
///
/// let begun = std::time::Instant::now();
/// pause(0).await;
/// assert!(begun.elapsed().as_micros() >= 250);
/// # }
/// ```
pub async fn pause(round: u32) {
    let most = 1_000_u64 << round.min(7);
    tokio::time::sleep(Duration::from_micros(fastrand::u64(most / 4..=most))).await;
}
