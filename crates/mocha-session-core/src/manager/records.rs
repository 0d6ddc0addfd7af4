//! Records of other session layers. They are sealed, limited and ended like this library's own
//! sessions, under ids that the other layer creates.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::SessionManagerBuilder;
use super::sweeper::{self, SweepTotal};
use crate::backend::pause;
use crate::crypto::id::{Place, SessionId};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::ending::{By, end};
use crate::ledger::vault::Vault;
use crate::ledger::written::{Attempt, Draft, Found, Version};
use crate::record::{Header, Kind, Payload};
use crate::session::shared::{Backend, Shared};
use crate::store::Capabilities;
use crate::time::to_millis;

/// The maximum number of attempts to write against other writers.
const ROUNDS: u32 = 64;

/// A store's records under ids that another session layer creates. It is for adapters that make
/// this library's engines available to that layer.
///
/// A record is stored and sealed like a session: the store sees a hash of the id, and a payload
/// encrypted under a key derived from the id. Therefore ids must be unguessable. Writes are
/// compare-and-set, calls have the manager's deadline, and an ended record leaves a tombstone.
///
/// Each write replaces the whole payload. Of two writers the later one wins, because the other
/// layer does not report its changes.
///
/// ```
/// # use std::time::{Duration, SystemTime};
/// # use mocha_session_core::{Kept, Records, Result, SessionManagerBuilder};
/// # async fn demo(builder: SessionManagerBuilder) -> Result<()> {
/// let records: Records = builder.scope("their-layer").records()?;
/// let until = SystemTime::now() + Duration::from_secs(3600);
///
/// assert!(records.create(b"an unguessable id", b"payload", until).await?);
/// assert!(matches!(records.load(b"an unguessable id").await?, Kept::Live(_)));
/// records.end(b"an unguessable id").await?;
/// // A request that loaded the record before it ended cannot write it back.
/// let late = records.replace(b"an unguessable id", b"payload", until).await?;
/// assert!(matches!(late, Kept::Ended));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Records {
    shared: Arc<Shared>,
}

/// The content under an id of another session layer.
#[derive(Debug)]
pub enum Kept<T> {
    /// A live record.
    Live(T),
    /// A record that was ended, at most about a minute ago.
    Ended,
    /// No record: there was none, it expired, or it was ended longer ago.
    Nothing,
    /// A record that no version of this library can read, and the reason. [`Records::end`] removes
    /// it.
    Damaged(Error),
}

/// A payload of another layer.
struct Opaque<'p>(&'p [u8]);

