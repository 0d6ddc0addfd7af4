//! The shared part of the adapters: the errors of refused calls.

use mocha_session_core::{Error, ErrorKind};

/// Why a write was refused whose session is not there any more.
pub(crate) const GONE: &str = "the session is gone: it was logged out, given a new id, or it \
                               expired while the request ran; nothing was saved";

/// How often another id is drawn where one is taken. With random ids the first is free.
pub(crate) const DRAWS: usize = 4;

/// The cookie name that tower-sessions and actix-session have by default.
pub(crate) const COOKIE: &str = "id";

/// The other layer's store failed. Its error may hold what a log must not, and is left out.
pub(crate) fn unavailable(why: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, why)
}

pub(crate) const NOT_READ: &str = "the store of the old sessions failed";
pub(crate) const NOT_ENDED: &str = "the old session could not be ended, so it was not taken over";
