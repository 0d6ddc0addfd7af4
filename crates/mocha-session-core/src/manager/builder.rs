//! The rules of a manager, and what they refuse.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SessionManager;
use super::take_over::Hook;
use crate::crypto::Scope;
use crate::crypto::secret::Secrets;
use crate::crypto::signing::Signer;
use crate::error::{Error, Result};
use crate::http::CookiePolicy;
use crate::http::cookie::CookieWriter;
use crate::http::transport::{Carriers, Transport};
use crate::ledger::owners::Owners;
use crate::ledger::vault::Vault;
use crate::observe::{Observed, Observer};
use crate::open::storage::Storage;
use crate::open::url::DEFAULT_DEADLINE;
use crate::record::client_side::{self, ClientSide};
use crate::record::message::Level;
use crate::record::policy::{self, CLIENT_SIDE_ABSOLUTE, Policy};
use crate::record::waiting::Caps;
use crate::session::old::TakesOver;
use crate::session::shared::{Backend, Shared};
use crate::store::Durability;
use crate::time::{Clock, SystemClock};

/// What a request gets when its session cannot be loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// An error, 503 for most: unknown is not absent. The default.
    #[default]
    Refuse,
    /// An empty session that cannot be changed, so that public pages stay up. The cookie is not
    /// touched.
    Anonymous,
}

/// What an application cannot do without: checked when the manager is built, so that a forgotten or
/// mistyped `SESSION_URL` is found at the start and not after an incident.
///
/// ```
/// use mocha_session_core::{Requirement, Secrets, SessionManager, Storage};
///
/// let unset = Storage::client_side().with_secrets(Secrets::generate()?);
/// let refused = SessionManager::builder(unset).require(Requirement::FinalLogout).build();
/// assert!(refused.unwrap_err().is_invalid_config());
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// A destroyed session cannot come back and no update is lost: any store, not the client's
    /// cookie.
    FinalLogout,
    /// An acknowledged write survives this much.
    Durability(Durability),
    /// The engine never drops a live session to make room.
    NoEviction,
    /// The engine can list its sessions.
    Listing,
    /// A user's sessions can be listed and revoked.
    OwnerIndex,
}

