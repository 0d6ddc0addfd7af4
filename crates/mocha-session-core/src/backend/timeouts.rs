//! The time limits of a store's connections, derived from the one deadline of a call.

use std::time::Duration;

use crate::open::url::DEFAULT_DEADLINE;

/// How long a store waits for a connection and for an answer.
///
/// Together they are shorter than the deadline of the call. What hangs is therefore noticed by the
/// store, which leaves the connection and knows whether anything was sent.
///
/// ```
/// use std::time::Duration;
/// use mocha_session_core::backend::Timeouts;
///
/// let deadline = Duration::from_secs(8);
/// let timeouts = Timeouts::within(deadline);
/// assert!(timeouts.connect + timeouts.response < deadline);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// Getting a connection: name lookup, encryption and login included.
    pub connect: Duration,
    /// The answer to a command.
    pub response: Duration,
}

impl Timeouts {
    /// The limits of a call with this deadline.
    pub fn within(deadline: Duration) -> Self {
        Self { connect: deadline / 4, response: deadline / 2 }
    }
}

impl Default for Timeouts {
    /// Those of the default deadline, five seconds.
    fn default() -> Self {
        Self::within(DEFAULT_DEADLINE)
    }
}
