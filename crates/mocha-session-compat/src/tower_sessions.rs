//! The store for tower-sessions, once for each of its versions: the trait is the same, its types
//! are not.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use mocha_session_core::store::Expiry;
use mocha_session_core::{Result, Session};
use serde_json::Value;
use time::OffsetDateTime;

/// The default scope of the records. It is the same for all versions, so that an update of
/// tower-sessions logs nobody out.
const SCOPE: &str = "tower-sessions";

/// The values of a session.
type Data = HashMap<String, Value>;

/// Copies the values of an old session to the session that it becomes.
type Fill = dyn Fn(&Session, Data) -> Result<()> + Send + Sync;

/// Reads an id from a cookie's value.
type Open = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The payload: when the session expires, to the nanosecond, and its values.
fn encode(data: &Data, expires: OffsetDateTime) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&(expires.unix_timestamp(), expires.nanosecond(), data))
}

fn decode(payload: &[u8]) -> Result<(Data, OffsetDateTime), String> {
    let (seconds, nanoseconds, data): (i64, u32, Data) =
        serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let expires = OffsetDateTime::from_unix_timestamp(seconds)
        .and_then(|at| at.replace_nanosecond(nanoseconds));
    Ok((data, expires.map_err(|error| error.to_string())?))
}

/// The instant, within what every platform's clock can show.
fn instant(at: OffsetDateTime) -> SystemTime {
    let Ok(seconds) = u64::try_from(at.unix_timestamp()) else { return SystemTime::UNIX_EPOCH };
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::new(seconds, at.nanosecond()))
        .unwrap_or_else(|| SystemTime::now() + Expiry::MAX_TTL)
}

