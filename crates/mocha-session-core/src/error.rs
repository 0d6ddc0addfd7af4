//! The one error type: what was attempted, on which engine, why it failed, and what to do about it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// A `Result` whose error is this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure an [`Error`] is: the part of it that a program may decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The engine could not be reached, or refused to serve: nothing was done. Trying later may
    /// help.
    Unavailable,
    /// No answer in time. A read was not done; whether a write was done is unknown.
    Timeout,
    /// A write's outcome is unknown: the connection broke between the command and its answer.
    Ambiguous,
    /// Others changed the session at the same time, more often than the commit was willing to try
    /// again, or took the value that [`take`](crate::SessionData::take) had returned.
    Conflict,
    /// The session was destroyed, revoked, rotated or expired meanwhile; the changes were dropped.
    Gone,
    /// What is stored is not a record this version can read. It was left as it is.
    Corrupt,
    /// A value, or what was found under a key, does not fit the type that was asked for, or a name
    /// is not allowed.
    InvalidInput,
    /// This engine, or the client-side mode, cannot do that.
    Unsupported,
    /// The session would be larger than the limit of the engine, of the cookie or of the
    /// configuration.
    TooLarge,
    /// The engine has no room left and refused the write.
    Full,
    /// A setting, URL, option or secret is wrong: the program cannot start like this.
    InvalidConfig,
    /// The engine refused the credentials, or these credentials may not do that.
    Denied,
    /// The request's session was already finished: its cookie line has been written.
    Closed,
    /// Anything else: a bug, in this library or in a store.
    Internal,
}

impl ErrorKind {
    /// A name for labels of metrics and fields of logs: `unavailable`, `too_large`.
    ///
    /// ```
    /// # use mocha_session_core::ErrorKind;
    /// assert_eq!(ErrorKind::TooLarge.as_str(), "too_large");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Ambiguous => "ambiguous",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Corrupt => "corrupt",
            Self::InvalidInput => "invalid_input",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too_large",
            Self::Full => "full",
            Self::InvalidConfig => "invalid_config",
            Self::Denied => "denied",
            Self::Closed => "closed",
            Self::Internal => "internal",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Unavailable => "the engine is unavailable",
            Self::Timeout => "no answer in time",
            Self::Ambiguous => "the outcome of a write is unknown",
            Self::Conflict => "others changed the session at the same time",
            Self::Gone => "the session is gone",
            Self::Corrupt => "the stored record cannot be read",
            Self::InvalidInput => "invalid input",
            Self::Unsupported => "not supported",
            Self::TooLarge => "too large",
            Self::Full => "the engine is full",
            Self::InvalidConfig => "invalid configuration",
            Self::Denied => "access denied",
            Self::Closed => "the session is finished",
            Self::Internal => "internal error",
        }
    }
}

/// Why something failed: a [kind](ErrorKind), a redacted message naming the engine and the
/// operation, and the cause.
///
/// No message holds a session id, a storage key, a secret, a password or a session's data. The
/// cause ([`source`](StdError::source)) is the client library's own error; a store that cannot
/// vouch for what its client prints must not attach it.
///
/// ```
/// use mocha_session_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "connection refused; is the server running?")
///     .on("redis")
///     .during("load");
/// assert_eq!(error.to_string(), "redis: load: connection refused; is the server running?");
/// assert!(error.is_unavailable() && !error.is_ambiguous());
/// assert_eq!(error.http_status(), 503);
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    engine: Option<&'static str>,
    operation: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind. `message` says why it failed and what to do; it must hold nothing
    /// secret.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            engine: None,
            operation: None,
            source: None,
        }))
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the engine, unless one is named already.
    #[must_use]
    pub fn on(mut self, engine: &'static str) -> Self {
        self.0.engine.get_or_insert(engine);
        self
    }

    /// Names the operation, unless one is named already: the innermost knows best.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the engine could not be reached, did not answer in time, or had no room: 503, and
    /// trying later may help. Never a statement about whether the session exists.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Ambiguous | ErrorKind::Full
        )
    }

    /// Whether a write that failed like this may nevertheless have been done.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Ambiguous | ErrorKind::Timeout)
    }

    /// Whether others changed the session at the same time.
    pub fn is_conflict(&self) -> bool {
        self.0.kind == ErrorKind::Conflict
    }

    /// Whether the session was destroyed, revoked, rotated or expired meanwhile.
    pub fn is_gone(&self) -> bool {
        self.0.kind == ErrorKind::Gone
    }

    /// Whether the stored record could not be read.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == ErrorKind::Corrupt
    }

    /// Whether something was larger than its limit.
    pub fn is_too_large(&self) -> bool {
        self.0.kind == ErrorKind::TooLarge
    }

    /// Whether the engine or the mode cannot do that.
    pub fn is_unsupported(&self) -> bool {
        self.0.kind == ErrorKind::Unsupported
    }

    /// Whether a setting, URL, option or secret is wrong.
    pub fn is_invalid_config(&self) -> bool {
        self.0.kind == ErrorKind::InvalidConfig
    }

    /// Whether a value did not fit the type asked for, or a name is not allowed.
    pub fn is_invalid_input(&self) -> bool {
        self.0.kind == ErrorKind::InvalidInput
    }

    /// The status a response should have when this error is all there is to say: 503 where the
    /// engine is at fault and trying later may help, 409 for a conflict or a session that went
    /// away, else 500.
    pub fn http_status(&self) -> u16 {
        match self.0.kind {
            ErrorKind::Conflict | ErrorKind::Gone => 409,
            _ if self.is_unavailable() => 503,
            _ => 500,
        }
    }

    /// The same error for another caller, without its cause.
    pub(crate) fn repeated(&self) -> Self {
        let Inner { kind, message, engine, operation, source: _ } = &*self.0;
        let (message, source) = (message.clone(), None);
        Self(Box::new(Inner {
            kind: *kind,
            message,
            engine: *engine,
            operation: *operation,
            source,
        }))
    }

    pub(crate) fn invalid_config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    pub(crate) fn invalid_input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn corrupt(message: &'static str) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.0.engine, self.0.operation].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        if self.0.message.is_empty() {
            f.write_str(self.0.kind.describe())
        } else {
            f.write_str(&self.0.message)
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("message", &self.to_string());
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_operation_and_engine_are_kept() {
        let error = Error::new(ErrorKind::Full, "")
            .on("redis")
            .during("update")
            .on("core")
            .during("commit");
        assert_eq!(error.to_string(), "redis: update: the engine is full");
    }

    #[test]
    fn the_cause_is_kept() {
        let error =
            Error::new(ErrorKind::Unavailable, "no").with_source(std::io::Error::other("cause"));
        assert_eq!(StdError::source(&error).map(ToString::to_string).as_deref(), Some("cause"));
    }
}
