//! Lists and revokes the sessions of a user.

use std::fmt;
use std::time::SystemTime;

use super::SessionManager;
use crate::error::{Error, ErrorKind, Result};
use crate::future;
use crate::handle::{SessionData, SessionHandle};
use crate::ledger::ending::end_all;
use crate::ledger::owners::{Entry, Owners};
use crate::ledger::vault::Vault;
use crate::mutant;
use crate::observe::{Ending, Event, Subject};
use crate::session::shared::Backend;
use crate::time::from_millis;
use crate::values::wire::Text;

/// One of a user's sessions, as listed in the owner index.
///
/// ```no_run
/// # async fn demo(manager: mocha_session_core::SessionManager) -> mocha_session_core::Result<()> {
/// for device in manager.sessions_of("alice").await? {
///     let label = device.label().unwrap_or("?");
///     println!("{}: {label} since {:?}", device.handle(), device.created_at());
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedSession {
    handle: SessionHandle,
    created: SystemTime,
    used: SystemTime,
    until: SystemTime,
    label: Option<String>,
}

impl OwnedSession {
    fn of(entry: Entry) -> Self {
        Self {
            handle: SessionHandle(entry.handle),
            created: from_millis(entry.created),
            used: from_millis(entry.used),
            until: from_millis(entry.until()),
            label: entry.label.map(|label| label.as_str().to_owned()),
        }
    }

    /// Returns whether it is the given session, for example to show "this device".
    pub fn is_current(&self, session: &SessionData) -> bool {
        session.handle() == Some(self.handle)
    }

    /// Returns the time at which the session was last used. It is updated when the idle deadline is
    /// refreshed, so it may be late by the refresh interval.
    pub fn last_seen(&self) -> SystemTime {
        self.used
    }

    /// Returns the handle, which [`SessionManager::revoke`] takes.
    pub fn handle(&self) -> SessionHandle {
        self.handle
    }

    /// Returns the time at which the owner logged in.
    pub fn created_at(&self) -> SystemTime {
        self.created
    }

    /// Returns the time at which the session expires if it is not used.
    pub fn expires_at(&self) -> SystemTime {
        self.until
    }

    /// Returns the label that [`set_label`](SessionData::set_label) set.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }
}

/// Omits the label, because it may be personal data.
impl fmt::Debug for OwnedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedSession")
            .field("handle", &self.handle)
            .field("created", &self.created)
            .field("used", &self.used)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl SessionManager {
    /// Returns the live sessions of a user, newest login first.
    ///
    /// It makes one store call per session, to list only live sessions.
    ///
    /// # Errors
    /// `Unsupported` for client-side sessions, and on engines that evict unless the manager was
    /// built with [`check_owner_at_load`](super::SessionManagerBuilder::check_owner_at_load).
    /// Otherwise the engine's errors.
    pub async fn sessions_of(&self, owner: &str) -> Result<Vec<OwnedSession>> {
        let vault = self.indexed()?;
        let owner = Text::from(owner);
        let listed = self.shared.owners.list(vault, &owner).await?;
        let (alive, dead) = Owners::sort_out(vault, listed).await?;
        if !dead.is_empty() {
            let forgotten = self.shared.owners.forget_entries(vault, &owner, &dead).await;
            forgotten.unwrap_or_else(|error| {
                tracing::debug!(%error, "ended sessions stay in their owner index for now");
            });
        }
        let mut sessions: Vec<_> = alive.into_iter().map(OwnedSession::of).collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(session.created));
        Ok(sessions)
    }

    /// Ends one session of a user. Returns whether there was such a session.
    ///
    /// # Errors
    /// As [`sessions_of`](Self::sessions_of). After an error call it again: it continues where it
    /// stopped.
    pub async fn revoke(&self, owner: &str, handle: SessionHandle) -> Result<bool> {
        let ended = self.revoke_where(owner, false, move |entry| entry.handle == handle.0).await?;
        Ok(ended.contains(&handle.0))
    }

    /// Ends all sessions of a user, and refuses concurrent logins: "log out everywhere". Returns
    /// the number of sessions ended.
    ///
    /// # Errors
    /// As [`sessions_of`](Self::sessions_of). After an error call it again: it continues where it
    /// stopped.
    pub async fn revoke_all(&self, owner: &str) -> Result<usize> {
        Ok(self.revoke_where(owner, true, |_| true).await?.len())
    }

    /// Ends all other sessions of this session's owner, and refuses concurrent logins. Returns the
    /// number of sessions ended.
    ///
    /// # Errors
    /// `InvalidInput` if no user is logged in or the login is not committed yet. Otherwise as
    /// [`sessions_of`](Self::sessions_of).
    pub async fn revoke_others(&self, session: &SessionData) -> Result<usize> {
        let owner = {
            let state = session.inner().state();
            // An uncommitted login does not count, because its commit may fail.
            let committed = state.base.as_ref().and(state.before().owner.as_ref());
            committed
                .filter(|owner| owner.handle != 0 && state.view.owner.as_ref() == Some(owner))
                .cloned()
        };
        let Some(owner) = owner else {
            self.indexed()?;
            return Err(Error::invalid_input(
                "the other sessions of the owner cannot be ended: no user is logged in, or the \
                 login is not committed yet; call commit() after login()",
            ));
        };
        let own = owner.handle;
        let others = move |entry: &Entry| entry.handle != own;
        Ok(self.revoke_where(owner.name.as_str(), true, others).await?.len())
    }

    /// Marks the entries, ends their sessions and removes the entries. It runs to completion even
    /// if the caller is dropped.
    async fn revoke_where(
        &self,
        owner: &str,
        everyone: bool,
        which: impl Fn(&Entry) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<u64>> {
        self.indexed()?;
        let (manager, owner) = (self.clone(), Text::from(owner));
        let tasks = &self.shared.tasks;
        let ending = Box::pin(async move {
            let (vault, owners) = (manager.indexed()?, &manager.shared.owners);
            let marked = owners.mark(vault, &owner, everyone, which).await?;
            let keys =
                marked.iter().flat_map(|entry| &entry.locations).map(|location| location.key);
            let mut keys: Vec<_> = keys.collect();
            if mutant("a revocation ends the newest id alone") {
                keys.drain(..keys.len().saturating_sub(1));
            }
            // An unreadable record was deleted. All other sessions are ended before the error is
            // returned.
            let ended = end_all(vault, &keys, manager.shared.policy.tombstone).await;
            if ended.as_ref().is_err_and(|error| !error.is_corrupt()) {
                return ended.map(|()| Vec::new());
            }
            let mut handles: Vec<_> = marked.iter().map(|entry| entry.handle).collect();
            handles.sort_unstable();
            handles.dedup();
            for _ in &handles {
                let session = Subject::new(None, Some(owner.as_str()));
                vault.observed.tell(|| Event::Ended { session, how: Ending::Revoked });
            }
            if !handles.is_empty() {
                owners.forget(vault, &owner, &handles).await?;
            }
            ended.map(|()| handles)
        });
        future::to_its_end(tasks, ending).await
    }

    fn indexed(&self) -> Result<&Vault> {
        match &self.shared.backend {
            Backend::Client(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "client-side sessions cannot be listed or revoked; set SESSION_URL to keep \
                 sessions on a server",
            )),
            Backend::Store(_) if !self.shared.owners_indexed => Err(Error::new(
                ErrorKind::Unsupported,
                "this engine may evict live sessions, so owners' sessions are not indexed; build \
                 the manager with check_owner_at_load(true), which costs one more store call per \
                 load",
            )),
            Backend::Store(vault) => Ok(vault),
        }
    }
}