macro_rules! store {
    ($module:ident, $peer:ident, $version:literal) => {
        #[doc = concat!("The store for tower-sessions 0.", $version, ".")]
        pub mod $module {
            use std::fmt;

            use mocha_session_core::store::async_trait;
            use mocha_session_core::{
                Error, Kept, OldSessions, Records, Session, SessionManager, Storage,
            };
            use $peer::SessionStore;
            use $peer::session::{Id, Record};
            use $peer::session_store::{Error as StoreError, ExpiredDeletion, Result};

            use super::{Data, Fill, Open, SCOPE, decode, encode, instant};
            use crate::adapter::{COOKIE, DRAWS, GONE, NOT_ENDED, NOT_READ, unavailable};

            #[doc = concat!("A session store of tower-sessions 0.", $version, " on any engine.")]
            ///
            /// Cheap to clone. The [crate's documentation](crate) says what it promises.
            ///
            /// ```
            #[doc = concat!("# use tower_sessions", $version, " as tower_sessions;")]
            #[doc = concat!("use mocha_session_compat::", stringify!($module), "::MochaStore;")]
            ///
            /// # fn demo(storage: mocha_session_core::Storage) -> mocha_session_core::Result<()> {
            /// let store = MochaStore::new(storage)?;
            /// let layer = tower_sessions::SessionManagerLayer::new(store);
            /// # Ok(()) }
            /// ```
            #[derive(Clone, Debug)]
            pub struct MochaStore {
                records: Records,
            }

            impl MochaStore {
                /// A store over this storage, in the scope `tower-sessions`.
                ///
                /// # Errors
                /// `InvalidConfig` for client-side sessions: they have no store.
                pub fn new(storage: impl Into<Storage>) -> mocha_session_core::Result<Self> {
                    SessionManager::builder(storage).scope(SCOPE).records().map(Self::from)
                }
            }

            /// A store over records with a scope, a deadline and limits of their own:
            /// `SessionManager::builder(storage).scope("admin").records()?.into()`.
            impl From<Records> for MochaStore {
                fn from(records: Records) -> Self {
                    Self { records }
                }
            }

            #[async_trait]
            impl SessionStore for MochaStore {
                /// Always draws a new id, so that no session begins under an id that a client
                /// brought.
                async fn create(&self, record: &mut Record) -> Result<()> {
                    let (payload, until) = (written(record)?, instant(record.expiry_date));
                    for _ in 0..DRAWS {
                        let id = Id::default();
                        if self.records.create(&key(id), &payload, until).await.map_err(failed)? {
                            record.id = id;
                            return Ok(());
                        }
                    }
                    Err(StoreError::Backend("each id that was drawn is taken".to_owned()))
                }

                async fn save(&self, record: &Record) -> Result<()> {
                    let (payload, until) = (written(record)?, instant(record.expiry_date));
                    match self.records.replace(&key(record.id), &payload, until).await {
                        Ok(Kept::Live(())) => Ok(()),
                        // `Session::clear` under the cookie of an expired session.
                        Ok(Kept::Nothing) if record.data.is_empty() => Ok(()),
                        Ok(Kept::Nothing | Kept::Ended) => {
                            Err(StoreError::Backend(GONE.to_owned()))
                        }
                        Ok(Kept::Damaged(error)) | Err(error) => Err(failed(error)),
                    }
                }

                async fn load(&self, id: &Id) -> Result<Option<Record>> {
                    match self.records.load(&key(*id)).await {
                        Ok(Kept::Live(payload)) => {
                            let (data, expiry_date) =
                                decode(&payload).map_err(StoreError::Decode)?;
                            Ok(Some(Record { id: *id, data, expiry_date }))
                        }
                        Ok(Kept::Nothing | Kept::Ended) => Ok(None),
                        Ok(Kept::Damaged(error)) | Err(error) => Err(failed(error)),
                    }
                }

                async fn delete(&self, id: &Id) -> Result<()> {
                    self.records.end(&key(*id)).await.map_err(failed)
                }
            }

            #[async_trait]
            impl ExpiredDeletion for MochaStore {
                /// Sweeps the whole engine, whatever the scope. Needed where the engine does not
                /// expire by itself.
                async fn delete_expired(&self) -> Result<()> {
                    self.records.sweep().await.map(drop).map_err(failed)
                }
            }

            /// The live sessions of tower-sessions, for
            /// [`take_over`](mocha_session_core::SessionManagerBuilder::take_over).
            ///
            /// ```
            #[doc = concat!("use mocha_session_compat::", stringify!($module), "::TakeOver;")]
            /// use mocha_session_core::{SessionManager, Storage};
            #[doc = concat!("# use tower_sessions", $version, "::SessionStore;")]
            ///
            /// # use mocha_session_core::Result;
            /// # fn demo(storage: Storage, old: impl SessionStore) -> Result<()> {
            /// let old = TakeOver::new(old, |session, data| {
            ///     session.insert("theme", &data["theme"])?;
            ///     match data["user_id"].as_str() {
            ///         Some(user) => session.login(user),
            ///         None => Ok(()),
            ///     }
            /// });
            /// let manager = SessionManager::builder(storage).take_over(old).build()?;
            /// # Ok(()) }
            /// ```
            pub struct TakeOver<S> {
                store: S,
                fill: Box<Fill>,
                cookie: String,
                open: Option<Box<Open>>,
            }

            impl<S: SessionStore> TakeOver<S> {
                /// The sessions of this store, any of tower-sessions' own. `fill` gives their
                /// values and their user to the sessions that they become.
                pub fn new(
                    store: S,
                    fill: impl Fn(&Session, Data) -> mocha_session_core::Result<()>
                    + Send
                    + Sync
                    + 'static,
                ) -> Self {
                    Self { store, fill: Box::new(fill), cookie: COOKIE.to_owned(), open: None }
                }

                /// The sessions of this store. The sessions that they become have their values,
                /// each under its key.
                pub fn values(store: S) -> Self {
                    Self::new(store, |session, data| {
                        data.into_iter().try_for_each(|(key, value)| session.insert(key, value))
                    })
                }

                /// The name of the old cookie. The default is `id`.
                #[must_use]
                pub fn cookie(self, name: impl Into<String>) -> Self {
                    Self { cookie: name.into(), ..self }
                }

                /// How the session's id is read out of the cookie's value, where the old layer
                /// signed or encrypted it. `None` means that the value is forged.
                #[must_use]
                pub fn open_with(
                    self,
                    open: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
                ) -> Self {
                    Self { open: Some(Box::new(open)), ..self }
                }

                fn id(&self, cookie: &str) -> Option<Id> {
                    match &self.open {
                        None => cookie.parse().ok(),
                        Some(open) => open(cookie)?.parse().ok(),
                    }
                }
            }

            #[async_trait]
            impl<S: SessionStore> OldSessions for TakeOver<S> {
                fn cookie(&self) -> &str {
                    &self.cookie
                }

                async fn read(
                    &self,
                    cookie: &str,
                    session: &Session,
                ) -> mocha_session_core::Result<bool> {
                    let Some(id) = self.id(cookie) else { return Ok(false) };
                    let record = match self.store.load(&id).await {
                        Ok(record) => record,
                        Err(StoreError::Decode(_)) => None,
                        Err(_) => return Err(unavailable(NOT_READ)),
                    };
                    let Some(record) = record else { return Ok(false) };
                    (self.fill)(session, record.data).map(|()| true)
                }

                async fn end(&self, cookie: &str) -> mocha_session_core::Result<()> {
                    let Some(id) = self.id(cookie) else { return Ok(()) };
                    self.store.delete(&id).await.map_err(|_| unavailable(NOT_ENDED))
                }
            }

            impl<S> fmt::Debug for TakeOver<S> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    let mut debug = f.debug_struct("TakeOver");
                    debug.field("cookie", &self.cookie).finish_non_exhaustive()
                }
            }

            fn key(id: Id) -> [u8; 16] {
                id.0.to_be_bytes()
            }

            fn written(record: &Record) -> Result<Vec<u8>> {
                encode(&record.data, record.expiry_date)
                    .map_err(|error| StoreError::Encode(error.to_string()))
            }

            fn failed(error: Error) -> StoreError {
                let text = error.to_string();
                if error.is_corrupt() {
                    StoreError::Decode(text)
                } else {
                    StoreError::Backend(text)
                }
            }
        }
    };
}

#[cfg(feature = "tower-sessions-0_14")]
store!(tower_sessions_0_14, tower_sessions_core_0_14, "14");
#[cfg(feature = "tower-sessions-0_15")]
store!(tower_sessions_0_15, tower_sessions_core_0_15, "15");
