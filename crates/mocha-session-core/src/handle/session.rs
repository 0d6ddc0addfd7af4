//! The session as a handler sees it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::handle::{Detached, SessionData};
use crate::http::{RequestHeaders, RequestInfo, SessionToken};
use crate::record::content::Content;
use crate::request::load::{self, Loaded};
use crate::session::change::{self, Change};
use crate::session::shared::Shared;
use crate::session::state::{self, Base, Inner, Line, Phase, Standing, State};
use crate::values::wire::Text;

/// The longest name of an owner and the longest label, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;

/// A request's session before anybody looked at it.
///
/// It costs nothing until [`load`](Self::load) is called: no header is parsed, no store is asked,
/// no header is sent. The session is loaded once per request, whoever asks.
///
/// ```
/// # use mocha_session_core::{LazySession, Result};
/// async fn handler(lazy: LazySession, public: bool) -> Result<String> {
///     if public {
///         return Ok("the same for everybody, and cacheable".into());
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

    /// The session, loaded now if it was not yet; an empty one where the request has none.
    ///
    /// # Errors
    /// When the engine does not say whether there is a session (unknown is not absent), or the
    /// record cannot be read. `Closed` when nobody asked before the response had its headers: it is
    /// too late to say whether there is one.
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
        let mut state = self.inner.state();
        state.is_touched()?; // the response went out meanwhile
        state.via = match &loaded {
            Ok(Loaded::Live(live)) => live.via,
            _ => self.inner.shared.carriers.presented(&self.inner.headers),
        };
        state.touched = loaded.is_ok() || self.inner.shared.policy.anonymous_on_failure;
        match loaded {
            Ok(Loaded::Live(live)) => {
                state.phase = Phase::Loaded;
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
                tracing::warn!(%error, "a session could not be loaded; the request goes on without one");
                state.phase = if error.is_corrupt() { Phase::Unreadable } else { Phase::ReadOnly };
                self.begin_nothing(&mut state);
            }
            Err(error) => return Err(error),
        }
        drop(state);
        Ok(session)
    }

    /// Ends the session that the request names and begins an empty one: the way out where
    /// [`load`](Self::load) fails with [`is_corrupt`](crate::Error::is_corrupt), because the record
    /// is damaged or of a newer version.
    ///
    /// A session that can be read is destroyed, with the commit. A record that cannot be read is
    /// deleted at once. The response removes the cookie, or sets the one of a session that begins.
    ///
    /// # Errors
    /// Those of the engine; `Unavailable` when the request goes on without a session because the
    /// engine failed; `Gone` when a commit found the session gone; `Closed` after the response.
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
            return session.destroy().map(|()| session); // another handle has abandoned it meanwhile
        }
        load::abandon(&self.inner.shared, &self.inner.headers).await?;
        let mut state = self.inner.state();
        state.via = self.inner.shared.carriers.presented(&self.inner.headers);
        if state.phase == Phase::Finished {
            return Err(state::closed()); // the response went out meanwhile
        }
        (state.phase, state.touched) = (Phase::Loaded, true);
        state.line = Some(Line::Remove);
        self.begin_nothing(&mut state);
        drop(state);
        Ok(session)
    }

    /// Drops what the request changed and did not commit, and closes the session: for a framework
    /// whose handler was given up before it answered.
    pub fn close(&self) {
        self.inner.close();
    }

    /// An empty session, without a look at the request.
    pub(crate) fn begin(self) -> Session {
        let mut state = self.inner.state();
        (state.phase, state.touched) = (Phase::Loaded, true);
        self.begin_nothing(&mut state);
        drop(state);
        Session { data: SessionData::new(self.inner) }
    }

    /// What is changed is changed over nothing, so there is nothing to copy first.
    fn begin_nothing(&self, state: &mut State) {
        state.original = Some(Arc::clone(&self.inner.shared.nothing));
        state.view = Arc::new(Content::new(self.inner.shared.now()));
    }

    /// The session if the request has a live one.
    ///
    /// # Errors
    /// As [`load`](Self::load): an engine that is down is not "none".
    pub async fn load_existing(&self) -> Result<Option<Session>> {
        let session = self.load().await?;
        Ok(if session.is_new() { None } else { Some(session) })
    }

    /// Whether anybody has asked for the session.
    pub fn is_touched(&self) -> bool {
        self.inner.state().touched
    }
}

impl fmt::Debug for LazySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazySession").field("touched", &self.is_touched()).finish()
    }
}

