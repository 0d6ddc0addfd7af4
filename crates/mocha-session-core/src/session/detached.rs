//! A session handle for work that outlives its request.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::state::{Base, Inner, Phase};
use super::{SessionData, load, stored};
use crate::error::{Error, ErrorKind, Result};
use crate::headers::RequestInfo;
use crate::manager::Backend;

/// Where a request's session is, for work that outlives the request.
///
/// ```no_run
/// # use mocha_session_core::{Result, Session};
/// # async fn upgrade(session: Session) -> Result<()> {
/// let detached = session.detached();
/// // … later, in a WebSocket's task:
/// let Some(session) = detached.load().await? else { return Ok(()) }; // logged out meanwhile
/// session.update("messages", |seen: Option<u64>| seen.unwrap_or(0) + 1)?;
/// session.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Detached {
    origin: Arc<Inner>,
}

impl Detached {
    pub(super) fn new(origin: Arc<Inner>) -> Self {
        Self { origin }
    }

    /// The session as it is now; `None` when it was never stored, or is gone.
    ///
    /// # Errors
    /// `Unsupported` for client-side sessions, which only the client has; else as loading any session.
    pub async fn load(&self) -> Result<Option<DetachedSession>> {
        let shared = &self.origin.shared;
        let Backend::Store { vault, .. } = &shared.backend else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a client-side session is in the client's cookie alone and cannot be reached without a request",
            ));
        };
        let id = stored(self.origin.state().base.as_ref()).map(|stored| stored.id.clone());
        let Some(id) = id else { return Ok(None) };
        let Some((stored, content)) = load::from_store(shared, vault, &id).await? else { return Ok(None) };
        let inner: Arc<Inner> = Arc::new(Inner::new(Arc::clone(shared), RequestInfo::new(())));
        {
            let mut state = inner.state();
            state.phase = Phase::Loaded;
            (state.base, state.view) = (Some(Base::Stored(stored)), content);
        }
        Ok(Some(DetachedSession { data: SessionData::new(inner) }))
    }
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detached")
    }
}

/// A session outside a request: it can be read, changed and committed (see [`SessionData`], which it derefs to), but not
/// rotated, logged in or destroyed, for no response would tell the client.
///
/// Nothing is committed by itself: call [`commit`](SessionData::commit).
///
/// ```no_run
/// # async fn job(session: mocha_session_core::DetachedSession) -> mocha_session_core::Result<()> {
/// session.insert("report", "ready")?;
/// session.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DetachedSession {
    data: SessionData,
}

impl Deref for DetachedSession {
    type Target = SessionData;

    fn deref(&self) -> &SessionData {
        &self.data
    }
}

impl fmt::Debug for DetachedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data.describe("DetachedSession", f)
    }
}
