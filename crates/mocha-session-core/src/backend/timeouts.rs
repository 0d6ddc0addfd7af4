//! The timeouts of a store's connections, derived from the deadline of a call.

use std::time::Duration;

use crate::open::url::DEFAULT_DEADLINE;

/// The time that a store waits for a connection and for an answer.
///
/// Their sum is shorter than the deadline of the call. Therefore the store itself notices a
/// connection that hangs: it drops the connection and knows whether the call was sent.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::time::Duration;
/// use mocha_session::backend::Timeouts;
///
/// let deadline = Duration::from_secs(8);
/// let timeouts = Timeouts::within(deadline);
/// assert!(timeouts.connect + timeouts.response < deadline);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The time to get a connection, including name lookup, TLS handshake and login.
    pub connect: Duration,
    /// The time to get the answer to a command.
    pub response: Duration,
}

impl Timeouts {
    /// Returns the timeouts for calls with this deadline.
    pub fn within(deadline: Duration) -> Self {
        Self { connect: deadline / 4, response: deadline / 2 }
    }
}

impl Default for Timeouts {
    /// Returns the timeouts for the default deadline of five seconds.
    fn default() -> Self {
        Self::within(DEFAULT_DEADLINE)
    }
}
