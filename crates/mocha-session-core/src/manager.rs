//! The session manager: storage and policy. Frameworks drive it; so may programs without one.
//!
//! In the folder: its builder, settings from the environment, owners' calls, sweeping, and the
//! sessions of one request by scope. What a commit or a load does is below.

mod builder;
mod environment;
mod owned;
mod records;
mod sessions;
mod sweeper;
mod take_over;

pub use builder::{FailurePolicy, Requirement, SessionManagerBuilder};
pub use environment::Environment;
pub use owned::OwnedSession;
pub use records::{Kept, Records};
pub use sessions::Sessions;
pub use sweeper::{SweepTotal, Sweeper};
pub use take_over::OldSessions;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::handle::{LazySession, Session};
use crate::http::cookie::CookieWriter;
use crate::http::{CookiePolicy, RequestHeaders, RequestInfo};
use crate::open::Storage;
use crate::request::{self, Finish};
use crate::session::shared::{Backend, Shared};
use crate::store::Capabilities;
use crate::store::ephemeral::Ephemeral;

/// Sessions of an application: where they live, and the rules they live by.
///
/// Cheap to clone; every clone is the same manager. A framework crate calls [`open`](Self::open)
/// when a request comes in and [`finish`](Self::finish) when its response goes out; in between the
/// session is the handler's.
///
/// ```
/// use mocha_session_core::{RequestInfo, Secrets, SessionManager, Storage};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let storage = Storage::client_side().with_secrets(Secrets::generate()?);
/// let manager = SessionManager::new(storage)?;
///
/// let lazy = manager.open(RequestInfo::new("")); // the request's Cookie header
/// let session = lazy.load().await?;
/// session.insert("views", 1)?;
/// let finished = manager.finish(&lazy, 200).await; // the response's status
/// assert!(finished.error().is_none());
/// assert!(finished.set_cookie().unwrap().starts_with("__Host-session="));
/// # Ok::<(), mocha_session_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct SessionManager {
    pub(crate) shared: Arc<Shared>,
}

impl SessionManager {
    /// A manager with the default rules: an idle timeout of two weeks, the cookie `__Host-session`.
    ///
    /// # Errors
    /// `InvalidConfig` where the storage needs something it does not have, like client-side
    /// sessions a secret.
    pub fn new(storage: impl Into<Storage>) -> Result<Self> {
        Self::builder(storage).build()
    }

    /// A manager over a store of its own in this process, without a limit and without a cookie that
    /// needs TLS: for tests of an application, and for trying things out. Its sessions end with it.
    ///
    /// ```
    /// # use mocha_session_core::SessionManager;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let manager = SessionManager::in_memory()?;
    /// let cookie = manager.seed(|session| session.login("alice")).await?;
    /// assert!(cookie.starts_with("session="));
    /// assert_eq!(manager.sessions_of("alice").await?.len(), 1);
    /// # Ok::<(), mocha_session_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// None today; a `Result` like every other way to a manager.
    pub fn in_memory() -> Result<Self> {
        Self::builder(Ephemeral::default()).cookie(CookiePolicy::for_plain_http()).build()
    }

    /// A manager with rules of your own.
    pub fn builder(storage: impl Into<Storage>) -> SessionManagerBuilder {
        SessionManagerBuilder::new(storage.into())
    }

    /// The session of a request, not looked at yet: no I/O, no parsing, one allocation.
    pub fn open<H: RequestHeaders>(&self, request: RequestInfo<H>) -> LazySession {
        LazySession::new(Arc::clone(&self.shared), request)
    }