/// Builds a [`SessionManager`].
///
/// ```
/// use std::time::Duration;
/// use mocha_session_core::{CookiePolicy, SameSite, Secrets, SessionManager, Storage};
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
    storage: Storage,
    secrets: Option<Secrets>,
    transport: Transport,
    scope: Option<String>,
    clock: Arc<dyn Clock>,
    timeout: Option<Duration>,
    idle: Duration,
    absolute: Option<Duration>,
    refresh: Option<Duration>,
    remember_at_most: Duration,
    limit: usize,
    flash: Caps,
    flash_minimum: Level,
    failure: FailurePolicy,
    commit_on_server_error: bool,
    accept_unsigned: bool,
    plain: bool,
    owners_most: usize,
    check_owner_at_load: bool,
    required: Vec<Requirement>,
    observed: Observed,
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
            check_owner_at_load: false,
            required: Vec::new(),
            observed: Observed::default(),
            old: None,
        }
    }

    /// The secrets that sign cookies and hash owners' names, and that seal client-side sessions.
    /// They take precedence over those that came with the storage.
    pub fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// The cookie's name and attributes: short for [`transport`](Self::transport) with
    /// [`Transport::cookie`].
    pub fn cookie(self, cookie: CookiePolicy) -> Self {
        self.transport(Transport::cookie(cookie))
    }

    /// How a session's id travels: in a cookie, which is the default, in a header, or in either. It
    /// replaces what an earlier call of it or of [`cookie`](Self::cookie) set.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Names the application's sessions apart from other sessions in the same store. The default is
    /// the cookie's name, or that of a transport's header.
    ///
    /// Everything is derived under it: where a record is kept, what seals it, signatures, owners'
    /// indexes. So two managers on one store accept nothing from each other, and a customer's id is
    /// no administrator's under another cookie's name. Changing it logs everybody out.
    pub fn scope(mut self, name: impl Into<String>) -> Self {
        self.scope = Some(name.into());
        self
    }

    /// Who is told what happens to sessions and store calls. There is none by default, and then
    /// nothing is computed for it.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observed = Observed::by(observer);
        self
    }

    /// The clock, for tests of what expires.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long a session lives without being used. The default is two weeks. (ASVS 7.3.1)
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// How long a session lives however much it is used; a login starts it anew. The default is
    /// unlimited, or 30 days for client-side sessions. (ASVS 7.3.2)
    pub fn absolute_timeout(mut self, absolute: Duration) -> Self {
        self.absolute = Some(absolute);
        self
    }

    /// The smallest extension of the idle deadline that is worth a write: below the idle timeout,
    /// and at most half of a session's own shorter one. The default is a tenth of the idle timeout.
    pub fn refresh_interval(mut self, refresh: Duration) -> Self {
        self.refresh = Some(refresh);
        self
    }

    /// The longest lifetime that [`remember_for`](crate::SessionData::remember_for) may give, at
    /// least the idle timeout. The default is a year.
    pub fn remember_at_most(mut self, ceiling: Duration) -> Self {
        self.remember_at_most = ceiling;
        self
    }

    /// The deadline of every call of the store. The default is the URL's `timeout`, or five
    /// seconds.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The largest record in bytes, where the engine does not set a smaller one. The default is 1
    /// MiB.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// How many flash messages and data slots may wait together, and how many bytes they may take.
    /// Past that the oldest are dropped. The default is 50 and 16 KiB.
    pub fn flash_limits(mut self, items: usize, bytes: usize) -> Self {
        self.flash = Caps { items, bytes };
        self
    }

    /// The least level of flash messages; those below it are ignored when pushed. The default keeps
    /// all.
    pub fn flash_minimum(mut self, level: Level) -> Self {
        self.flash_minimum = level;
        self
    }

    /// What a request gets when its session cannot be loaded.
    pub fn on_failure(mut self, policy: FailurePolicy) -> Self {
        self.failure = policy;
        self
    }

    /// Whether a response of 5xx commits its session all the same. The default is no: what the
    /// response did not confirm did not happen.
    pub fn commit_on_server_error(mut self, yes: bool) -> Self {
        self.commit_on_server_error = yes;
        self
    }

    /// Whether ids without a signature are taken although there is a secret: for the time after a
    /// secret was introduced.
    pub fn accept_unsigned(mut self, yes: bool) -> Self {
        self.accept_unsigned = yes;
        self
    }

    /// Stores payloads unsealed, for debugging: whoever reads the store then reads every session.
    pub fn dangerously_unsealed(mut self) -> Self {
        self.plain = true;
        self
    }

    /// How many sessions an owner may have; the least recently used is revoked to make room. The
    /// default is 100.
    pub fn max_sessions_per_owner(mut self, most: usize) -> Self {
        self.owners_most = most;
        self
    }

    /// Looks the owner's index up at every load of an owned session, one more trip: what is not
    /// listed there is revoked. Needed for owner calls on engines that evict.
    pub fn check_owner_at_load(mut self, yes: bool) -> Self {
        self.check_owner_at_load = yes;
        self
    }

    /// Refuses to build a manager on an engine that cannot do this.
    pub fn require(mut self, requirement: Requirement) -> Self {
        self.required.push(requirement);
        self
    }

    /// The manager.
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

    /// Whether the sessions would be in the client's cookie.
    pub(super) fn is_client_side(&self) -> bool {
        self.storage.store.is_none()
    }

    /// Checks the settings and makes the state that requests share.
    pub(super) fn assemble(self) -> Result<Shared> {
        let carriers = Carriers::new(&self.transport)?;
        if let Some(old) = &self.old {
            old.check(carriers.cookie.as_ref().map(CookieWriter::name))?;
        }
        let capabilities = self.storage.capabilities();
        let owners_indexed =
            capabilities.compare_and_set() && (!capabilities.evicts() || self.check_owner_at_load);
        for requirement in &self.required {
            let met = match requirement {
                Requirement::FinalLogout => capabilities.compare_and_set(),
                Requirement::Durability(least) => {
                    capabilities.compare_and_set() && capabilities.durability() >= *least
                }
                Requirement::NoEviction => !capabilities.evicts(),
                Requirement::Listing => capabilities.listing(),
                Requirement::OwnerIndex => owners_indexed,
            };
            if !met {
                let engine = capabilities.engine();
                return Err(Error::invalid_config(format!(
                    "this application requires {requirement:?} and its sessions would live in `{engine}`, which cannot do \
                     that; check SESSION_URL ({capabilities})"
                )));
            }
        }
        let timeout = self.timeout.or(self.storage.timeout).unwrap_or(DEFAULT_DEADLINE);
        if timeout.is_zero() {
            return Err(Error::invalid_config("the store's timeout must be above zero"));
        }
        self.check_limits()?;
        let client_side = self.storage.store.is_none();
        if client_side && carriers.cookie.is_some() && carriers.token.is_some() {
            return Err(Error::invalid_config(
                "client-side sessions travel by one transport: a cookie and a token would be two \
                 copies that drift apart; set SESSION_URL, or leave one of them out",
            ));
        }
        let scope = Scope::named(self.scope.as_deref().unwrap_or_else(|| carriers.scope()));
        let absolute = self.absolute.or(client_side.then_some(CLIENT_SIDE_ABSOLUTE));
        let policy = Policy {
            idle: policy::lifetime("idle timeout", self.idle)?,
            absolute: absolute
                .map(|absolute| policy::lifetime("absolute timeout", absolute))
                .transpose()?,
            refresh: self.refresh.map(policy::millis),
            remember_at_most: policy::lifetime("ceiling of remember_for", self.remember_at_most)?,
            limit: self.limit,
            flash: self.flash,
            flash_minimum: self.flash_minimum,
            commit_on_server_error: self.commit_on_server_error,
            anonymous_on_failure: self.failure == FailurePolicy::Anonymous,
            // Longer than a minute, and than any call that may still carry what was read before it.
            tombstone: policy::millis(Duration::from_secs(60).max(timeout.saturating_mul(4))),
            persistent: carriers.cookie.as_ref().is_none_or(|cookie| cookie.persistent),
        };
        let secrets = self.secrets.or_else(|| self.storage.secrets.clone());
        let backend = match &self.storage.store {
            None => {
                let secrets = secrets.clone().ok_or_else(client_side::no_secret)?;
                Backend::Client(ClientSide::new(secrets, scope, carriers.scope()))
            }
            Some(store) => Backend::Store(Vault::new(
                Arc::clone(store),
                Arc::clone(&self.clock),
                timeout,
                policy.limit,
                self.plain,
                self.observed.clone(),
            )),
        };
        Ok(Shared {
            backend,
            observed: self.observed,
            old: self.old.map(|old| old as Arc<dyn TakesOver>),
            signer: Signer::new(secrets.as_ref(), self.accept_unsigned, &scope),
            owners: Owners::new(
                secrets.as_ref(),
                self.accept_unsigned,
                scope,
                self.owners_most,
                policy.tombstone,
            ),
            scope,
            owners_indexed,
            check_owner_at_load: self.check_owner_at_load && !client_side,
            capabilities,
            storage: self.storage,
            policy,
            carriers,
            clock: self.clock,
            nothing: Arc::default(),
        })
    }
}

