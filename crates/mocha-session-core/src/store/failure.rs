//! The vocabulary for failed store calls: what the call can have done, said once per backend.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

/// Whether a store call changes the entry when it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Repeating the call is harmless, and a lost answer changes nothing.
    Read,
    /// A lost answer leaves it unknown whether the entry was changed.
    Write,
}

/// What a store call that failed can have done.
///
/// A backend maps its client's errors to this type in one function and never picks between
/// [`Ambiguous`](ErrorKind::Ambiguous), [`Timeout`](ErrorKind::Timeout) and
/// [`Unavailable`](ErrorKind::Unavailable) itself.
///
/// ```
/// use mocha_session_core::store::{Effect, Failure};
///
/// let refused = Failure::NotSent.error(Effect::Write, "connection refused; is the server running?");
/// assert!(refused.is_unavailable() && !refused.is_ambiguous());
/// let lost = Failure::Unanswered.error(Effect::Write, "the connection broke before the answer came");
/// assert!(lost.is_ambiguous());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing reached the engine: no connection, no free connection, no credentials, no such host.
    NotSent,
    /// The engine answered with an error of this kind, and nothing was changed.
    Refused(ErrorKind),
    /// The call was sent, or may have been, and no answer that can be understood came.
    Unanswered,
    /// The call was sent, or may have been, and the time allowed for its answer is over.
    TimedOut,
}

impl Failure {
    /// The error that the store returns. `message` says why it failed and what to do; it must hold
    /// nothing secret.
    pub fn error(self, effect: Effect, message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(self.kind(effect), message)
    }

    /// The kind of that error.
    pub fn kind(self, effect: Effect) -> ErrorKind {
        match (self, effect) {
            (Self::Refused(kind), _) => kind,
            (Self::TimedOut, _) => ErrorKind::Timeout,
            (Self::Unanswered, Effect::Write) => ErrorKind::Ambiguous,
            (Self::NotSent, _) | (Self::Unanswered, Effect::Read) => ErrorKind::Unavailable,
        }
    }
}
