//! The handle of a request's session that may not be loaded yet.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::future::BoxFuture;
use crate::handle::{Session, SessionData};
use crate::http::{RequestHeaders, RequestInfo};
use crate::observe::Event;
use crate::record::content::Content;
use crate::request::load::{self, Live, Loaded};
use crate::session::old::TakenOver;
use crate::session::shared::Shared;
use crate::session::state::{self, Inner, Line, Phase, Standing, State};

/// A request's session that may not be loaded yet.
///
/// Until [`load`](Self::load) is called, it parses no header, calls no store and sends no header.
/// The session is loaded once per request, however many handles call `load`.
///
/// ```
/// # mod mocha_session { pub use mocha_session_core::{self as core, *}; }
/// use mocha_session::{Result, core::LazySession};
///
/// async fn handler(lazy: LazySession, public: bool) -> Result<String> {
///     if public {
///         return Ok("the same for all clients, and cacheable".into());
///     }
///     let session = lazy.load().await?;
///     Ok(format!("hello {}", session.owner().unwrap_or_default()))
/// }
/// ```
#[derive(Clone)]
pub struct LazySession {
    inner: Arc<Inner>,
}

impl LazySession {
    pub(crate) fn new<H: RequestHeaders>(shared: Arc<Shared>, request: RequestInfo<H>) -> Self {
        Self { inner: Arc::new(Inner::new(shared, request, true)) }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Loads the session, unless it is already loaded. If the request has none, returns an empty
    /// session.
    ///
    /// # Errors
    /// An error of the engine, because it is then unknown whether there is a session. `Corrupt` if
    /// the record cannot be read. `Closed` if the response headers were written before the first
    /// load.
    pub async fn load(&self) -> Result<Session> {
        let session = Session { data: SessionData::new(Arc::clone(&self.inner)) };
        if self.inner.state().is_touched()? {
            return Ok(session);
        }
        let _gate = match self.inner.gate.try_lock() {
            Ok(gate) => gate,
            Err(_) => self.inner.gate.lock().await,
        };
        if self.inner.state().is_touched()? {
            return Ok(session);
        }
        let loaded = load::from_request(&self.inner.shared, &self.inner.headers).await;
        let (loaded, taking_over) = self.old_session(loaded);
        let (loaded, line) = match taking_over {
            None => (loaded, None),
            Some(taking_over) => {
                drop(loaded);
                self.taken_over(taking_over.await)
            }
        };
        self.enter(loaded, line)?;
        Ok(session)
    }

    /// Returns what was loaded, and the future that takes over the session of another library, if
    /// there may be one.
    ///
    /// `load` only moves what was loaded. If it lent it, its future would hold it while it waits.
    fn old_session(
        &self,
        loaded: Result<Loaded>,
    ) -> (Result<Loaded>, Option<BoxFuture<'static, Result<TakenOver>>>) {
        let taking_over = match (&loaded, &self.inner.shared.old) {
            (Ok(Loaded::Stranger), Some(old)) => old.take_over(&self.inner),
            _ => None,
        };
        (loaded, taking_over)
    }

    /// Continues the request with the session that was loaded.
    fn enter(&self, loaded: Result<Loaded>, line: Option<Line>) -> Result<()> {
        if let Err(error) = &loaded {
            self.inner.shared.observed.tell(|| Event::Failed { during: "load", error });
        }
        let mut state = self.inner.state();
        state.is_touched()?; // the response may have been sent since
        state.via = match &loaded {
            Ok(Loaded::Live(live)) => live.via,
            _ => self.inner.shared.carriers.presented(&self.inner.headers),
        };
        state.touched = loaded.is_ok() || self.inner.shared.policy.anonymous_on_failure;
        match loaded {
            Ok(Loaded::Live(live)) => {
                state.phase = Phase::Loaded;
                state.line = line;
                state.stale_cookie = live.stale_cookie;
                (state.base, state.view) = (Some(live.base), live.content);
            }
            Ok(nobody) => {
                state.phase = Phase::Loaded;
                state.standing = match nobody {
                    Loaded::Several(all) => Standing::Several(all),
                    Loaded::Superseded => Standing::Superseded,
                    Loaded::Stranger | Loaded::Live(_) => Standing::Ordinary,
                };
                self.begin_nothing(&mut state);
            }
            Err(error) if self.inner.shared.policy.anonymous_on_failure => {
                tracing::warn!(%error, "a session could not be loaded; the request has none");
                state.phase = if error.is_corrupt() { Phase::Unreadable } else { Phase::ReadOnly };
                self.begin_nothing(&mut state);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Ends the session that the request names, and returns an empty one.
    ///
    /// Use it if [`load`](Self::load) fails with [`is_corrupt`](crate::Error::is_corrupt), because
    /// the record is damaged or of a newer version. A readable session is destroyed by the commit.
    /// An unreadable record is deleted at once. The response removes the cookie, or sets the cookie
    /// of a new session.
    ///
    /// # Errors
    /// The engine's errors. `Unavailable` if the request continues without a session because the
    /// engine failed. `Gone` if a commit found the session gone. `Closed` after the response.
    pub async fn abandon(&self) -> Result<Session> {
        let session = match self.load().await {
            Ok(session) => session.destroy().map(|()| session),
            Err(error) => Err(error),
        };
        match session {
            Err(error) if error.is_corrupt() => {}
            ended => return ended,
        }
        let _gate = self.inner.gate.lock().await;
        let session = Session { data: SessionData::new(Arc::clone(&self.inner)) };
        if self.inner.state().phase == Phase::Loaded {
            return session.destroy().map(|()| session); // another handle has abandoned it
        }
        load::abandon(&self.inner.shared, &self.inner.headers).await?;
        let mut state = self.inner.state();
        state.via = self.inner.shared.carriers.presented(&self.inner.headers);
        if state.phase == Phase::Finished {
            return Err(state::closed()); // the response was sent since
        }
        (state.phase, state.touched) = (Phase::Loaded, true);
        state.line = Some(Line::Remove);
        self.begin_nothing(&mut state);
        drop(state);
        Ok(session)
    }

    /// Drops the uncommitted changes and closes the session. A framework calls it if a handler is
    /// cancelled before it responds.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Returns an empty session, and ignores the request's cookies.
    pub(crate) fn begin(self) -> Session {
        let mut state = self.inner.state();
        (state.phase, state.touched) = (Phase::Loaded, true);
        self.begin_nothing(&mut state);
        drop(state);
        Session { data: SessionData::new(self.inner) }
    }

    /// Returns a session that was taken over from another library as if it had been loaded, with the
    /// line for the client.
    fn taken_over(&self, it: Result<TakenOver>) -> (Result<Loaded>, Option<Line>) {
        let (live, line) = match it {
            Ok(TakenOver::Live { base, content, line }) => ((base, content), Some(line)),
            Ok(TakenOver::Superseded) => return (Ok(Loaded::Superseded), None),
            Ok(TakenOver::Nothing) => return (Ok(Loaded::Stranger), None),
            Err(error) => return (Err(error.during("take over")), None),
        };
        let via = self.inner.shared.carriers.presented(&self.inner.headers);
        let ((base, content), stale_cookie) = (live, false);
        (Ok(Loaded::Live(Live { base, content, via, stale_cookie })), line)
    }

    /// Starts an empty session. It has no base, so there is nothing to copy before the first
    /// change.
    fn begin_nothing(&self, state: &mut State) {
        state.original = Some(Arc::clone(&self.inner.shared.nothing));
        state.view = Arc::new(Content::new(self.inner.shared.now()));
    }

    /// Loads the session, and returns `None` if the request has no live session.
    ///
    /// # Errors
    /// As [`load`](Self::load). An engine that is down is an error, not `None`.
    pub async fn load_existing(&self) -> Result<Option<Session>> {
        let session = self.load().await?;
        Ok(if session.is_new() { None } else { Some(session) })
    }

    /// Returns whether the session was loaded.
    pub fn is_touched(&self) -> bool {
        self.inner.state().touched
    }
}

impl fmt::Debug for LazySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazySession").field("touched", &self.is_touched()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_future_of_a_load_leaves_half_of_the_allocators_cache_to_the_handler() {
        let shared = crate::SessionManager::in_memory().unwrap().shared;
        let lazy = LazySession::new(shared, RequestInfo::new(()));
        let size = std::mem::size_of_val(&lazy.load());
        // glibc serves blocks of up to 1,032 bytes from a cache of the thread.
        assert!(size <= 516, "{size}");
    }
}
