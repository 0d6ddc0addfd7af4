//! The session manager: storage and policy. Frameworks drive it; so may programs without one.

mod builder;
mod owned;
mod records;
mod sweeper;

pub use builder::{FailurePolicy, Requirement, SessionManagerBuilder};
pub use owned::{OwnedSession, SessionHandle};
pub use records::{Kept, Records};
pub use sweeper::{SweepTotal, Sweeper};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::ClientSide;
use crate::content::Content;
use crate::cookie::{CookiePolicy, CookieWriter};
use crate::crypto::Scope;
use crate::ephemeral::Ephemeral;
use crate::error::{Error, ErrorKind, Result};
use crate::headers::{CookieHeaders, RequestInfo};
use crate::owners::Owners;
use crate::policy::Policy;
use crate::queue::{Queues, Turn};
use crate::session::{self, Finish, LazySession, Session};
use crate::signing::Signer;
use crate::storage::Storage;
use crate::store::{Capabilities, StorageKey};
use crate::time::{Clock, to_millis};
use crate::vault::Vault;

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

/// What every request of a manager shares.
pub(crate) struct Shared {
    pub(crate) backend: Backend,
    pub(crate) capabilities: Capabilities,
    pub(crate) storage: Storage,
    pub(crate) policy: Policy,
    pub(crate) cookie: CookieWriter,
    pub(crate) signer: Signer,
    pub(crate) scope: Scope,
    pub(crate) owners: Owners,
    /// Whether sessions are entered into their owner's index.
    pub(crate) owners_indexed: bool,
    pub(crate) check_owner_at_load: bool,
    pub(crate) clock: Arc<dyn Clock>,
    /// What a session holds before it is loaded: one for all, so that a session that is never
    /// loaded costs no allocation.
    pub(crate) nothing: Arc<Content>,
}

/// Where sessions live.
pub(crate) enum Backend {
    Client(ClientSide),
    Store { vault: Vault, queues: Arc<Queues> },
}

impl Shared {
    pub(crate) fn now(&self) -> u64 {
        to_millis(self.clock.now())
    }

    /// The turn to write a session, in this process.
    ///
    /// # Errors
    /// `Unavailable` when the writers before it have kept it for longer than a store call may take.
    pub(crate) async fn turn(&self, vault: &Vault, key: &StorageKey) -> Result<Turn> {
        let turn = match &self.backend {
            Backend::Store { queues, .. } => queues.turn(*key, vault.timeout).await,
            Backend::Client(_) => None,
        };
        turn.ok_or_else(|| {
            let why = "other commits of the session have waited for the engine for too long; nothing of this one was sent";
            Error::new(ErrorKind::Unavailable, why).during("commit")
        })
    }
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
    pub fn open<C: CookieHeaders>(&self, request: RequestInfo<C>) -> LazySession {
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
        session::finish(session.inner(), status)
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

    /// The name of the cookie.
    pub fn cookie_name(&self) -> &str {
        self.shared.cookie.name()
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
            Backend::Store { vault, .. } => vault.call("ping", vault.store.ping()).await,
        }
    }

    /// Stores a session made by `fill` and returns its cookie as `name=value`: for tests of
    /// applications.
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
        pair.map(ToOwned::to_owned).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "the seeded session is empty, and empty sessions are not stored",
            )
        })
    }
}

impl fmt::Debug for SessionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManager")
            .field("storage", &self.shared.storage)
            .field("cookie", &self.shared.cookie.name())
            .finish_non_exhaustive()
    }
}
