//! The settings of a manager. `build` checks them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SessionManager;
use super::build::note_start;
use super::requirement::{FailurePolicy, Requirement};
use super::take_over::Hook;
use crate::crypto::secret::Secrets;
use crate::error::Result;
use crate::http::CookiePolicy;
use crate::http::transport::Transport;
use crate::ledger::owners::WhenFull;
use crate::observe::{Observed, Observer};
use crate::open::storage::Storage;
use crate::record::message::Level;
use crate::record::waiting::Caps;
use crate::time::{Clock, SystemClock};

/// Builds a [`SessionManager`].
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::time::Duration;
/// use mocha_session::{CookiePolicy, SameSite, Secrets, SessionManager, Storage};
///
/// let manager = SessionManager::builder(Storage::client_side())
///     .secrets(Secrets::generate()?)
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .absolute_timeout(Duration::from_secs(12 * 60 * 60))
///     .cookie(CookiePolicy::named("__Host-admin").same_site(SameSite::Strict))
///     .build()?;
/// assert_eq!(manager.cookie_name(), Some("__Host-admin"));
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct SessionManagerBuilder {
    pub(super) storage: Storage,
    pub(super) secrets: Option<Secrets>,
    pub(super) transport: Transport,
    pub(super) scope: Option<String>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeout: Option<Duration>,
    pub(super) idle: Duration,
    pub(super) absolute: Option<Duration>,
    pub(super) refresh: Option<Duration>,
    pub(super) remember_at_most: Duration,
    pub(super) limit: usize,
    pub(super) flash: Caps,
    pub(super) flash_minimum: Level,
    pub(super) failure: FailurePolicy,
    pub(super) commit_on_server_error: bool,
    pub(super) accept_unsigned: bool,
    pub(super) plain: bool,
    pub(super) owners_most: usize,
    pub(super) when_full: WhenFull,
    pub(super) check_owner_at_load: bool,
    pub(super) required: Vec<Requirement>,
    pub(super) observed: Observed,
    pub(super) old: Option<Arc<Hook>>,
}

