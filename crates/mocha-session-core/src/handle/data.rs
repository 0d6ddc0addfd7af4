//! What every handle to a session can do: read and change its values, flash, commit, reload.

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
use crate::session::change::Change;
use crate::session::shared::Backend;
use crate::session::state::{Base, Inner, Phase, gone, rebase, stored};
use crate::time::from_millis;
use crate::values::wire::Text;
use crate::values::{self, Encoded};

/// What every handle to a session can do. [`Session`](crate::Session) and
/// [`DetachedSession`](crate::DetachedSession) deref to it.
///
/// Names of values are [`Key`](crate::Key)s or plain text; names beginning with `__` are reserved.
///
/// Values are what serde can write and read. Whatever `serde_json` gives back as it was, a session
/// gives back, and also maps with any keys and every float. Refused are values nested deeper than
/// 127 levels, a `Some` of nothing (`Some(None)`, `Some(())`), which would be read as `None`, and
/// types that only another format can read. Serde itself cannot read 128-bit numbers within
/// untagged, internally tagged or flattened types, in any format.
///
/// `get` then `insert` is a blind write: of two requests that do so at once the later one wins.
/// Where that matters use [`update`](Self::update), [`try_update`](Self::try_update) or
/// [`modify`](Self::modify), which are atomic on every engine with compare-and-set.
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

    /// A value; `None` when there is none.
    ///
    /// # Errors
    /// `InvalidInput` when the value is not a `T` (it stays), or the name is not allowed.
    pub fn get<T: DeserializeOwned>(&self, key: impl KeyFor<T>) -> Result<Option<T>> {
        let name = key::checked(&key)?;
        // Decoded outside the lock: a `Deserialize` may use the session.
        let view = self.view();
        view.values.get(name).map(|value| values::decode(name, value)).transpose()
    }

    /// Sets a value, whatever was there.
    ///
    /// # Errors
    /// `InvalidInput` when the value cannot be encoded or the name is not allowed; `Closed` when
    /// the response has its headers; `Gone` when a commit found the session gone; `Unavailable`
    /// when this request goes on without a session.
    pub fn insert<T: Serialize>(&self, key: impl KeyFor<T>, value: T) -> Result<()> {
        let name = key::text(&key)?;
        let value = values::encode(&value)?;
        self.inner.state().change(Change::Set(name, value))
    }

    /// Removes a value; whether there was one.
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

    /// Removes a value and returns it: a one-time token, for example.
    ///
    /// Of several requests that take the same value one succeeds; the commit of the others is a
    /// `Conflict`.
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

    /// Whether there is such a value.
    pub fn contains(&self, key: impl KeyName) -> bool {
        // Named before the lock is taken: a name of the caller's own may use the session.
        let name = key.key_name();
        self.inner.state().view.values.get(name).is_some()
    }

    /// The names of the values, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.inner.state().view.values.iter().map(|(name, _)| name.to_owned()).collect()
    }

    /// All names and values, sorted by name.
    ///
    /// # Errors
    /// `InvalidInput` when a value has no JSON form (a map with keys that are not text, for
    /// example).
    pub fn entries(&self) -> Result<Vec<(String, serde_json::Value)>> {
        self.view()
            .values
            .iter()
            .map(|(name, value)| Ok((name.to_owned(), values::decode(name, value)?)))
            .collect()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.inner.state().view.values.is_empty()
    }

    /// Removes all values. The session, its owner and its flash messages stay.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn clear(&self) -> Result<()> {
        self.inner.state().change(Change::Clear)
    }

    /// Whether nothing is stored of this session yet, or any more.
    pub fn is_new(&self) -> bool {
        self.inner.state().base.is_none()
    }

    /// Whose session it is: what [`login`](crate::Session::login) was given.
    pub fn owner(&self) -> Option<String> {
        self.inner.state().view.owner.as_ref().map(|owner| owner.name.as_str().to_owned())
    }

    /// When the owner last proved who they are: at the login, or by a later
    /// [`confirm`](crate::Session::confirm). `None` when nobody is logged in.
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        let state = self.inner.state();
        state.view.owner.as_ref()?;
        Some(from_millis(state.view.confirmed.unwrap_or(state.view.created)))
    }

    /// Whether the owner has proved who they are within this time: what to ask before something
    /// sensitive. (ASVS 7.5.1)
    pub fn is_fresh(&self, within: Duration) -> bool {
        let now = from_millis(self.inner.shared.now());
        let age = self.authenticated_at().map(|at| now.duration_since(at).unwrap_or_default());
        age.is_some_and(|age| age <= within)
    }

    /// Which of its owner's sessions it is, where owners are indexed: "this device".
    pub fn handle(&self) -> Option<SessionHandle> {
        let state = self.inner.state();
        state
            .view
            .owner
            .as_ref()
            .filter(|owner| owner.handle != 0)
            .map(|owner| SessionHandle(owner.handle))
    }

    /// What it is called in its owner's list: a browser and a place, for example.
    pub fn label(&self) -> Option<String> {
        self.inner.state().view.label.as_ref().map(|label| label.as_str().to_owned())
    }

    /// Sets what it is called in its owner's list.
    ///
    /// # Errors
    /// `InvalidInput` over 256 bytes; else as [`insert`](Self::insert).
    pub fn set_label(&self, label: impl AsRef<str>) -> Result<()> {
        let label = label.as_ref();
        if label.len() > MAX_NAME_BYTES {
            return Err(Error::invalid_input("the label of a session has at most 256 bytes"));
        }
        self.inner
            .state()
            .change(Change::Label(Some(Text::from(label)).filter(|_| !label.is_empty())))
    }

    /// Gives this session an idle timeout of its own, counted from now, up to the configured
    /// ceiling, and a cookie that outlives the browser: "keep me logged in". It sticks through
    /// refreshes and rotations.
    ///
    /// # Errors
    /// `InvalidInput` under a second; else as [`insert`](Self::insert).
    pub fn remember_for(&self, idle: Duration) -> Result<()> {
        if idle < Duration::from_secs(1) {
            return Err(Error::invalid_input(
                "a session cannot be remembered for less than a second",
            ));
        }
        self.remember(Some(policy::millis(idle)), Persistence::Kept)
    }

    /// Makes this session's cookie one that ends with the browser, with the configured idle
    /// timeout: what an unticked "keep me logged in" box asks for. It sticks through refreshes and
    /// rotations.
    ///
    /// Browsers that restore their tabs keep such cookies too: it is a wish, and the idle timeout
    /// is the rule.
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

    /// When it began: at its first write, or at the last login.
    pub fn created_at(&self) -> SystemTime {
        from_millis(self.inner.state().view.created)
    }

    /// When it expires unless it is used.
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

    /// A name for the session that is safe in logs: the same for all its requests until its id
    /// changes, of no use to anybody who reads it. `None` while it has no id, and for client-side
    /// sessions, which have none.
    pub fn fingerprint(&self) -> Option<String> {
        let scope = &self.inner.shared.scope;
        stored(self.inner.state().base.as_ref()).map(|stored| stored.id.fingerprint(scope))
    }

    /// Its flash messages and data.
    pub fn flash(&self) -> Flash {
        Flash::new(self.clone())
    }

    /// Commits the changes now, instead of when the response goes out. They are final whatever the
    /// response is.
    ///
    /// Runs to its end even when the future is dropped.
    ///
    /// # Errors
    /// `Gone` when the session was destroyed, revoked, rotated or expired meanwhile: the changes
    /// were dropped. `Conflict` when others changed it too often at the same time, or took what
    /// this took. `TooManySessions` when its login was refused. `Ambiguous` when nobody can tell whether it was written. `TooLarge` over a limit.
    /// Else the engine's.
    pub async fn commit(&self) -> Result<()> {
        request::commit_now(&self.inner).await
    }

    /// Loads the session anew and applies the uncommitted changes over it.
    ///
    /// # Errors
    /// `Gone` when it is not there any more; else as loading it.
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
            // What an earlier commit left open, and turns out to have been done, is in what was
            // loaded.
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

    /// The content with the changes so far.
    pub(crate) fn view(&self) -> Arc<Content> {
        Arc::clone(&self.inner.state().view)
    }
}

impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe("SessionData", f)
    }
}