    /// Commits what the request did to its session, and says what the response must tell the
    /// client.
    ///
    /// A framework calls it once per request with the response's status, awaits it, replaces the
    /// response where [`Finished::error`](crate::Finished::error) says so, and
    /// [applies](crate::Finished::apply) the header lines to what it sends. Nothing is boxed where
    /// there is nothing to write.
    ///
    /// A session nobody asked for costs nothing. A response of 5xx or 408 commits nothing (unless
    /// configured otherwise); ids that an explicit [`commit`](crate::SessionData::commit) made
    /// known are told even then. After this the session is closed: another change of it is an
    /// error.
    pub fn finish(&self, session: &LazySession, status: u16) -> Finish {
        request::finish(session.inner(), status)
    }

    /// Whether this manager, or a clone of it, opened the session: a framework opens one per
    /// request, however often it is asked.
    pub fn opened(&self, session: &LazySession) -> bool {
        Arc::ptr_eq(&self.shared, &session.inner().shared)
    }

    /// What the engine can do, as it is configured.
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    /// The storage that the sessions live in.
    pub fn storage(&self) -> &Storage {
        &self.shared.storage
    }

    /// The name of the cookie, if the transport has one.
    pub fn cookie_name(&self) -> Option<&str> {
        self.shared.carriers.cookie.as_ref().map(CookieWriter::name)
    }

    /// The name of the request header that carries a token, in lower case, if the transport has
    /// one. A framework adds its values to the request's [lines](crate::HeaderLines::tokens).
    pub fn token_header(&self) -> Option<&str> {
        self.shared.carriers.token.as_ref().map(|token| &*token.names.request)
    }

    /// The absolute timeout, if there is one.
    pub fn absolute_timeout(&self) -> Option<Duration> {
        self.shared.policy.absolute.map(Duration::from_millis)
    }

    /// A proof that the engine answers, for health checks.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        match &self.shared.backend {
            Backend::Client(_) => Ok(()),
            Backend::Store(vault) => vault.call("ping", vault.store.ping()).await,
        }
    }

    /// Stores a session made by `fill` and returns its cookie as `name=value`: for tests of
    /// applications. Where the transport has no cookie, it returns the value of the request header.
    ///
    /// ```
    /// # use mocha_session_core::{RequestInfo, Secrets, SessionManager, Storage};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let manager = SessionManager::new(Storage::client_side().with_secrets(Secrets::generate()?))?;
    /// let cookie = manager.seed(|session| session.login("alice")).await?;
    /// let session = manager.open(RequestInfo::new(cookie)).load().await?;
    /// assert_eq!(session.owner().as_deref(), Some("alice"));
    /// # Ok::<(), mocha_session_core::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Whatever `fill` or storing the session fails with; `InvalidInput` when `fill` left it empty.
    pub async fn seed(&self, fill: impl FnOnce(&Session) -> Result<()> + Send) -> Result<String> {
        let lazy = self.open(RequestInfo::new(()));
        let session = lazy.load().await?;
        fill(&session)?;
        let headers = self.finish(&lazy, 200).await.into_result()?;
        let pair = headers.set_cookie().and_then(|line| line.split(';').next());
        let token = self.shared.carriers.token.as_ref().zip(headers.session_token());
        let header = token.map(|(header, token)| header.request_value(token));
        pair.map(ToOwned::to_owned).or(header).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "the seeded session is empty, and empty sessions are not stored",
            )
        })
    }
}

impl Session {
    /// A new session in a store of its own, in this process: for tests of handlers. It can do
    /// whatever a session in a request can, except that no response is sent: call
    /// [`commit`](crate::SessionData::commit) where a test needs it stored.
    ///
    /// For tests that list owners, or send requests one after the other, build on
    /// [`SessionManager::in_memory`].
    ///
    /// # Errors
    /// `Internal` when the operating system has no randomness to give.
    pub fn in_memory() -> Result<Self> {
        let shared = SessionManager::in_memory()?.shared;
        Ok(LazySession::new(shared, RequestInfo::new(())).begin())
    }
}

impl fmt::Debug for SessionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManager")
            .field("storage", &self.shared.storage)
            .field("cookie", &self.cookie_name())
            .field("token", &self.token_header())
            .finish_non_exhaustive()
    }
}