impl SessionManagerBuilder {
    pub(super) fn new(storage: Storage) -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            storage,
            secrets: None,
            transport: Transport::default(),
            scope: None,
            clock: Arc::new(SystemClock),
            timeout: None,
            idle: Duration::from_secs(14 * DAY),
            absolute: None,
            refresh: None,
            remember_at_most: Duration::from_secs(365 * DAY),
            limit: 1024 * 1024,
            flash: Caps { items: 50, bytes: 16 * 1024 },
            flash_minimum: Level::Debug,
            failure: FailurePolicy::Refuse,
            commit_on_server_error: false,
            accept_unsigned: false,
            plain: false,
            owners_most: 100,
            when_full: WhenFull::RevokeOldest,
            check_owner_at_load: false,
            required: Vec::new(),
            observed: Observed::default(),
            old: None,
        }
    }

    /// Sets the secrets that sign cookies, hash owners' names and seal client-side sessions. They
    /// override the secrets of the storage.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Sets the cookie's name and attributes. It is short for [`transport`](Self::transport) with
    /// [`Transport::cookie`].
    pub fn cookie(self, cookie: CookiePolicy) -> Self {
        self.transport(Transport::cookie(cookie))
    }

    /// Sets the transport of a session's id: a cookie, which is the default, a header, or either.
    /// It replaces an earlier [`cookie`](Self::cookie) or `transport`.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets the scope, which separates the application's sessions from others in the same store.
    /// The default is the cookie's name, or the name of the transport's header.
    ///
    /// All keys are derived under the scope: storage keys, encryption keys, signatures and owner
    /// indexes. Therefore two managers on one store accept nothing from each other, and a
    /// customer's id is not accepted as an administrator's under another cookie name. Changing the
    /// scope logs all users out.
    pub fn scope(mut self, name: impl Into<String>) -> Self {
        self.scope = Some(name.into());
        self
    }

    /// Sets the observer of sessions and store calls. By default there is none, and no event is
    /// built.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observed = Observed::by(observer);
        self
    }

    /// Sets the clock, for tests of expiry.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the time after which an unused session ends. The default is two weeks. (ASVS 7.3.1)
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets the time after which a session ends even if it is used. A login restarts it. The
    /// default is unlimited, or 30 days for client-side sessions. (ASVS 7.3.2)
    pub fn absolute_timeout(mut self, absolute: Duration) -> Self {
        self.absolute = Some(absolute);
        self
    }

    /// Sets the smallest extension of the idle deadline that is worth a write. It must be shorter
    /// than the idle timeout, and is at most half of a session's own shorter timeout. The default
    /// is a tenth of the idle timeout.
    pub fn refresh_interval(mut self, refresh: Duration) -> Self {
        self.refresh = Some(refresh);
        self
    }

    /// Sets the longest lifetime that [`remember_for`](crate::SessionData::remember_for) can set.
    /// It must be at least the idle timeout. The default is a year.
    pub fn remember_at_most(mut self, ceiling: Duration) -> Self {
        self.remember_at_most = ceiling;
        self
    }

    /// Sets the deadline of every store call. The default is the URL's `timeout`, or five seconds.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the maximum size of a record in bytes, unless the engine's limit is smaller. The
    /// default is 1 MiB.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Sets the maximum number of waiting flash messages and data slots together, and their maximum
    /// size in bytes. Beyond them, the oldest are dropped. The defaults are 50 and 16 KiB.
    pub fn flash_limits(mut self, items: usize, bytes: usize) -> Self {
        self.flash = Caps { items, bytes };
        self
    }

    /// Sets the minimum level of flash messages. Messages below it are ignored when they are
    /// pushed. By default all are kept.
    pub fn flash_minimum(mut self, level: Level) -> Self {
        self.flash_minimum = level;
        self
    }

    /// Sets the result for a request whose session cannot be loaded.
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.failure = policy;
        self
    }

    /// Sets whether a 5xx response commits its session. The default is no, because such a response
    /// confirms nothing to the client.
    pub fn commit_on_server_error(mut self, yes: bool) -> Self {
        self.commit_on_server_error = yes;
        self
    }

    /// Sets whether ids without a signature are accepted although there is a secret. Use it for the
    /// time after a secret is introduced.
    pub fn accept_unsigned(mut self, yes: bool) -> Self {
        self.accept_unsigned = yes;
        self
    }

    /// Stores payloads unsealed, for debugging. Anyone who can read the store can then read every
    /// session.
    pub fn dangerously_unsealed(mut self) -> Self {
        self.plain = true;
        self
    }

    /// The maximum number of sessions per owner, and what a login does that would exceed it. The
    /// default is 100 and [`WhenFull::RevokeOldest`].
    ///
    /// ```
    /// # use mocha_session_core as mocha_session;
    /// use mocha_session::{Error, Session, SessionManager, WhenFull};
    ///
    /// # let manager = SessionManager::in_memory()?;
    /// let builder = SessionManager::builder(manager.storage().clone())
    ///     .max_sessions_per_owner(3, WhenFull::RefuseLogin);
    /// # drop(builder.build()?);
    ///
    /// async fn log_in(session: Session, user: &str) -> Result<&'static str, Error> {
    ///     session.login(user)?;
    ///     match session.commit().await {
    ///         Err(error) if error.is_too_many_sessions() => Ok("Log out on another device first."),
    ///         done => done.map(|()| "Welcome."),
    ///     }
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn max_sessions_per_owner(self, most: usize, when_full: WhenFull) -> Self {
        self.owners_most(most).when_full(when_full)
    }

    pub(crate) fn owners_most(mut self, most: usize) -> Self {
        self.owners_most = most;
        self
    }

    pub(crate) fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets whether every load of an owned session also reads the owner's index, which is one more
    /// call. A session that the index does not list counts as revoked. It is necessary for the
    /// owner methods on engines that evict.
    pub fn check_owner_at_load(mut self, yes: bool) -> Self {
        self.check_owner_at_load = yes;
        self
    }

    /// Makes the build fail on an engine that does not meet this requirement.
    pub fn require(mut self, requirement: Requirement) -> Self {
        self.required.push(requirement);
        self
    }

    /// Builds the manager.
    ///
    /// # Errors
    /// `InvalidConfig` for cookie attributes that browsers drop, header names with another meaning,
    /// lifetimes under a second, client-side sessions without a secret or with two transports, and
    /// requirements that the engine does not meet.
    pub fn build(self) -> Result<SessionManager> {
        let cookie = self.transport.cookie_policy().cloned();
        let shared = self.assemble()?;
        note_start(&shared, cookie.as_ref());
        Ok(SessionManager { shared: Arc::new(shared) })
    }

    /// Returns whether the sessions are stored in the client's cookie.
    pub(crate) fn is_client_side(&self) -> bool {
        self.storage.store.is_none()
    }
}

impl fmt::Debug for SessionManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManagerBuilder")
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}
