//! The shared part of the adapters: the errors, and the takeover of another layer's session.

use std::future::Future;

use mocha_session_core::{Error, ErrorKind, Result, Session};

/// The error for a write whose session no longer exists.
pub(crate) const GONE: &str = "the session is gone: it was logged out, given a new id, or it \
                               expired while the request ran; nothing was saved";

/// The maximum number of ids that are drawn until one is unused. A random id is unused at the first
/// attempt.
pub(crate) const DRAWS: usize = 4;

/// Fills a new session, commits it, and ends the old one. If the old one cannot be ended, ends the
/// new one, because with two live sessions a logout would not be final.
pub(crate) async fn begin<E>(
    session: &Session,
    fill: impl FnOnce(&Session) -> Result<()>,
    end_old: impl Future<Output = std::result::Result<(), E>>,
) -> Result<bool> {
    fill(session)?;
    session.commit().await?;
    if end_old.await.is_err() {
        session.destroy()?;
        session.commit().await?;
        return Err(unavailable("the old session could not be ended, so it was not taken over"));
    }
    Ok(true)
}

/// Creates the error for a failure of the other layer's store. The store's own error may contain
/// text that must not be logged, so it is left out.
pub(crate) fn unavailable(why: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, why).during("take over")
}