/// A loaded session: what every handle can do (see [`SessionData`], which it derefs to), and what
/// changes its id.
///
/// Changes are logged and committed when the response goes out, as one conditional write; or at
/// once by [`commit`](SessionData::commit). Clones are the same session.
///
/// ```
/// use mocha_session_core::{Key, Result, Session};
///
/// const VIEWS: Key<u64> = Key::new("views");
///
/// fn handler(session: &Session) -> Result<String> {
///     let views = session.update(VIEWS, |views| views.unwrap_or(0) + 1)?;
///     Ok(format!("{views} views"))
/// }
/// # let session = Session::in_memory()?;
/// # assert_eq!(handler(&session)?, "1 views");
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Session {
    data: SessionData,
}

impl Session {
    /// Logs a user in: the session gets a new id, the old one dies, and it belongs to `owner` (your
    /// user id) from here on.
    ///
    /// What an anonymous session held is kept. A session that belonged to somebody else starts
    /// empty, but for flash messages pushed in this request. The absolute timeout starts anew.
    /// (OWASP: renew the session id after any privilege level change; ASVS 7.2.4)
    ///
    /// # Errors
    /// `InvalidInput` for an empty or overlong owner; else as [`insert`](SessionData::insert).
    pub fn login(&self, owner: impl AsRef<str>) -> Result<()> {
        let owner = owner.as_ref();
        if owner.is_empty() || owner.len() > MAX_NAME_BYTES {
            return Err(Error::invalid_input("the owner of a session must have 1 to 256 bytes"));
        }
        let inner = self.data.inner();
        let mut state = inner.state();
        if state.phase == Phase::Unreadable {
            state.phase = Phase::Loaded;
            state.line = Some(Line::Remove);
        }
        state.writable()?;
        let now = inner.shared.now();
        state.doom_several();
        if state.view.owner.as_ref().is_some_and(|known| known.name.as_str() != owner) {
            // What was read of the flash was for the first owner's eyes.
            state.flash.forget();
        }
        let fresh = if inner.shared.owners_indexed { fastrand::u64(1..) } else { 0 };
        state.change(Change::Login { owner: Text::from(owner), fresh, now })
    }

    /// Gives the session a new id; the old one dies with the commit. For any change of privilege
    /// that is not a login.
    ///
    /// # Errors
    /// As [`insert`](SessionData::insert).
    #[doc(alias = "cycle_id")]
    #[doc(alias = "renew")]
    #[doc(alias = "regenerate")]
    pub fn rotate(&self) -> Result<()> {
        let mut state = self.data.inner().state();
        state.writable()?;
        state.rotate = state.base.is_some();
        Ok(())
    }

    /// Logs out: the session and everything in it is gone with the commit, and no request in flight
    /// can bring it back.
    ///
    /// What is inserted or pushed after it begins a new session: a flash message "you are logged
    /// out", for example.
    ///
    /// # Errors
    /// As [`insert`](SessionData::insert).
    #[doc(alias = "flush")]
    #[doc(alias = "purge")]
    #[doc(alias = "invalidate")]
    pub fn destroy(&self) -> Result<()> {
        let inner = self.data.inner();
        let mut state = inner.state();
        state.writable()?;
        state.doom(inner.shared.now());
        Ok(())
    }

    /// The token under which the client presents the session, for an API that returns it in a body.
    ///
    /// `None` where the transport has no header, while nothing is stored, and while changes are
    /// pending that would change the token: [`commit`](SessionData::commit) first. A client-side
    /// session has a new token after every commit, and none before.
    ///
    /// The response carries the same token in its header, unless the session came by a cookie.
    pub fn token(&self) -> Option<SessionToken> {
        let inner = self.data.inner();
        inner.shared.carriers.token.as_ref()?;
        let state = inner.state();
        if state.rotate || !state.doomed.is_empty() || change::logs_in(&state.log) {
            return None;
        }
        match (&state.base, &state.line) {
            (Some(Base::Stored(stored)), _) => {
                Some(SessionToken(inner.shared.signer.text(&stored.id)))
            }
            (Some(Base::Client { .. }), Some(Line::Sealed(value, _))) if state.log.is_empty() => {
                Some(SessionToken(value.clone()))
            }
            _ => None,
        }
    }

    /// A handle for work that outlives the request: WebSockets, server-sent events, jobs.
    ///
    /// It follows this request's session, also one that is new or rotated by this request. It does
    /// not notice a logout by itself: load it anew, or [`reload`](SessionData::reload), before
    /// anything that matters.
    pub fn detached(&self) -> Detached {
        Detached::new(Arc::clone(self.data.inner()))
    }
}

impl Deref for Session {
    type Target = SessionData;

    fn deref(&self) -> &SessionData {
        &self.data
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data.describe("Session", f)
    }
}
