//! The methods of every session handle: read and change values, flash, commit, reload.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::handle::key::{self, KeyFor, KeyName};
use crate::handle::session::MAX_NAME_BYTES;
use crate::handle::{Flash, SessionHandle};
use crate::record::content::{Content, Persistence};
use crate::record::policy;
use crate::request;
use crate::request::load::{self, Known};
use crate::session::base::Base;
use crate::session::change::Change;
use crate::session::shared::Backend;
use crate::session::state::{Inner, Phase, gone, rebase, stored};
use crate::time::from_millis;
use crate::values::wire::Text;
use crate::values::{self, Encoded};

/// The methods of every session handle. [`Session`](crate::Session) and
/// [`DetachedSession`](crate::DetachedSession) dereference to it.
///
/// The name of a value is a [`Key`](crate::Key) or plain text. Names that begin with `__` are
/// reserved.
///
/// A value is any type that serde can write and read. A session returns every value that
/// `serde_json` would return unchanged, and also maps with any key type and every float. A session
/// refuses values nested deeper than 127 levels, a `Some` that would be read as `None`
/// (`Some(None)`, `Some(())`), and types that only another format can read. Serde itself cannot
/// read 128-bit numbers in untagged, internally tagged or flattened types, in any format.
///
/// `get` followed by `insert` is a blind write: if two requests do it at the same time, the later
/// one wins. Where that matters, use [`update`](Self::update), [`try_update`](Self::try_update) or
/// [`modify`](Self::modify). They are atomic on every engine with compare-and-set.
///
/// ```
/// # let session = mocha_session_core::Session::in_memory()?;
/// session.insert("color", "blue")?;
/// assert_eq!(session.get::<String>("color")?.as_deref(), Some("blue"));
/// assert!(session.get::<u32>("color").is_err()); // and the value is still there
/// assert!(session.remove("color")?);
/// assert!(!session.contains("color"));
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SessionData {
    inner: Arc<Inner>,
}

impl SessionData {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Returns the value, or `None` if there is none.
    ///
    /// # Errors
    /// `InvalidInput` if the value is not a `T` (it is not removed), or if the name is not allowed.
    pub fn get<T: DeserializeOwned>(&self, key: impl KeyFor<T>) -> Result<Option<T>> {
        let name = key::checked(&key)?;
        // Decoded outside the lock: a `Deserialize` may use the session.
        let view = self.view();
        view.values.get(name).map(|value| values::decode(name, value)).transpose()
    }

    /// Sets a value, and replaces the current one.
    ///
    /// # Errors
    /// `InvalidInput` if the value cannot be encoded or the name is not allowed. `Closed` if the
    /// response headers were already written. `Gone` if a commit found the session gone.
    /// `Unavailable` if this request continues without a session.
    pub fn insert<T: Serialize>(&self, key: impl KeyFor<T>, value: T) -> Result<()> {
        let name = key::text(&key)?;
        let value = values::encode(&value)?;
        self.inner.state().change(Change::Set(name, value))
    }

