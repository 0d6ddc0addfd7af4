//! The limit of a user's sessions: what a login does that would exceed it.

use crate::error::{Error, ErrorKind};

/// The effect of a login whose user already has
/// [the maximum number of sessions](crate::SessionManagerBuilder::max_sessions_per_owner).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// It revokes the session of the user that was not used for the longest time. The default.
    #[default]
    RevokeOldest,
    /// It fails with [`TooManySessions`](crate::ErrorKind::TooManySessions). No session is changed.
    RefuseLogin,
}

/// The error of a login whose owner has too many sessions.
pub(crate) fn too_many() -> Error {
    Error::new(
        ErrorKind::TooManySessions,
        "the login was refused, because its user has as many sessions as max_sessions_per_owner \
         allows; the request's changes were dropped; let the user end another session first",
    )
    .during("login")
}
