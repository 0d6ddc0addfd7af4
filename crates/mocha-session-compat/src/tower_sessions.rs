//! The store for tower-sessions, once for each of its versions. The trait is the same, but its
//! types differ.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use mocha_session_core::store::Expiry;
use serde_json::Value;
use time::OffsetDateTime;

/// The default scope of the records. It is the same for all versions, so that an update of
/// tower-sessions logs no user out.
const SCOPE: &str = "tower-sessions";

/// The values of a session.
type Data = HashMap<String, Value>;

/// Encodes the payload: the session's expiry, to the nanosecond, and its values.
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

/// Converts an instant, limited to the range of every platform's clock.
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
            use mocha_session_core::store::async_trait;
            use mocha_session_core::{Error, Kept, Records, Session, SessionManager, Storage};
            use $peer::SessionStore;
            use $peer::session::{Id, Record};
            use $peer::session_store::{Error as StoreError, ExpiredDeletion, Result};

            use super::{Data, SCOPE, decode, encode, instant};
            use crate::adapter::{DRAWS, GONE, begin, unavailable};

            #[doc = concat!("A session store of tower-sessions 0.", $version, " on any engine.")]
            ///
            /// Cloning is cheap. The [crate's documentation](crate) lists its guarantees.
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
                /// Creates a store over this storage, in the scope `tower-sessions`.
                ///
                /// # Errors
                /// `InvalidConfig` for client-side sessions, which have no store.
                pub fn new(storage: impl Into<Storage>) -> mocha_session_core::Result<Self> {
                    SessionManager::builder(storage).scope(SCOPE).records().map(Self::from)
                }
            }

            /// A store over records with their own scope, deadline and limits:
            /// `SessionManager::builder(storage).scope("admin").records()?.into()`.
            impl From<Records> for MochaStore {
                fn from(records: Records) -> Self {
                    Self { records }
                }
            }

            #[async_trait]
            impl SessionStore for MochaStore {
                /// Always draws a new id, so that no session begins under an id that a client sent.
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
                        // The request called `Session::clear` under the cookie of an expired
                        // session.
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
                /// Sweeps the whole engine, in all scopes. It is necessary on engines that do not
                /// expire entries by themselves.
                async fn delete_expired(&self) -> Result<()> {
                    self.records.sweep().await.map(drop).map_err(failed)
                }
            }

            /// Takes over a session of tower-sessions, once: starts a session of this library that
            /// `fill` fills from the old values, and ends the old session. Returns whether it did.
            ///
            /// `id` is the value of the old cookie. `old` is the store of the old sessions, any
            /// store for tower-sessions. Does nothing if the request already has a session of this
            /// library, or the old session no longer exists.
            ///
            /// # Errors
            /// `Unavailable` if the old store fails. Otherwise the errors of `fill` and of the
            /// commit. The old session is kept then, and the next request tries again.
            pub async fn take_over(
                session: &Session,
                old: &impl SessionStore,
                id: &str,
                fill: impl FnOnce(&Session, Data) -> mocha_session_core::Result<()>,
            ) -> mocha_session_core::Result<bool> {
                let Ok(id) = id.parse::<Id>() else { return Ok(false) };
                if !session.is_new() {
                    return Ok(false);
                }
                let record = match old.load(&id).await {
                    Ok(record) => record,
                    Err(StoreError::Decode(_)) => None,
                    Err(_) => return Err(unavailable("the store of the old sessions failed")),
                };
                let Some(record) = record else { return Ok(false) };
                begin(session, |session| fill(session, record.data), old.delete(&id)).await
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
