//! The error type of this library: the engine, the operation, why it failed, and what to do.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// A `Result` whose error is this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an [`Error`]. Programs decide on the kind, not on the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The engine could not be reached, or refused the call. Nothing was changed. Retrying later
    /// may help.
    Unavailable,
    /// The engine did not answer in time. The outcome of a write is unknown.
    Timeout,
    /// The outcome of a write is unknown, because the connection broke before the answer came.
    Ambiguous,
    /// Other requests changed the session at the same time, and the commit ran out of retries; or
    /// another request took the value that [`take`](crate::SessionData::take) had returned.
    Conflict,
    /// The session was destroyed, revoked, rotated or expired since it was loaded. The changes were
    /// dropped.
    Gone,
    /// The user has as many sessions as
    /// [`max_sessions_per_owner`](crate::SessionManagerBuilder::max_sessions_per_owner) allows, and
    /// the login was refused. The request's changes were dropped; the session that the client has
    /// is unchanged.
    TooManySessions,
    /// The stored bytes are not a record that this version can read. They were not changed.
    Corrupt,
    /// A value cannot be encoded or does not have the requested type, or a name is not allowed.
    InvalidInput,
    /// The engine, or the client-side mode, does not support the operation.
    Unsupported,
    /// The session would exceed the size limit of the engine, the cookie or the configuration.
    TooLarge,
    /// The engine has no space left and refused the write.
    Full,
    /// A setting, URL, option or secret is wrong. The program cannot start with it.
    InvalidConfig,
    /// The engine refused the credentials, or they lack a permission.
    Denied,
    /// The request's session is already finished: its `Set-Cookie` line was written.
    Closed,
    /// Any other failure: a bug in this library or in a store.
    Internal,
}

impl ErrorKind {
    /// Returns a name for metric labels and log fields, such as `unavailable` or `too_large`.
    ///
    /// ```
    /// # use mocha_session_core as mocha_session;
    /// use mocha_session::ErrorKind;
    ///
    /// assert_eq!(ErrorKind::TooLarge.as_str(), "too_large");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Ambiguous => "ambiguous",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::TooManySessions => "too_many_sessions",
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
            Self::Timeout => "the engine did not answer in time",
            Self::Ambiguous => "the outcome of a write is unknown",
            Self::Conflict => "other requests changed the session at the same time",
            Self::Gone => "the session is gone",
            Self::TooManySessions => "the user has too many sessions",
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

/// An error: its [kind](ErrorKind), a message that names the engine and the operation, and the
/// cause.
///
/// A message never contains a session id, a storage key, a secret, a password or session data. The
/// cause ([`source`](StdError::source)) is the client library's own error. A store must not attach
/// a cause that may print any of these.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{Error, ErrorKind};
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
    /// Whether nothing reached the engine.
    not_sent: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error. `message` says why the operation failed and what to do. It must not
    /// contain a secret.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            engine: None,
            operation: None,
            not_sent: false,
            source: None,
        }))
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Sets the engine's name, unless it is already set.
    #[must_use]
    pub fn on(mut self, engine: &'static str) -> Self {
        self.0.engine.get_or_insert(engine);
        self
    }

    /// Sets the operation, unless it is already set: the innermost caller is the most precise.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the engine could not be reached, did not answer in time, or has no space
    /// left.
    ///
    /// The HTTP status is 503, and retrying later may help. Such an error does not say whether the
    /// session exists.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Ambiguous | ErrorKind::Full
        )
    }

    /// Returns whether the write may have been done in spite of the error.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Ambiguous | ErrorKind::Timeout)
    }

    /// Returns whether other requests changed the session at the same time.
    pub fn is_conflict(&self) -> bool {
        self.0.kind == ErrorKind::Conflict
    }

    /// Returns whether the session was destroyed, revoked, rotated or expired since it was loaded.
    pub fn is_gone(&self) -> bool {
        self.0.kind == ErrorKind::Gone
    }

    /// Returns whether a login was refused because the user has as many sessions as
    /// [`max_sessions_per_owner`](crate::SessionManagerBuilder::max_sessions_per_owner) allows.
    pub fn is_too_many_sessions(&self) -> bool {
        self.0.kind == ErrorKind::TooManySessions
    }

    /// Returns whether the stored record could not be read.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == ErrorKind::Corrupt
    }

    /// Returns whether the session exceeds a size limit.
    pub fn is_too_large(&self) -> bool {
        self.0.kind == ErrorKind::TooLarge
    }

    /// Returns whether the engine, or the client-side mode, does not support the operation.
    pub fn is_unsupported(&self) -> bool {
        self.0.kind == ErrorKind::Unsupported
    }

    /// Returns whether a setting, URL, option or secret is wrong.
    pub fn is_invalid_config(&self) -> bool {
        self.0.kind == ErrorKind::InvalidConfig
    }

    /// Returns whether a value cannot be encoded or does not have the requested type, or a name is
    /// not allowed.
    pub fn is_invalid_input(&self) -> bool {
        self.0.kind == ErrorKind::InvalidInput
    }

    /// Returns the HTTP status for a response that reports this error: 503 if the error
    /// [is unavailable](Self::is_unavailable), 409 for a conflict, a session that is gone or a
    /// login that was refused, otherwise 500.
    pub fn http_status(&self) -> u16 {
        match self.0.kind {
            ErrorKind::Conflict | ErrorKind::Gone | ErrorKind::TooManySessions => 409,
            _ if self.is_unavailable() => 503,
            _ => 500,
        }
    }

    /// Copies the error for another caller. The cause is not copied, because it is not `Clone`.
    pub(crate) fn repeated(&self) -> Self {
        let Inner { kind, message, engine, operation, not_sent, source: _ } = &*self.0;
        let (message, source) = (message.clone(), None);
        Self(Box::new(Inner {
            kind: *kind,
            message,
            engine: *engine,
            operation: *operation,
            not_sent: *not_sent,
            source,
        }))
    }

    /// Sets whether nothing reached the engine.
    pub(crate) fn not_sent(mut self, not_sent: bool) -> Self {
        self.0.not_sent = not_sent;
        self
    }

    /// Returns whether nothing reached the engine.
    pub(crate) fn is_not_sent(&self) -> bool {
        self.0.not_sent
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

/// Implements what the error of every framework's handlers shares, over a field that is the core's
/// error or an `Arc` of it. A macro, because a framework's response trait must be implemented for a
/// type of the framework's own crate.
#[doc(hidden)]
#[macro_export]
macro_rules! __handler_error {
    ($error:ident) => {
        impl ::std::convert::From<$crate::Error> for $error {
            fn from(error: $crate::Error) -> Self {
                Self(error.into())
            }
        }

        impl ::std::ops::Deref for $error {
            type Target = $crate::Error;

            fn deref(&self) -> &$crate::Error {
                &self.0
            }
        }

        impl ::std::fmt::Display for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::std::fmt::Debug for $error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl ::std::error::Error for $error {
            fn source(&self) -> Option<&(dyn ::std::error::Error + 'static)> {
                ::std::error::Error::source(&**self)
            }
        }
    };
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
