//! The policy of reads from this process's memory: their maximum age and memory.

use std::time::Duration;

/// The maximum age of a read from this process's memory, and the maximum memory.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::time::Duration;
/// use mocha_session::NearPolicy;
///
/// let policy = NearPolicy::within(Duration::from_secs(2)).max_bytes(8 * 1024 * 1024);
/// assert_eq!(policy.max_age(), Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearPolicy {
    max_age: Duration,
    max_bytes: usize,
}

impl NearPolicy {
    /// Creates a policy of reads that are at most `max_age` old, from at most 32 MiB of memory.
    ///
    /// For at most `max_age`, this process may still return a session that another process has
    /// changed or ended.
    pub fn within(max_age: Duration) -> Self {
        Self { max_age, max_bytes: 32 * 1024 * 1024 }
    }

    /// Sets the maximum memory for a manager's sessions, in bytes.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Returns the maximum age of a read.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    pub(crate) fn limit(&self) -> usize {
        self.max_bytes
    }
}
