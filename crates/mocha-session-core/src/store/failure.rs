//! Classifies failed store calls by their possible effect.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

/// The effect of a successful store call on the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The call changes nothing, so it may be repeated.
    Read,
    /// The call may change the entry, so a lost answer means that the outcome is unknown.
    Write,
}

/// The point at which a store call failed.
///
/// A backend maps its client's errors to this type in one function. It never chooses between
/// [`Ambiguous`](ErrorKind::Ambiguous), [`Timeout`](ErrorKind::Timeout) and
/// [`Unavailable`](ErrorKind::Unavailable) itself.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::{Effect, Failure};
///
/// let why = "connection refused; is the server running?";
/// let refused = Failure::NotSent.error(Effect::Write, why);
/// assert!(refused.is_unavailable() && !refused.is_ambiguous());
/// let why = "the connection broke before the answer came";
/// let lost = Failure::Unanswered.error(Effect::Write, why);
/// assert!(lost.is_ambiguous());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing reached the engine: no connection, no free connection, no credentials, no such host.
    NotSent,
    /// The engine answered with an error of this kind and changed nothing.
    Refused(ErrorKind),
    /// The call was sent, or may have been, and no valid answer came.
    Unanswered,
    /// The call was sent, or may have been, and the time for the answer ran out.
    TimedOut,
}

impl Failure {
    /// Creates the error that the store returns. `message` says why the call failed and what to do.
    /// It must not contain a secret.
    pub fn error(self, effect: Effect, message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(self.kind(effect), message).not_sent(self == Self::NotSent)
    }

    /// Returns the kind of that error.
    pub fn kind(self, effect: Effect) -> ErrorKind {
        match (self, effect) {
            (Self::Refused(kind), _) => kind,
            (Self::TimedOut, _) => ErrorKind::Timeout,
            (Self::Unanswered, Effect::Write) => ErrorKind::Ambiguous,
            (Self::NotSent, _) | (Self::Unanswered, Effect::Read) => ErrorKind::Unavailable,
        }
    }
}
