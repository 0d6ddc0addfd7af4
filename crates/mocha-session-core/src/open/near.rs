//! The policy of reads from this process' memory: how old they may be, and how much is kept.

use std::time::Duration;

/// How old a read from this process' memory may be, and how much memory it may use.
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
    /// `max_age` is how long this process may go on showing a session that another process has
    /// changed or ended.
    pub fn within(max_age: Duration) -> Self {
        Self { max_age, max_bytes: 32 * 1024 * 1024 }
    }

    /// Sets the most memory that a manager's sessions may use, in bytes.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Returns the greatest age of a read.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    pub(crate) fn limit(&self) -> usize {
        self.max_bytes
    }
}
