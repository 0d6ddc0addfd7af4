//! The session handles of a request: not loaded yet, and loaded.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::commit::Plan;
use crate::error::{Error, Result};
use crate::handle::{Detached, SessionData};
use crate::http::{RequestHeaders, RequestInfo, SessionToken};
use crate::observe::Event;
use crate::record::content::Content;
use crate::request::load::{self, Live, Loaded};
use crate::session::change::Change;
use crate::session::old::TakenOver;
use crate::session::shared::Shared;
use crate::session::state::{self, Base, Inner, Line, Phase, Standing, State};
use crate::values::wire::Text;

/// The maximum length of an owner's name and of a label, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;

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
        let taking_over = match (&loaded, &self.inner.shared.old) {
            (Ok(Loaded::Stranger), Some(old)) => old.take_over(&self.inner),
            _ => None,
        };
        let (loaded, line) = match taking_over {
            None => (loaded, None),
            Some(taking_over) => {
                // Not kept while it waits, which would enlarge the future of every load.
                drop(loaded);
                self.taken_over(taking_over.await)
            }
        };
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
        drop(state);
        Ok(session)
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

    /// What became of another library's session, as if it had been loaded, and what the client is
    /// told.
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

    /// Whether the session was loaded.
    pub fn is_touched(&self) -> bool {
        self.inner.state().touched
    }
}

impl fmt::Debug for LazySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazySession").field("touched", &self.is_touched()).finish()
    }
}

/// A loaded session. It dereferences to [`SessionData`] and adds the methods that change the
/// session's id.
///
/// Changes are logged, and committed as one conditional write before the response is sent, or
/// immediately by [`commit`](SessionData::commit). Clones share the same session.
///
/// ```
/// # mod mocha_session { pub use mocha_session_core::{self as core, *}; }
/// use mocha_session::{Key, Result, core::Session};
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
    /// Logs a user in. The session gets a new id, and `owner`, your user id, becomes its owner.
    ///
    /// The old id is no longer valid. An anonymous session keeps its content. A session of another
    /// owner is emptied, except for flash messages that this request pushed. The absolute timeout
    /// restarts. (OWASP: renew the session id after any privilege level change; ASVS 7.2.4)
    ///
    /// # Errors
    /// `InvalidInput` if `owner` is empty or longer than 256 bytes. Otherwise as
    /// [`insert`](SessionData::insert).
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
            // The new owner must not see flash that was read for the previous owner.
            state.flash.forget();
        }
        let fresh = if inner.shared.owners_indexed { fastrand::u64(1..) } else { 0 };
        state.change(Change::Login { owner: Text::from(owner), fresh, now })
    }

    /// Records that the user has re-authenticated, for example with a password. The session gets a
    /// new id.
    ///
    /// Check it before a sensitive action with [`is_fresh`](SessionData::is_fresh). (OWASP: renew
    /// the session id after any privilege level change; ASVS 7.5.1)
    ///
    /// ```
    /// # mod mocha_session { pub use mocha_session_core::{self as core, *}; }
    /// use std::time::Duration;
    /// use mocha_session::{Result, core::Session};
    ///
    /// fn password_was_right(session: &Session) -> Result<()> {
    ///     session.confirm()
    /// }
    ///
    /// fn may_change_the_address(session: &Session) -> bool {
    ///     session.is_fresh(Duration::from_secs(5 * 60))
    /// }
    /// # let session = Session::in_memory()?;
    /// # assert!(password_was_right(&session).is_err() && !may_change_the_address(&session));
    /// # session.login("alice")?;
    /// # password_was_right(&session)?;
    /// # assert!(may_change_the_address(&session));
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if no user is logged in. Otherwise as [`insert`](SessionData::insert).
    pub fn confirm(&self) -> Result<()> {
        let inner = self.data.inner();
        let now = inner.shared.now();
        let mut state = inner.state();
        state.writable()?;
        if state.view.owner.is_none() {
            return Err(Error::invalid_input(
                "the user cannot be confirmed because no user is logged in; call login() first",
            ));
        }
        state.change(Change::Confirm(now))?;
        state.rotate = state.base.is_some();
        Ok(())
    }

    /// Gives the session a new id. The old id becomes invalid with the commit.
    ///
    /// Call it after any change of privilege that is not a login.
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

    /// Destroys the session, for example to log the user out.
    ///
    /// The commit ends the session with all its content, and no concurrent request can restore it.
    /// Values and flash that are added afterwards start a new session, for example a message "you
    /// are logged out".
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

    /// Returns the token under which the client presents the session, for an API that returns it
    /// in a body.
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
        let plan = Plan::of(state.base.is_some(), state.rotate, &state.log);
        if state.rotate || !state.doomed.is_empty() || plan.logs_in() {
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

    /// Returns a handle for work that continues after the request, such as WebSockets, server-sent
    /// events and jobs.
    ///
    /// It refers to this request's session, even if this request creates or rotates it. A session
    /// that was loaded through it does not notice a logout: load it again, or call
    /// [`reload`](SessionData::reload), before any action that requires the user to be logged in.
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