impl Payload for Opaque<'_> {
    fn size_hint(&self) -> usize {
        self.0.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

/// The change that a write makes to a record.
#[derive(Clone, Copy)]
enum Edit<'e> {
    Payload(&'e [u8]),
    /// Changes only the deadline.
    Deadline,
}

impl SessionManagerBuilder {
    /// Creates the records of another session layer on this storage, instead of a manager.
    ///
    /// The scope, the store's deadline, the maximum size of a record, the clock and the
    /// requirements apply. Settings of cookies, lifetimes and owners are ignored, because the other
    /// layer decides them.
    ///
    /// # Errors
    /// As [`build`](Self::build). `InvalidConfig` for client-side sessions.
    pub fn records(self) -> Result<Records> {
        if self.is_client_side() {
            return Err(Error::invalid_config(
                "another session layer's records need a store, and client-side sessions have none; \
                 set SESSION_URL",
            ));
        }
        Ok(Records { shared: Arc::new(self.assemble()?) })
    }
}

impl Records {
    /// Those of a manager.
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Reads the record under an id.
    ///
    /// # Errors
    /// The engine's errors. `Corrupt` if another version of this library wrote the record, or if it
    /// is being moved to another engine.
    pub async fn load(&self, id: &[u8]) -> Result<Kept<Bytes>> {
        let (vault, place) = self.find(id)?;
        let found = vault.look(&place.key).await?;
        opened(vault, &place, found).map(|kept| match kept {
            Kept::Live((_, payload)) => Kept::Live(payload),
            Kept::Ended => Kept::Ended,
            Kept::Nothing => Kept::Nothing,
            Kept::Damaged(error) => Kept::Damaged(error),
        })
    }

    /// Stores the first record under an id, until `until`. Returns `false` if the id is in use.
    ///
    /// # Errors
    /// The engine's errors. They are ambiguous if the record may have been stored. `TooLarge` over
    /// the engine's or the builder's limit.
    pub async fn create(&self, id: &[u8], payload: &[u8], until: SystemTime) -> Result<bool> {
        let (vault, place) = self.find(id)?;
        let (now, deadline) = (vault.now(), to_millis(until));
        let draft = Draft { kind: Kind::Live, now, deadline, payload: &Opaque(payload) };
        match vault.create(&place, fastrand::u64(1..), &draft).await? {
            Attempt::Done(..) => Ok(true),
            Attempt::Changed(_) => Ok(false),
            Attempt::Open => Err(undecided("create")),
        }
    }

    /// Replaces the payload and the deadline of a live record. Never creates one.
    ///
    /// # Errors
    /// As [`create`](Self::create). `Conflict` if other processes write the record continually.
    pub async fn replace(&self, id: &[u8], payload: &[u8], until: SystemTime) -> Result<Kept<()>> {
        self.write(id, Edit::Payload(payload), until).await
    }

    /// Moves the deadline of a live record and keeps its payload.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    pub async fn extend(&self, id: &[u8], until: SystemTime) -> Result<Kept<()>> {
        self.write(id, Edit::Deadline, until).await
    }

    /// Ends the record under an id, if there is one. A tombstone is kept for a minute, or for four
    /// of the store's deadlines if that is longer. A damaged record is removed.
    ///
    /// # Errors
    /// The engine's errors. The record may still be live then. `Corrupt` as for
    /// [`load`](Self::load).
    pub async fn end(&self, id: &[u8]) -> Result<()> {
        let (vault, place) = self.find(id)?;
        let tombstone = self.shared.policy.tombstone;
        match end(vault, place.key, None, By::Itself, tombstone).await {
            Err(error) if error.is_corrupt() => match vault.probe(&place.key).await? {
                Found::Unreadable { damaged: true, .. } => vault.delete(&place.key).await.map(drop),
                _ => Err(error),
            },
            ended => ended.map(drop),
        }
    }

    /// Removes expired entries from the whole store, as
    /// [`SessionManager::sweep`](crate::SessionManager::sweep) does.
    ///
    /// # Errors
    /// The engine's error, if a batch fails three times in a row. Entries that were removed stay
    /// removed.
    pub async fn sweep(&self) -> Result<SweepTotal> {
        sweeper::sweep(self.vault()?).await
    }

    /// Returns the engine's capabilities in its current configuration.
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    async fn write(&self, id: &[u8], edit: Edit<'_>, until: SystemTime) -> Result<Kept<()>> {
        let (vault, place) = self.find(id)?;
        // Writers of one process take turns, so that only other processes can conflict.
        let _turn = vault.turn(&place.key).await?;
        let (commit, deadline) = (fastrand::u64(1..), to_millis(until));
        let mut open = false;
        for round in 0..ROUNDS {
            let (version, payload) = match vault.look(&place.key).await? {
                Found::Record(version, _) if version.header.commits.contains(&commit) => {
                    return Ok(Kept::Live(()));
                }
                found => match opened(vault, &place, found)? {
                    Kept::Live(live) => live,
                    Kept::Ended => {
                        let session = self.fingerprint(id);
                        tracing::debug!(session, "a write came after the end of its session");
                        return Ok(Kept::Ended);
                    }
                    Kept::Nothing => return Ok(Kept::Nothing),
                    Kept::Damaged(error) => return Ok(Kept::Damaged(error)),
                },
            };
            let payload = match edit {
                Edit::Payload(payload) => Opaque(payload),
                Edit::Deadline => Opaque(&payload),
            };
            let draft = Draft { kind: Kind::Live, now: vault.now(), deadline, payload: &payload };
            match vault.replace(&place, &version, commit, &draft).await? {
                Attempt::Done(..) => return Ok(Kept::Live(())),
                // The same commit again: only one of the two attempts can succeed.
                Attempt::Open => open = true,
                Attempt::Changed(_) => {
                    open = false;
                    pause(round).await;
                }
            }
        }
        Err(if open {
            undecided("save")
        } else {
            let why = "other processes changed the record at the same time; try again";
            Error::new(ErrorKind::Conflict, why).during("save")
        })
    }

    fn find(&self, id: &[u8]) -> Result<(&Vault, Place)> {
        Ok((self.vault()?, SessionId::of_layer(id).place(&self.shared.scope)))
    }

    fn fingerprint(&self, id: &[u8]) -> String {
        SessionId::of_layer(id).fingerprint(&self.shared.scope)
    }

    fn vault(&self) -> Result<&Vault> {
        match &self.shared.backend {
            Backend::Store(vault) => Ok(vault),
            // `records` refuses client-side storage, so this is unreachable.
            Backend::Client(_) => Err(Error::new(ErrorKind::Unsupported, "")),
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("storage", &self.shared.storage).finish_non_exhaustive()
    }
}

/// Opens a record that was found under a key.
fn opened(vault: &Vault, place: &Place, found: Found) -> Result<Kept<(Version, Bytes)>> {
    let (version, record) = match found {
        Found::Record(version, record) => (version, record),
        Found::Nothing => return Ok(Kept::Nothing),
        Found::Unreadable { damaged: true, error, .. } => return Ok(Kept::Damaged(error)),
        Found::Unreadable { error, .. } => return Err(error),
    };
    if version.header.kind != Kind::Live {
        return Ok(Kept::Ended);
    }
    match vault.open(&record, &place.seal) {
        Ok(payload) => Ok(Kept::Live((version, payload))),
        // The record is unsealed, not damaged. A process without sealing wrote it.
        Err(error) if Header::read(&record).is_ok_and(|(_, plain, _)| plain) => Err(error),
        Err(error) => Ok(Kept::Damaged(error)),
    }
}

fn undecided(operation: &'static str) -> Error {
    let why = "the engine does not tell whether the write was done; try again";
    Error::new(ErrorKind::Ambiguous, why).during(operation)
}
