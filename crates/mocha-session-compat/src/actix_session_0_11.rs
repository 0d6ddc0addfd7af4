//! The store for actix-session 0.11.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use actix_session::storage::{
    LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key,
};
use actix_web::cookie::{Cookie, CookieJar, Key};
use mocha_session_core::store::{Expiry, async_trait};
use mocha_session_core::{
    Error, ErrorKind, Kept, OldSessions, Records, Result, Session, SessionManager, Storage,
};
use time::Duration;
use tokio::runtime::Handle;

use crate::adapter::{COOKIE, DRAWS, GONE, NOT_ENDED, NOT_READ, unavailable};

/// The default scope of the records.
const SCOPE: &str = "actix-session";

type State = HashMap<String, String>;

/// A session store of actix-session 0.11 on any engine.
///
/// Cheap to clone: make one, and give a clone to each worker. The [crate's documentation](crate)
/// says what it promises.
///
/// ```
/// use actix_session::SessionMiddleware;
/// use actix_web::cookie::Key;
/// use mocha_session_compat::actix_session_0_11::MochaStore;
///
/// # fn demo(storage: mocha_session_core::Storage, key: Key) -> mocha_session_core::Result<()> {
/// let store = MochaStore::new(storage)?;
/// let middleware = SessionMiddleware::new(store, key);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MochaStore {
    records: Records,
}

impl MochaStore {
    /// A store over this storage, in the scope `actix-session`.
    ///
    /// # Errors
    /// `InvalidConfig` for client-side sessions: they have no store.
    pub fn new(storage: impl Into<Storage>) -> Result<Self> {
        SessionManager::builder(storage).scope(SCOPE).records().map(Self::from)
    }

    /// Stores a session under a new key.
    async fn begin(&self, payload: &[u8], ttl: Duration) -> Result<SessionKey> {
        for _ in 0..DRAWS {
            let key = generate_session_key();
            if self.records.create(id(&key), payload, until(ttl)).await? {
                return Ok(key);
            }
        }
        Err(Error::new(ErrorKind::Internal, "each session key that was drawn is taken"))
    }
}

/// A store over records with a scope, a deadline and limits of their own:
/// `SessionManager::builder(storage).scope("admin").records()?.into()`.
impl From<Records> for MochaStore {
    fn from(records: Records) -> Self {
        Self { records }
    }
}