impl SessionManagerBuilder {
    fn check_limits(&self) -> Result<()> {
        let refuse = |why: &'static str| Err(Error::invalid_config(why));
        if self.refresh.is_some_and(|refresh| refresh >= self.idle) {
            return refuse(
                "the refresh interval must be below the idle timeout, or sessions expire under use",
            );
        }
        if self.remember_at_most < self.idle {
            return refuse("the ceiling of remember_for must be at least the idle timeout");
        }
        if self.limit < SMALLEST_LIMIT {
            return refuse(
                "max_record_bytes must be at least 1024: a session has a header and an owner",
            );
        }
        if self.flash.items == 0 || self.flash.bytes == 0 {
            return refuse(
                "flash_limits must be above zero; an application without flash pushes none",
            );
        }
        if self.owners_most == 0 {
            return refuse("max_sessions_per_owner must be above zero, or nobody can log in");
        }
        Ok(())
    }
}

/// Notes once how the sessions travel: a cookie that a browser drops is hard to find otherwise.
fn note_start(shared: &Shared, cookie: Option<&CookiePolicy>) {
    let engine = shared.capabilities.engine();
    if let Some(cookie) = cookie {
        let (name, secure) = (cookie.name(), cookie.is_secure());
        let note = if secure {
            "browsers keep their cookie over HTTPS and on localhost only"
        } else {
            "their cookie also travels over plain HTTP, where anyone can read it"
        };
        tracing::info!(engine, cookie = name, secure, "sessions are ready; {note}");
    }
    if let Some(token) = &shared.carriers.token {
        let header = &*token.names.request;
        tracing::info!(engine, header, "sessions are ready; their tokens travel in a header");
    }
}

/// The smallest limit of a record that leaves room for an owner's name and a label.
const SMALLEST_LIMIT: usize = 1024;

impl fmt::Debug for SessionManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionManagerBuilder")
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}