    /// Removes a value. Returns whether there was one.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove(&self, key: impl KeyName) -> Result<bool> {
        let name = key::text(&key)?;
        let mut state = self.inner.state();
        let there = state.view.values.get(name.as_str()).is_some();
        state.change(Change::Remove(name))?;
        Ok(there)
    }

    /// Removes a value and returns it, for example a one-time token.
    ///
    /// If several requests take the same value, one of them succeeds. The commits of the others
    /// fail with `Conflict`.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    pub fn take<T: DeserializeOwned>(&self, key: impl KeyFor<T>) -> Result<Option<T>> {
        let name = key::text(&key)?;
        loop {
            // Decoded outside the lock: a `Deserialize` may use the session.
            let view = self.view();
            let Some(value) = view.values.get(name.as_str()) else { return Ok(None) };
            let taken = values::decode(name.as_str(), value)?;
            let mut state = self.inner.state();
            if state.view.values.get(name.as_str()) == Some(value) {
                state.change(Change::Take(name, Encoded::from(value)))?;
                return Ok(Some(taken));
            }
        }
    }

    /// Returns whether there is a value of this name.
    pub fn contains(&self, key: impl KeyName) -> bool {
        // Asked before the lock is taken, because the caller's `KeyName` may use the session.
        let name = key.key_name();
        self.inner.state().view.values.get(name).is_some()
    }

    /// Returns the names of the values, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.inner.state().view.values.iter().map(|(name, _)| name.to_owned()).collect()
    }

    /// Returns all names and values, sorted by name.
    ///
    /// # Errors
    /// `InvalidInput` if a value has no JSON form, for example a map whose keys are not text.
    pub fn entries(&self) -> Result<Vec<(String, serde_json::Value)>> {
        self.view()
            .values
            .iter()
            .map(|(name, value)| Ok((name.to_owned(), values::decode(name, value)?)))
            .collect()
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.inner.state().view.values.is_empty()
    }

    /// Removes all values. The session, its owner and its flash messages are kept.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn clear(&self) -> Result<()> {
        self.inner.state().change(Change::Clear)
    }

    /// Returns whether the store has no record of this session: it was not yet committed, or is
    /// gone.
    pub fn is_new(&self) -> bool {
        self.inner.state().base.is_none()
    }

    /// Returns the owner that was passed to [`login`](crate::Session::login).
    pub fn owner(&self) -> Option<String> {
        self.inner.state().view.owner.as_ref().map(|owner| owner.name.as_str().to_owned())
    }

    /// Returns the time at which the owner last authenticated, at the login or by a later
    /// [`confirm`](crate::Session::confirm). Returns `None` if no user is logged in.
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        let state = self.inner.state();
        state.view.owner.as_ref()?;
        Some(from_millis(state.view.confirmed.unwrap_or(state.view.created)))
    }

    /// Returns whether the owner has authenticated within this time. Check it before a sensitive
    /// action. (ASVS 7.5.1)
    pub fn is_fresh(&self, within: Duration) -> bool {
        let now = from_millis(self.inner.shared.now());
        let age = self.authenticated_at().map(|at| now.duration_since(at).unwrap_or_default());
        age.is_some_and(|age| age <= within)
    }

    /// Returns the handle of this session among its owner's sessions ("this device"), or `None` if
    /// owners are not indexed.
    pub fn handle(&self) -> Option<SessionHandle> {
        let state = self.inner.state();
        state
            .view
            .owner
            .as_ref()
            .filter(|owner| owner.handle != 0)
            .map(|owner| SessionHandle(owner.handle))
    }

    /// Returns the session's label in its owner's list, for example a browser and a place.
    pub fn label(&self) -> Option<String> {
        self.inner.state().view.label.as_ref().map(|label| label.as_str().to_owned())
    }

    /// Sets the session's label in its owner's list. An empty label removes it.
    ///
    /// # Errors
    /// `InvalidInput` if it is longer than 256 bytes. Otherwise as [`insert`](Self::insert).
    pub fn set_label(&self, label: impl AsRef<str>) -> Result<()> {
        let label = label.as_ref();
        if label.len() > MAX_NAME_BYTES {
            return Err(Error::invalid_input("the label of a session has at most 256 bytes"));
        }
        self.inner
            .state()
            .change(Change::Label(Some(Text::from(label)).filter(|_| !label.is_empty())))
    }

    /// Sets an idle timeout for this session alone, counted from now, and a cookie that outlives
    /// the browser: "keep me logged in".
    ///
    /// The timeout is limited by the configured ceiling. It is kept through refreshes and
    /// rotations.
    ///
    /// # Errors
    /// `InvalidInput` if it is less than a second. Otherwise as [`insert`](Self::insert).
    pub fn remember_for(&self, idle: Duration) -> Result<()> {
        if idle < Duration::from_secs(1) {
            return Err(Error::invalid_input(
                "a session cannot be remembered for less than a second",
            ));
        }
        self.remember(Some(policy::millis(idle)), Persistence::Kept)
    }

    /// Makes this session's cookie end with the browser, and applies the configured idle timeout.
    /// Use it for an unticked "keep me logged in" box. It is kept through refreshes and rotations.
    ///
    /// Browsers that restore their tabs keep such cookies too. Only the idle timeout ends the
    /// session reliably.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn forget_on_close(&self) -> Result<()> {
        self.remember(None, Persistence::Forgotten)
    }

    fn remember(&self, idle: Option<u64>, persistence: Persistence) -> Result<()> {
        let now = self.inner.shared.now();
        self.inner.state().change(Change::Remember { idle, persistence, now })
    }

    /// Returns the time at which the session began: its first write, or the last login.
    pub fn created_at(&self) -> SystemTime {
        from_millis(self.inner.state().view.created)
    }

    /// Returns the time at which the session expires if it is not used.
    pub fn expires_at(&self) -> SystemTime {
        let policy = &self.inner.shared.policy;
        let state = self.inner.state();
        let deadline = match stored(state.base.as_ref()) {
            Some(stored) if state.original.is_none() => {
                policy.effective(&state.view, stored.version.header.deadline)
            }
            _ => policy.deadline(&state.view),
        };
        from_millis(deadline)
    }

    /// Returns a name for the session that is safe in logs. It is the same for all requests until
    /// the session's id changes, and it does not reveal the id.
    ///
    /// Returns `None` while the session has no id, and for client-side sessions, which have none.
    pub fn fingerprint(&self) -> Option<String> {
        let scope = &self.inner.shared.scope;
        stored(self.inner.state().base.as_ref()).map(|stored| stored.id.fingerprint(scope))
    }

    /// Returns the session's flash messages and data.
    pub fn flash(&self) -> Flash {
        Flash::new(self.clone())
    }

    /// Commits the changes now, instead of with the response. They are final whatever the response
    /// is.
    ///
    /// The commit runs to its end even if the future is dropped.
    ///
    /// # Errors
    /// `Gone` if the session was destroyed, revoked, rotated or expired in the meantime: the
    /// changes were dropped. `Conflict` if other requests changed the session too often at the same
    /// time, or took a value that this request took. `TooManySessions` if its login was refused.
    /// `Ambiguous` if it is unknown whether the changes were written. `TooLarge` over a limit.
    /// Otherwise the engine's errors.
    pub async fn commit(&self) -> Result<()> {
        request::commit_now(&self.inner).await
    }

    /// Loads the session again and reapplies the uncommitted changes.
    ///
    /// # Errors
    /// `Gone` if the session no longer exists. Otherwise as for loading it.
    pub async fn reload(&self) -> Result<()> {
        let _gate = self.inner.gate.lock().await;
        let (known, starts) = {
            let state = self.inner.state();
            state.writable()?;
            (stored(state.base.as_ref()).map(|stored| stored.id.clone()), state.starts)
        };
        let (Some(id), Backend::Store(vault)) = (known, &self.inner.shared.backend) else {
            return Ok(());
        };
        let (stored, content) = match load::from_store(&self.inner.shared, vault, &id).await? {
            Known::Live(stored, content) => (stored, content),
            Known::Nothing | Known::Superseded => {
                let mut state = self.inner.state();
                if state.starts == starts {
                    state.phase = Phase::Gone;
                    state.line = None;
                    state.start_over(self.inner.shared.now());
                }
                return Err(gone());
            }
        };
        {
            // If an earlier commit was in doubt but did succeed, the loaded record contains its
            // changes.
            let mut state = self.inner.state();
            let landed = |doubt: &mut Box<crate::session::doubt::Doubt>| {
                stored.version.header.commits.contains(&doubt.commit)
            };
            let doubt = if state.starts == starts { state.doubt.take_if(landed) } else { None };
            if let Some(doubt) = doubt {
                state.edits += 1;
                let landed: Vec<_> = state.log.drain(..doubt.changes).collect();
                drop(state);
                drop(landed);
            }
        }
        rebase(&self.inner, starts, Some(&Base::Stored(stored)), &content)?;
        Ok(())
    }

    pub(crate) fn describe(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.inner.state();
        f.debug_struct(name)
            .field("new", &state.base.is_none())
            .field("values", &state.view.values.iter().count())
            .field("changes", &state.log.len())
            .finish_non_exhaustive()
    }

    /// Returns the content with the uncommitted changes applied.
    pub(crate) fn view(&self) -> Arc<Content> {
        Arc::clone(&self.inner.state().view)
    }
}

impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe("SessionData", f)
    }
}
