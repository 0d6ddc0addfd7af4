//! A user's sessions: list them, end one, end all.

use std::fmt;
use std::time::SystemTime;

use super::SessionManager;
use crate::error::{Error, ErrorKind, Result};
use crate::future;
use crate::handle::{SessionData, SessionHandle};
use crate::ledger::ending::end_all;
use crate::ledger::owners::Entry;
use crate::ledger::vault::{Found, Vault};
use crate::mutant;
use crate::observe::{Ending, Event, Subject};
use crate::record::Kind;
use crate::session::shared::Backend;
use crate::time::from_millis;
use crate::values::wire::Text;

/// One of an owner's sessions, as their index knows it.
///
/// ```no_run
/// # async fn demo(manager: mocha_session_core::SessionManager) -> mocha_session_core::Result<()> {
/// for device in manager.sessions_of("alice").await? {
///     println!("{}: {} since {:?}", device.handle(), device.label().unwrap_or("?"), device.created_at());
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
    /// Whether it is this session: "this device".
    pub fn is_current(&self, session: &SessionData) -> bool {
        session.handle() == Some(self.handle)
    }

    /// When it was last used. It moves with the refresh of the idle deadline, so it may lag behind
    /// by the refresh interval.
    pub fn last_seen(&self) -> SystemTime {
        self.used
    }

    /// What [`SessionManager::revoke`] takes.
    pub fn handle(&self) -> SessionHandle {
        self.handle
    }

    /// When the owner logged in.
    pub fn created_at(&self) -> SystemTime {
        self.created
    }

    /// When it expires unless it is used.
    pub fn expires_at(&self) -> SystemTime {
        self.until
    }

    /// What [`set_label`](SessionData::set_label) said of it.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }
}

/// Without its label, which is the user's.
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
    /// The live sessions of a user, newest login first. Each is looked up, one call per session, so
    /// that what is listed is alive.
    ///
    /// # Errors
    /// `Unsupported` for client-side sessions, and on engines that evict unless the manager was
    /// built with [`check_owner_at_load`](super::SessionManagerBuilder::check_owner_at_load); else
    /// the engine's.
    pub async fn sessions_of(&self, owner: &str) -> Result<Vec<OwnedSession>> {
        let vault = self.indexed()?;
        let owner = Text::from(owner);
        let (mut sessions, mut dead) = (Vec::new(), Vec::new());
        for entry in self.shared.owners.list(vault, &owner).await? {
            if is_alive(vault, &entry).await? {
                sessions.push(OwnedSession {
                    handle: SessionHandle(entry.handle),
                    created: from_millis(entry.created),
                    used: from_millis(entry.used),
                    until: from_millis(entry.until()),
                    label: entry.label.map(|label| label.as_str().to_owned()),
                });
            } else {
                dead.push(entry);
            }
        }
        if !dead.is_empty() {
            let forgotten = self.shared.owners.forget_entries(vault, &owner, &dead).await;
            forgotten.unwrap_or_else(|error| {
                tracing::debug!(%error, "entries of sessions that ended stay in their owner's index");
            });
        }
        sessions.sort_by_key(|session| std::cmp::Reverse(session.created));
        Ok(sessions)
    }

    /// Ends one session of a user; whether there was one.
    ///
    /// # Errors
    /// As [`sessions_of`](Self::sessions_of). After an error call it again: it goes on where it
    /// stopped.
    pub async fn revoke(&self, owner: &str, handle: SessionHandle) -> Result<bool> {
        let ended = self.revoke_where(owner, false, move |entry| entry.handle == handle.0).await?;
        Ok(ended.contains(&handle.0))
    }

    /// Ends every session of a user, and refuses logins that are under way: "log out everywhere".
    ///
    /// # Errors
    /// As [`sessions_of`](Self::sessions_of). After an error call it again: it goes on where it
    /// stopped.
    pub async fn revoke_all(&self, owner: &str) -> Result<usize> {
        Ok(self.revoke_where(owner, true, |_| true).await?.len())
    }

    /// Ends every session of this session's owner but this one, and refuses logins that are under
    /// way.
    ///
    /// # Errors
    /// `InvalidInput` when nobody is logged in or the login is not committed yet; else as
    /// [`sessions_of`](Self::sessions_of).
    pub async fn revoke_others(&self, session: &SessionData) -> Result<usize> {
        let owner = {
            let state = session.inner().state();
            // A login that is not committed may still come to nothing.
            let committed = state.base.as_ref().and(state.before().owner.as_ref());
            committed
                .filter(|owner| owner.handle != 0 && state.view.owner.as_ref() == Some(owner))
                .cloned()
        };
        let Some(owner) = owner else {
            self.indexed()?;
            return Err(Error::invalid_input(
                "this session has no owner whose other sessions could be ended",
            ));
        };
        let own = owner.handle;
        let others = move |entry: &Entry| entry.handle != own;
        Ok(self.revoke_where(owner.name.as_str(), true, others).await?.len())
    }

    /// Marks, ends, forgets: once begun it goes on to its end, whatever becomes of the caller.
    async fn revoke_where(
        &self,
        owner: &str,
        everyone: bool,
        which: impl Fn(&Entry) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<u64>> {
        self.indexed()?;
        let (manager, owner) = (self.clone(), Text::from(owner));
        future::to_its_end(Box::pin(async move {
            let (vault, owners) = (manager.indexed()?, &manager.shared.owners);
            let marked = owners.mark(vault, &owner, everyone, which).await?;
            let keys =
                marked.iter().flat_map(|entry| &entry.locations).map(|location| location.key);
            let mut keys: Vec<_> = keys.collect();
            if mutant("a revocation ends the newest id alone") {
                keys.drain(..keys.len().saturating_sub(1));
            }
            // A record that could not be read was deleted. All others are ended before that is
            // reported.
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
        }))
        .await
    }

    fn indexed(&self) -> Result<&Vault> {
        match &self.shared.backend {
            Backend::Client(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "client-side sessions cannot be listed or revoked; set SESSION_URL to keep sessions on a server",
            )),
            Backend::Store(_) if !self.shared.owners_indexed => Err(Error::new(
                ErrorKind::Unsupported,
                "this engine may evict what it acknowledged, so owners' sessions are not indexed; build the manager with \
                 check_owner_at_load(true), which costs one more trip per load",
            )),
            Backend::Store(vault) => Ok(vault),
        }
    }
}

/// Whether a session is alive under one of the keys of its entry.
async fn is_alive(vault: &Vault, entry: &Entry) -> Result<bool> {
    for location in entry.locations.iter().rev() {
        match vault.look(&location.key).await? {
            Found::Record(version, _) if version.header.kind == Kind::Live => return Ok(true),
            // Nobody can tell; revoking it deletes it.
            Found::Unreadable { .. } => return Ok(true),
            Found::Record(..) | Found::Nothing => {}
        }
    }
    Ok(false)
}
