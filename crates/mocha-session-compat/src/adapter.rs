//! What the adapters share: what is refused and why, and how a session of another layer becomes one
//! of this library's.

use std::future::Future;

use mocha_session_core::{Error, ErrorKind, Result, Session};

/// Why a write was refused whose session is not there any more.
pub(crate) const GONE: &str = "the session is gone: it was logged out, given a new id, or it \
                               expired while the request ran; nothing was saved";

/// How often another id is drawn where one is taken. With random ids the first is free.
pub(crate) const DRAWS: usize = 4;

/// Fills a new session, commits it, and ends the old one. Where the old one cannot be ended, the
/// new one is: two live sessions would let a logout be undone.
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

/// The other layer's store failed. Its error may hold what a log must not, and is left out.
pub(crate) fn unavailable(why: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, why).during("take over")
}
