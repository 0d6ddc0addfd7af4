//! The store for actix-session 0.11.

use std::collections::HashMap;
use std::time::SystemTime;

use actix_session::storage::{
    LoadError, SaveError, SessionKey, SessionStore, UpdateError, generate_session_key,
};
use mocha_session_core::store::Expiry;
use mocha_session_core::{
    Error, ErrorKind, Kept, Records, Result, Session, SessionManager, Storage,
};
use time::Duration;

use crate::adapter::{DRAWS, GONE, begin, unavailable};

/// The default scope of the records.
const SCOPE: &str = "actix-session";

type State = HashMap<String, String>;

/// A session store of actix-session 0.11 on any engine.
///
/// Cloning is cheap: create one, and pass a clone to each worker. The [crate's
/// documentation](crate) lists its guarantees.
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
    /// Creates a store over this storage, in the scope `actix-session`.
    ///
    /// # Errors
    /// `InvalidConfig` for client-side sessions, which have no store.
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

/// A store over records with their own scope, deadline and limits:
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
            // The middleware has shown the request an empty session. It continues under a new key.
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
            // If the record is damaged, the middleware shows the request an empty session.
            Kept::Live(()) | Kept::Nothing | Kept::Damaged(_) => Ok(()),
            // After a success, the middleware would overwrite the newer cookie with the dead key.
            Kept::Ended => Err(gone().into()),
        }
    }

    async fn delete(&self, key: &SessionKey) -> anyhow::Result<()> {
        Ok(self.records.end(id(key)).await?)
    }
}

/// Takes over a session of actix-session, once: starts a session of this library that `fill` fills
/// from the old values, which are JSON texts, and ends the old session. Returns whether it did.
///
/// `key` is the content of the old cookie, decrypted or with its signature checked. `old` is the
/// store of the old sessions, any store for actix-session. Does nothing if the request already has
/// a session of this library, or the old session no longer exists. A `CookieSessionStore` cannot
/// end a session: anyone who has a copy of such a cookie can use it until the application no longer
/// takes sessions over.
///
/// # Errors
/// `Unavailable` if the old store fails. Otherwise the errors of `fill` and of the commit. The old
/// session is kept then, and the next request tries again.
pub async fn take_over(
    session: &Session,
    old: &impl SessionStore,
    key: &SessionKey,
    fill: impl FnOnce(&Session, HashMap<String, String>) -> Result<()>,
) -> Result<bool> {
    if !session.is_new() {
        return Ok(false);
    }
    let state = match old.load(key).await {
        Ok(state) => state,
        Err(LoadError::Deserialization(_)) => None,
        Err(LoadError::Other(_)) => {
            return Err(unavailable("the store of the old sessions failed"));
        }
    };
    let Some(state) = state else { return Ok(false) };
    begin(session, |session| fill(session, state), old.delete(key)).await
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
