//! The choices of an application that a manager checks or applies as a whole: what it needs of the
//! engine, and what a request gets when the engine fails.

use crate::store::Durability;

/// What a request gets when its session cannot be loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// An error, 503 for most: unknown is not absent. The default.
    #[default]
    Refuse,
    /// An empty session that cannot be changed, so that public pages stay up. The cookie is not
    /// touched.
    Anonymous,
}

/// What an application cannot do without: checked when the manager is built, so that a forgotten or
/// mistyped `SESSION_URL` is found at the start and not after an incident.
///
/// ```
/// use mocha_session_core::{Requirement, Secrets, SessionManager, Storage};
///
/// let unset = Storage::client_side().with_secrets(Secrets::generate()?);
/// let refused = SessionManager::builder(unset).require(Requirement::FinalLogout).build();
/// assert!(refused.unwrap_err().is_invalid_config());
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// A destroyed session cannot come back and no update is lost: any store, but not the client's
    /// cookie, and not with [`Storage::near`](crate::Storage::near).
    FinalLogout,
    /// An acknowledged write survives this much.
    Durability(Durability),
    /// The engine never drops a live session to make room.
    NoEviction,
    /// The engine can list its sessions.
    Listing,
    /// A user's sessions can be listed and revoked.
    OwnerIndex,
}
