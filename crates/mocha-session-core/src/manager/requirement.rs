//! Choices of an application: its requirements for the engine, and the result of a load when the
//! engine fails.

use crate::store::Durability;

/// The result for a request whose session cannot be loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// An error, usually 503, because a session that cannot be loaded may still exist. The default.
    #[default]
    Refuse,
    /// An empty session that cannot be changed, so that public pages still work. The cookie is not
    /// changed.
    Anonymous,
}

/// A requirement of an application. It is checked when the manager is built, so that a missing or
/// mistyped `SESSION_URL` is found at the start and not after an incident.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{Requirement, Secrets, SessionManager, Storage};
///
/// let unset = Storage::client_side().with_secrets(Secrets::generate()?);
/// let refused = SessionManager::builder(unset).require(Requirement::FinalLogout).build();
/// assert!(refused.unwrap_err().is_invalid_config());
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// A destroyed session cannot come back, and no update is lost. Every store meets this, unless
    /// it is read through [`Storage::near`](crate::Storage::near). The client's cookie does not.
    FinalLogout,
    /// An acknowledged write survives the failures of this level.
    Durability(Durability),
    /// The engine never removes a live session to make room.
    NoEviction,
    /// The engine can list its sessions.
    Listing,
    /// A user's sessions can be listed and revoked.
    OwnerIndex,
}
