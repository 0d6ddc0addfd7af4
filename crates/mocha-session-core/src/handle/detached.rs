//! A session handle for work that outlives its request.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::handle::SessionData;
use crate::http::RequestInfo;
use crate::request;
use crate::request::load::{self, Known};
use crate::session::change::logs_in;
use crate::session::shared::Backend;
use crate::session::state::{Base, Inner, Phase, stored};

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
    pub(crate) fn new(origin: Arc<Inner>) -> Self {
        Self { origin }
    }

    /// The session as it is now; `None` when it was never stored, or is gone.
    ///
    /// A session that the request began or gave a new id is stored with the response. Until then
    /// this waits for it, at most for the deadline of a store call.
    ///
    /// # Errors
    /// `Unsupported` for client-side sessions, which only the client has. `Conflict` when the
    /// request did not finish in time: its handler must [`commit`](SessionData::commit) before it
    /// waits for the detached session. Else as loading any session.
    pub async fn load(&self) -> Result<Option<DetachedSession>> {
        let shared = &self.origin.shared;
        let Backend::Store { vault, .. } = &shared.backend else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a client-side session is in the client's cookie alone and cannot be reached without a request",
            ));
        };
        self.settled(vault.timeout).await?;
        let id = stored(self.origin.state().base.as_ref()).map(|stored| stored.id.clone());
        let Some(id) = id else { return Ok(None) };
        let Known::Live(stored, content) = load::from_store(shared, vault, &id).await? else {
            return Ok(None);
        };
        let inner: Arc<Inner> =
            Arc::new(Inner::new(Arc::clone(shared), RequestInfo::new(()), false));
        {
            let mut state = inner.state();
            (state.phase, state.touched) = (Phase::Loaded, true);
            (state.base, state.view) = (Some(Base::Stored(stored)), content);
        }
        Ok(Some(DetachedSession { data: SessionData::new(inner) }))
    }

    /// Keeps the session alive without changing it: moves its idle deadline, if that is due.
    /// Returns whether it is alive. For sockets that only read.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn touch(&self) -> Result<bool> {
        let Some(session) = self.load().await? else { return Ok(false) };
        request::touch(session.data.inner()).await?;
        Ok(true)
    }

    /// Waits until the id that the session will have is in the store.
    async fn settled(&self, within: Duration) -> Result<()> {
        let pending = || {
            let state = self.origin.state();
            state.phase == Phase::Loaded
                && (state.rotate || state.base.is_none() || logs_in(&state.log))
        };
        let settled = async {
            loop {
                // Registered before the question, so that no answer is missed.
                let finished = self.origin.finished.notified();
                if !pending() {
                    return;
                }
                finished.await;
            }
        };
        tokio::time::timeout(within, settled).await.map_err(|_| {
            Error::new(
                ErrorKind::Conflict,
                "the request that began or rotated the session has not finished; commit() before its detached \
                 session is used",
            )
            .during("detached load")
        })
    }
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detached")
    }
}

/// A session outside a request: it can be read, changed and committed (see [`SessionData`], which
/// it derefs to), but not rotated, logged in or destroyed, for no response would tell the client.
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
