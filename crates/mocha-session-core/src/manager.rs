//! The session manager: a storage and a policy, for frameworks and for programs without one.
//!
//! The submodules contain its builder, the methods for owners,
//! sweeps, and the sessions of one request by scope. Commits and loads are implemented in lower
//! modules.

mod build;
mod builder;
mod owned;
mod records;
mod requirement;
mod sessions;
mod sweeper;
mod take_over;

pub use builder::SessionManagerBuilder;
pub use owned::OwnedSession;
pub use records::{Kept, Records};
pub use requirement::{FailurePolicy, Requirement};
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

/// The sessions of an application: their storage, and their policy.
///
/// A clone is cheap and is the same manager. A framework crate calls [`open`](Self::open) when a
/// request arrives and [`finish`](Self::finish) before its response is sent. In between, the
/// handler uses the session.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{RequestInfo, Secrets, SessionManager, Storage};
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
    /// Creates a manager with the default policy: an idle timeout of two weeks, the cookie
    /// `__Host-session`.
    ///
    /// # Errors
    /// `InvalidConfig` if the storage lacks a necessary setting, for example a secret for
    /// client-side sessions.
    pub fn new(storage: impl Into<Storage>) -> Result<Self> {
        Self::builder(storage).build()
    }

    /// Creates a manager with its own store in this process, without limits, and with a cookie that
    /// does not need TLS. It is for tests of an application and for experiments. Its sessions end
    /// with it.
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
    /// None at present. It returns a `Result`, as every constructor of a manager does.
    pub fn in_memory() -> Result<Self> {
        Self::builder(Ephemeral::default()).cookie(CookiePolicy::for_plain_http()).build()
    }

    /// Starts to build a manager with a custom policy.
    pub fn builder(storage: impl Into<Storage>) -> SessionManagerBuilder {
        SessionManagerBuilder::new(storage.into())
    }

    /// Opens a request's session without loading it: no I/O, no parsing, one allocation.
    pub fn open<H: RequestHeaders>(&self, request: RequestInfo<H>) -> LazySession {
        LazySession::new(Arc::clone(&self.shared), request)
    }

    /// Commits a request's changes to its session, and returns the changes to the response.
    ///
    /// A framework calls it once per request with the response's status, and awaits it. If
    /// [`Finished::error`](crate::Finished::error) returns an error, the framework replaces the
    /// response. Then it [applies](crate::Finished::apply) the header lines to the response. If
    /// there is nothing to write, nothing is boxed.
    ///
    /// A session that was not loaded costs nothing. A 5xx or 408 response commits nothing, unless
    /// configured otherwise. It still sends the ids that an explicit
    /// [`commit`](crate::SessionData::commit) created. Afterwards the session is closed, and
    /// changing it is an error.
    pub fn finish(&self, session: &LazySession, status: u16) -> Finish {
        request::finish(session.inner(), status)
    }

    /// Returns whether this manager, or a clone of it, opened the session. A framework opens one
    /// session per request, even if it is called several times.
    pub fn opened(&self, session: &LazySession) -> bool {
        Arc::ptr_eq(&self.shared, &session.inner().shared)
    }

    /// Returns the engine's capabilities in its current configuration.
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    /// Returns the storage of the sessions.
    pub fn storage(&self) -> &Storage {
        &self.shared.storage
    }

    /// Returns the name of the cookie, if the transport has one.
    pub fn cookie_name(&self) -> Option<&str> {
        self.shared.carriers.cookie.as_ref().map(CookieWriter::name)
    }

    /// Returns the name of the request header that carries a token, in lower case, if the transport
    /// has one. A framework adds its values to the request's [lines](crate::HeaderLines::tokens).
    pub fn token_header(&self) -> Option<&str> {
        self.shared.carriers.token.as_ref().map(|token| &*token.names.request)
    }

    /// Returns the absolute timeout, if there is one.
    pub fn absolute_timeout(&self) -> Option<Duration> {
        self.shared.policy.absolute.map(Duration::from_millis)
    }

    /// Checks that the engine responds, for health checks.
    ///
    /// # Errors
    /// The engine's error, if it does not respond.
    pub async fn ping(&self) -> Result<()> {
        match &self.shared.backend {
            Backend::Client(_) => Ok(()),
            Backend::Store(vault) => vault.call("ping", vault.store.ping()).await,
        }
    }

    /// Waits for the commits that outlive their requests: a login, rotation, logout or revocation
    /// whose client disconnected continues in its own task. Returns at once if there is none.
    ///
    /// It is the last step of a graceful shutdown. Let the server answer its last request, drop the
    /// [sweeper](Sweeper), call this, and drop the manager, which closes the connections.
    ///
    /// ```
    /// # use mocha_session_core as mocha_session;
    /// use std::time::Duration;
    /// use mocha_session::{Result, SessionManager, Sweeper};
    ///
    /// async fn end(manager: SessionManager, sweeper: Sweeper) -> Result<()> {
    ///     drop(sweeper);
    ///     manager.shutdown(Duration::from_secs(10)).await
    /// }
    /// ```
    ///
    /// # Errors
    /// `Timeout` if some are still running after `deadline`. They can be stopped safely after any
    /// step.
    pub async fn shutdown(&self, deadline: Duration) -> Result<()> {
        let tasks = &self.shared.tasks;
        tokio::time::timeout(deadline, tasks.idle()).await.map_err(|_| {
            let (running, engine) = (tasks.running(), self.shared.capabilities.engine());
            let why =
                format!("{running} commits were still waiting for the engine after {deadline:?}");
            Error::new(ErrorKind::Timeout, why).on(engine).during("shutdown")
        })
    }

    /// Stores a session that `fill` fills and returns its cookie as `name=value`, for tests of
    /// applications. If the transport has no cookie, returns the value of the request header.
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
    /// The error of `fill` or of storing the session. `InvalidInput` if `fill` leaves the session
    /// empty.
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
    /// Creates a session with its own store in this process, for tests of handlers. It behaves like
    /// a session in a request, except that no response is sent: if a test needs it stored, call
    /// [`commit`](crate::SessionData::commit).
    ///
    /// For tests that list owners' sessions, or send several requests, use
    /// [`SessionManager::in_memory`].
    ///
    /// # Errors
    /// `Internal` if the operating system returns no random bytes.
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
