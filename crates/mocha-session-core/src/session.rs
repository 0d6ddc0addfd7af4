//! The session as a handler sees it.

pub(crate) mod change;
mod commit;
mod data;
mod detached;
mod finish;
pub(crate) mod identity;
mod load;
pub(crate) mod state;
mod update;

pub use data::SessionData;
pub use detached::{Detached, DetachedSession};

pub(crate) use finish::{finish, finish_now, told_so_far};

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::content::Content;
use crate::error::{Error, Result};
use crate::headers::{CookieHeaders, RequestInfo};
use crate::manager::{SessionManager, Shared};
use crate::secret::Secrets;
use crate::session::change::Change;
use crate::session::state::{Base, Inner, Phase};
use crate::storage::Storage;
use crate::wire::Text;

/// The longest name of an owner and the longest label, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// A request's session before anybody looked at it.
///
/// It costs nothing until [`load`](Self::load) is called: no cookie is parsed, no store is asked, no header is sent. The
/// session is loaded once per request, whoever asks.
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
    pub(crate) fn new<C: CookieHeaders>(shared: Arc<Shared>, request: RequestInfo<C>) -> Self {
        Self { inner: Arc::new(Inner::new(shared, request)) }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// The session, loaded now if it was not yet; an empty one where the request has none.
    ///
    /// # Errors
    /// When the engine does not say whether there is a session (unknown is not absent), or the record cannot be read.
    /// `Closed` when nobody asked before the response had its headers: it is too late to say whether there is one.
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
        let loaded = load::from_cookies(&self.inner.shared, &self.inner.cookies).await;
        let mut state = self.inner.state();
        state.is_touched()?; // the response went out meanwhile
        state.touched = loaded.is_ok() || self.inner.shared.policy.anonymous_on_failure;
        match loaded {
            Ok(Some(loaded)) => {
                state.phase = Phase::Loaded;
                state.stale_cookie = loaded.stale_cookie;
                (state.base, state.view) = (Some(loaded.base), loaded.content);
            }
            Ok(None) => {
                state.phase = Phase::Loaded;
                // What is changed is changed over nothing, and need not be copied first.
                state.original = Some(Arc::clone(&self.inner.shared.nothing));
                state.view = Arc::new(Content::new(self.inner.shared.now()));
            }
            Err(error) if self.inner.shared.policy.anonymous_on_failure => {
                tracing::warn!(%error, "a session could not be loaded; the request goes on without one");
                state.phase = Phase::ReadOnly;
                state.view = Arc::new(Content::new(self.inner.shared.now()));
            }
            Err(error) => return Err(error),
        }
        drop(state);
        Ok(session)
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

/// A loaded session: what every handle can do (see [`SessionData`], which it derefs to), and what changes its id.
///
/// Changes are logged and committed when the response goes out, as one conditional write; or at once by
/// [`commit`](SessionData::commit). Clones are the same session.
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
    /// A session that is kept nowhere: for tests of handlers.
    ///
    /// It behaves like a client-side session whose cookie nobody sends.
    ///
    /// # Errors
    /// `Internal` when the operating system has no randomness to give.
    pub fn in_memory() -> Result<Self> {
        let storage = Storage::client_side().with_secrets(Secrets::generate()?);
        let shared = SessionManager::new(storage)?.shared;
        let inner: Arc<Inner> = Arc::new(Inner::new(shared, RequestInfo::new(())));
        {
            let mut state = inner.state();
            state.phase = Phase::Loaded;
            state.view = Arc::new(Content::new(inner.shared.now()));
        }
        Ok(Self { data: SessionData::new(inner) })
    }

    /// Logs a user in: the session gets a new id, the old one dies, and it belongs to `owner` (your user id) from here on.
    ///
    /// What an anonymous session held is kept. A session that belonged to somebody else starts empty, but for flash
    /// messages pushed in this request. The absolute timeout starts anew. (OWASP: renew the session id after any
    /// privilege level change; ASVS 7.2.4)
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
        state.writable()?;
        let known = state.view.owner.as_ref().filter(|known| known.name.as_str() == owner);
        let theirs = known.is_none() && state.view.owner.is_some();
        let handle = match known {
            _ if !inner.shared.owners_indexed => 0,
            Some(known) if known.handle != 0 => known.handle,
            _ => fastrand::u64(1..),
        };
        if theirs {
            // What was read of the flash was for the first owner's eyes.
            state.flash.forget();
        }
        state.change(Change::Login { owner: Text::from(owner), handle, now: inner.shared.now() })
    }

    /// Gives the session a new id; the old one dies with the commit. For any change of privilege that is not a login.
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

    /// Logs out: the session and everything in it is gone with the commit, and no request in flight can bring it back.
    ///
    /// What is inserted or pushed after it begins a new session: a flash message "you are logged out", for example.
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
        if let Some(base) = state.base.take() {
            let content = state.original.take().unwrap_or_else(|| Arc::clone(&state.view));
            state.doomed.get_or_insert_with(|| Box::new((base, content)));
        }
        state.start_over(inner.shared.now());
        Ok(())
    }

    /// A handle for work that outlives the request: WebSockets, server-sent events, jobs.
    ///
    /// It follows this request's session, also one that is new or rotated by this request. It does not notice a logout by
    /// itself: load it anew, or [`reload`](SessionData::reload), before anything that matters.
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

/// A base that is in the store.
fn stored(base: Option<&Base>) -> Option<&state::Stored> {
    match base {
        Some(Base::Stored(stored)) => Some(stored),
        _ => None,
    }
}
