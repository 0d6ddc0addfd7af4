//! A handle to a session for work that continues after the request.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::commit::Plan;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::SessionData;
use crate::http::RequestInfo;
use crate::request;
use crate::request::load::{self, Known};
use crate::session::base::Base;
use crate::session::shared::Backend;
use crate::session::state::{Inner, Phase, stored};

/// A handle to a request's session, for work that continues after the request.
///
/// ```no_run
/// # use mocha_session_core::{Result, Session};
/// # async fn upgrade(session: Session) -> Result<()> {
/// let detached = session.detached();
/// // Later, in the task of a WebSocket:
/// let Some(session) = detached.load().await? else { return Ok(()) }; // the session is gone
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

    /// Loads the current session. Returns `None` if the session was never stored or is gone.
    ///
    /// If the request created the session or gave it a new id, the session is stored with the
    /// response. Until then this method waits, at most for the deadline of a store call.
    ///
    /// # Errors
    /// `Unsupported` for client-side sessions, which only the client has. `Conflict` if the request
    /// did not finish in time: a handler that waits for its own detached session must
    /// [`commit`](SessionData::commit) first. Otherwise as for loading any session.
    pub async fn load(&self) -> Result<Option<DetachedSession>> {
        let shared = &self.origin.shared;
        let Backend::Store(vault) = &shared.backend else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a client-side session exists only in the client's cookie and cannot be loaded \
                 without a request; set SESSION_URL to keep sessions on a server",
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
    /// Returns whether the session is live.
    ///
    /// Use it for sockets that only read.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn touch(&self) -> Result<bool> {
        let Some(session) = self.load().await? else { return Ok(false) };
        request::touch(session.data.inner()).await?;
        Ok(true)
    }

    /// Waits until the session is in the store under its final id.
    async fn settled(&self, within: Duration) -> Result<()> {
        let pending = || {
            let state = self.origin.state();
            let plan = || Plan::of(state.base.is_some(), state.rotate, &state.log);
            state.phase == Phase::Loaded && plan() != Plan::InPlace
        };
        let settled = async {
            loop {
                // Registered before the check, so that no notification is missed.
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
                "the request that created or rotated the session has not finished; call commit() \
                 before the detached session is loaded",
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

/// A session outside a request.
///
/// It can be read, changed and committed (see [`SessionData`], to which it dereferences). It cannot
/// be rotated, logged in or destroyed, because there is no response that could set the cookie.
/// Changes are only written by [`commit`](SessionData::commit).
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