impl SessionStore for MochaStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        match self.records.load(id(key)).await {
            Ok(Kept::Live(payload)) => serde_json::from_slice(&payload)
                .map(Some)
                .map_err(|error| LoadError::Deserialization(error.into())),
            Ok(Kept::Nothing | Kept::Ended) => Ok(None),
            Ok(Kept::Damaged(error)) => Err(LoadError::Deserialization(error.into())),
            Err(error) => Err(LoadError::Other(error.into())),
        }
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        let payload =
            serde_json::to_vec(&state).map_err(|error| SaveError::Serialization(error.into()))?;
        self.begin(&payload, *ttl).await.map_err(|error| SaveError::Other(error.into()))
    }

    async fn update(
        &self,
        key: SessionKey,
        state: State,
        ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        let payload =
            serde_json::to_vec(&state).map_err(|error| UpdateError::Serialization(error.into()))?;
        let written = match self.records.replace(id(&key), &payload, until(*ttl)).await {
            Ok(Kept::Live(())) => Ok(key),
            Ok(Kept::Nothing | Kept::Ended) => Err(gone()),
            // The middleware has shown the request an empty session. It goes on under a new key.
            Ok(Kept::Damaged(_)) => match self.records.end(id(&key)).await {
                Ok(()) => self.begin(&payload, *ttl).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        written.map_err(|error| UpdateError::Other(error.into()))
    }

    async fn update_ttl(&self, key: &SessionKey, ttl: &Duration) -> anyhow::Result<()> {
        match self.records.extend(id(key), until(*ttl)).await? {
            // The middleware shows the request an empty session where the record is damaged.
            Kept::Live(()) | Kept::Nothing | Kept::Damaged(_) => Ok(()),
            // After a success the middleware would write the dead key over the newer cookie.
            Kept::Ended => Err(gone().into()),
        }
    }

    async fn delete(&self, key: &SessionKey) -> anyhow::Result<()> {
        Ok(self.records.end(id(key)).await?)
    }
}

/// The live sessions of actix-session, for
/// [`take_over`](mocha_session_core::SessionManagerBuilder::take_over).
///
/// A `CookieSessionStore` cannot end a session. The manager remembers what it took over, so a copy
/// of such a cookie begins no second session here; the old application would still accept it.
///
/// ```
/// use actix_web::cookie::Key;
/// use mocha_session_compat::actix_session_0_11::TakeOver;
/// use mocha_session_core::{SessionManager, Storage};
/// # use actix_session::storage::SessionStore;
///
/// # fn demo(
/// #     storage: Storage, old: impl SessionStore + Send + Sync + 'static, key: Key,
/// # ) -> mocha_session_core::Result<()> {
/// // What `SessionMiddleware::new(old, key)` had.
/// let old = TakeOver::values(old, key);
/// let manager = SessionManager::builder(storage).take_over(old).build()?;
/// # Ok(()) }
/// ```
pub struct TakeOver<S> {
    store: Arc<S>,
    fill: Box<Fill>,
    cookie: String,
    key: Key,
    signed: bool,
}

const NOT_JSON: &str = "a value of the old session is not JSON, so it was not taken over";

/// Copies the values of an old session, which are JSON texts, to the session that it becomes.
type Fill = dyn Fn(&Session, State) -> Result<()> + Send + Sync;

impl<S: SessionStore + Send + Sync + 'static> TakeOver<S> {
    /// The sessions of this store, any of actix-session's own, under cookies that this key
    /// encrypted. `fill` gives their values and their user to the sessions that they become.
    pub fn new(
        store: S,
        key: Key,
        fill: impl Fn(&Session, State) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let (store, fill) = (Arc::new(store), Box::new(fill));
        Self { store, fill, cookie: COOKIE.to_owned(), key, signed: false }
    }

    /// The sessions of this store, under cookies that this key encrypted. The sessions that they
    /// become have their values, each under its key.
    pub fn values(store: S, key: Key) -> Self {
        Self::new(store, key, |session, state| {
            state.into_iter().try_for_each(|(key, json)| {
                let value: serde_json::Value = serde_json::from_str(&json)
                    .map_err(|_| Error::new(ErrorKind::Corrupt, NOT_JSON))?;
                session.insert(key, value)
            })
        })
    }

    /// The name of the old cookie. The default is `id`.
    #[must_use]
    pub fn cookie(self, name: impl Into<String>) -> Self {
        Self { cookie: name.into(), ..self }
    }

    /// The cookies are signed (`CookieContentSecurity::Signed`), not encrypted.
    #[must_use]
    pub fn signed(self) -> Self {
        Self { signed: true, ..self }
    }

    fn session_key(&self, cookie: &str) -> Option<SessionKey> {
        let cookie = Cookie::parse_encoded(format!("{}={cookie}", self.cookie)).ok()?;
        let mut jar = CookieJar::new();
        jar.add_original(cookie.into_owned());
        let opened = if self.signed {
            jar.signed(&self.key).get(&self.cookie)
        } else {
            jar.private(&self.key).get(&self.cookie)
        };
        SessionKey::try_from(opened?.value().to_owned()).ok()
    }
}

#[async_trait]
impl<S: SessionStore + Send + Sync + 'static> OldSessions for TakeOver<S> {
    fn cookie(&self) -> &str {
        &self.cookie
    }

    async fn read(&self, cookie: &str, session: &Session) -> Result<bool> {
        let Some(key) = self.session_key(cookie) else { return Ok(false) };
        let store = Arc::clone(&self.store);
        let state = match apart(async move || store.load(&key).await).await {
            Some(Ok(state)) => state,
            Some(Err(LoadError::Deserialization(_))) => None,
            Some(Err(LoadError::Other(_))) | None => return Err(unavailable(NOT_READ)),
        };
        let Some(state) = state else { return Ok(false) };
        (self.fill)(session, state).map(|()| true)
    }

    async fn end(&self, cookie: &str) -> Result<()> {
        let Some(key) = self.session_key(cookie) else { return Ok(()) };
        let store = Arc::clone(&self.store);
        let ended = apart(async move || store.delete(&key).await).await;
        ended.and_then(std::result::Result::ok).ok_or_else(|| unavailable(NOT_ENDED))
    }
}

impl<S> fmt::Debug for TakeOver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakeOver").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

/// Runs a call of the old store on a thread of its own, because its future cannot change threads as
/// the requests of a manager may. `None` where it panicked.
async fn apart<T: Send + 'static>(call: impl AsyncFnOnce() -> T + Send + 'static) -> Option<T> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(call())).await.ok()
}

fn id(key: &SessionKey) -> &[u8] {
    key.as_ref().as_bytes()
}

fn until(ttl: Duration) -> SystemTime {
    let ttl = std::time::Duration::try_from(ttl).unwrap_or_default().min(Expiry::MAX_TTL);
    SystemTime::now() + ttl
}

fn gone() -> Error {
    Error::new(ErrorKind::Gone, GONE)
}
