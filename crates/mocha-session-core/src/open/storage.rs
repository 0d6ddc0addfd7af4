//! The storage of a manager's sessions: a store, or the client's cookie.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::NearPolicy;
use crate::crypto::secret::Secrets;
use crate::error::Result;
use crate::store::{Capabilities, SessionStore};

/// The storage of a manager's sessions: a store, or the client's cookie.
///
/// It may carry a deadline for the store's calls, and secrets. Opening a URL returns a `Storage`,
/// and a [`SessionManager`](crate::SessionManager) is built from one. `into()` converts a store to
/// a `Storage`.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::Storage;
///
/// let storage = Storage::client_side();
/// assert!(!storage.capabilities().compare_and_set());
/// ```
#[derive(Clone)]
pub struct Storage {
    pub(crate) store: Option<Arc<dyn SessionStore>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) secrets: Option<Secrets>,
    pub(crate) near: Option<NearPolicy>,
}

impl Storage {
    /// Keeps sessions in the client's cookie, encrypted under a secret.
    ///
    /// The [`capabilities`](Self::capabilities) list the limits of this mode.
    pub fn client_side() -> Self {
        Self { store: None, timeout: None, secrets: None, near: None }
    }

    /// Keeps sessions in a store that is shared with other code.
    pub fn from_arc(store: Arc<dyn SessionStore>) -> Self {
        let timeout = store.capabilities().deadline();
        Self { store: Some(store), timeout, secrets: None, near: None }
    }

    /// Sets the deadline of every store call. The default is the deadline that the store was
    /// [configured with](Capabilities::with_deadline), or five seconds.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Adds secrets for the manager.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// Lets managers read sessions from this process's memory if they were read from the engine a
    /// short time ago. Use it for distant engines. In a URL it is the option `near`, for example
    /// `?near=2s`.
    ///
    /// Writes still go to the engine, so no change is lost and no ended session comes back. A
    /// request sees the writes of earlier requests to this process. But for at most the policy's
    /// [`max_age`](NearPolicy::max_age), a load may return the old state of a session that another
    /// process has changed or ended, and a flash message may be shown twice.
    /// [`Requirement::FinalLogout`](crate::Requirement::FinalLogout) is refused.
    ///
    /// Each manager has its own memory. It contains encrypted records, as the engine does.
    #[must_use]
    pub fn near(mut self, policy: NearPolicy) -> Self {
        self.near = Some(policy);
        self
    }

    /// Returns the store, or `None` for client-side sessions.
    pub fn store(&self) -> Option<&Arc<dyn SessionStore>> {
        self.store.as_ref()
    }

    /// Returns the capabilities of the store or of the client-side mode.
    pub fn capabilities(&self) -> Capabilities {
        let store = self.store.as_ref();
        let it = store.map_or_else(Capabilities::client_side, |store| (**store).capabilities());
        match self.near {
            Some(near) => it.with_reads_within(near.max_age()),
            None => it,
        }
    }

    /// Checks that the engine answers. Client-side sessions have no engine, so the check always
    /// succeeds.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn ping(&self) -> Result<()> {
        match &self.store {
            Some(store) => store.ping().await,
            None => Ok(()),
        }
    }
}

impl<S: SessionStore> From<S> for Storage {
    fn from(store: S) -> Self {
        Self::from_arc(Arc::new(store))
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Storage");
        match &self.store {
            Some(store) => out.field("store", store),
            None => out.field("store", &"client's cookie"),
        };
        out.field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
