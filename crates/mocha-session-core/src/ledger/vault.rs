//! Encrypted records in a store, with limits on time and size. A write whose outcome is unknown is
//! re-checked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backend::pause;
use crate::crypto::Key;
use crate::crypto::id::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::future::BoxFuture;
use crate::ledger::call::Call;
use crate::ledger::queue::{Queues, Turn};
use crate::ledger::written::{Attempt, Draft, Found, Sealed, Version};
use crate::mutant;
use crate::observe::Observed;
use crate::record::{self, CommitId, Header, Payload};
use crate::store::{Revision, SessionStore, StorageKey};
use crate::time::{Clock, to_millis};

/// The maximum number of times that an ambiguous write is re-checked while the engine is down.
const INQUIRIES: u32 = 4;

/// A store, with the settings of its records.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timeout: Duration,
    pub(crate) limit: usize,
    pub(crate) plain: bool,
    pub(crate) engine: &'static str,
    /// Whether the engine's client may repeat a write whose answer was lost.
    repeats: bool,
    queues: Arc<Queues>,
    pub(crate) observed: Observed,
}

impl Vault {
    pub(crate) fn new(
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
        timeout: Duration,
        limit: usize,
        plain: bool,
        observed: Observed,
    ) -> Self {
        let can = store.capabilities();
        let limit = can.max_value().map_or(limit, |max| max.min(limit));
        let (engine, repeats) = (can.engine(), can.repeats_writes());
        let queues = Arc::new(Queues::new());
        Self { store, clock, timeout, limit, plain, engine, repeats, queues, observed }
    }

    pub(crate) fn now(&self) -> u64 {
        to_millis(self.clock.now())
    }

    /// Waits for the turn to write a session in this process.
    ///
    /// # Errors
    /// `Unavailable` if it takes longer than the deadline of a store call.
    pub(crate) async fn turn(&self, key: &StorageKey) -> Result<Turn> {
        self.queues.turn(*key, self.timeout).await.ok_or_else(|| {
            let why = "earlier commits of the session are still waiting for the engine; \
                       this commit was not sent; try again";
            Error::new(ErrorKind::Unavailable, why).on(self.engine).during("commit")
        })
    }

    /// Returns the turn, if no writer has it.
    pub(crate) fn turn_now(&self, key: &StorageKey) -> Option<Turn> {
        self.queues.turn_now(*key)
    }

    /// Runs a store call within the deadline, and adds the engine and the operation to its error.
    pub(crate) fn call<'c, T>(
        &'c self,
        operation: &'static str,
        call: BoxFuture<'c, Result<T>>,
    ) -> Call<'c, T> {
        Call::new(call, self, operation, 1)
    }

    /// Runs a store call that may take several deadlines.
    pub(crate) fn call_for<'c, T>(
        &'c self,
        operation: &'static str,
        deadlines: u32,
        call: BoxFuture<'c, Result<T>>,
    ) -> Call<'c, T> {
        Call::new(call, self, operation, deadlines)
    }

    /// Reads a key. Also returns expired and unreadable records.
    pub(crate) async fn probe(&self, key: &StorageKey) -> Result<Found> {
        let stored = self.call("load", self.store.load(key)).await?;
        let Some(stored) = stored else { return Ok(Found::Nothing) };
        let (record, revision) = stored.into_parts();
        Ok(match Header::read(&record) {
            Ok((header, ..)) => Found::Record(Version { header, revision }, record),
            Err(error) => Found::Unreadable {
                revision,
                damaged: !record::is_foreign(&record),
                error: error.on(self.engine).during("load"),
            },
        })
    }

    /// Reads a key. Returns an expired record as `Nothing`.
    pub(crate) async fn look(&self, key: &StorageKey) -> Result<Found> {
        self.probe(key).await.map(|found| self.unexpired(found))
    }

    fn unexpired(&self, found: Found) -> Found {
        match found {
            Found::Record(version, _) if version.header.deadline <= self.now() => Found::Nothing,
            found => found,
        }
    }

    /// Decrypts a record that [`look`](Self::look) found.
    pub(crate) fn open(&self, record: &Bytes, seal: &Key) -> Result<Bytes> {
        let (_, plain, length) = Header::read(record)?;
        record::open(record, length, plain, seal, self.plain)
            .map_err(|error| error.on(self.engine).during("load"))
    }

    /// Stores a first record under a key that no live record uses. All attempts have the same
    /// `commit` id.
    ///
    /// # Errors
    /// Unless the error is ambiguous, nothing was stored.
    pub(crate) async fn create(
        &self,
        place: &Place,
        commit: CommitId,
        draft: &Draft<'_, impl Payload>,
    ) -> Result<Attempt> {
        let header = || draft.header([commit, 0, 0, 0]);
        let record = self.encode(&header(), draft.payload, &place.seal)?;
        let create = self.store.create(&place.key, &record, draft.expiry());
        match self.call("create", create).await {
            Ok(Some(revision)) => {
                Ok(Attempt::Done(Version { header: header(), revision }, Sealed::Written(record)))
            }
            // Boxed, so that the rare path does not enlarge the common future.
            answer => Box::pin(self.create_in_doubt(place, draft, header(), record, answer)).await,
        }
    }

    /// Continues a creation that did not succeed at once. It makes only one more attempt, so that
    /// an engine that never answers costs two deadlines.
    async fn create_in_doubt(
        &self,
        place: &Place,
        draft: &Draft<'_, impl Payload>,
        header: Header,
        record: Vec<u8>,
        mut answer: Result<Option<Revision>>,
    ) -> Result<Attempt> {
        let commit = header.commits[0];
        let mut lost = false;
        for last in [false, true] {
            let found = match answer {
                Ok(Some(revision)) => {
                    return Ok(Attempt::Done(
                        Version { header, revision },
                        Sealed::Written(record),
                    ));
                }
                Ok(None) => match self
                    .probe(&place.key)
                    .await
                    .map_err(|error| doubtful(lost || self.repeats, error))?
                {
                    // An expired record may exist until it is swept. The key of an owner index is
                    // used again.
                    Found::Record(expired, _)
                        if expired.header.deadline <= self.now()
                            && !expired.header.commits.contains(&commit) =>
                    {
                        return self.replace(place, &expired, commit, draft).await;
                    }
                    found => found,
                },
                Err(error) if error.is_ambiguous() => {
                    lost = true;
                    self.inquire(&place.key, error).await?
                }
                Err(error) => return Err(doubtful(lost, error)),
            };
            match found {
                Found::Record(version, record) if version.header.commits.contains(&commit) => {
                    return Ok(Attempt::Done(version, Sealed::Found(record)));
                }
                // The write is late or lost. Repeating the same create stores it at most once.
                Found::Nothing if !last => {}
                Found::Nothing => break,
                found => return Ok(Attempt::Changed(found)),
            }
            let draft = Draft { now: self.now(), ..*draft };
            let again = self.store.create(&place.key, &record, draft.expiry());
            answer = self.call("create", again).await;
        }
        Err(unknown().on(self.engine).during("create"))
    }

    /// Replaces the record if it still is `base`. All attempts have the same `commit` id.
    ///
    /// # Errors
    /// Unless the error is ambiguous, nothing was written.
    pub(crate) async fn replace(
        &self,
        place: &Place,
        base: &Version,
        commit: CommitId,
        draft: &Draft<'_, impl Payload>,
    ) -> Result<Attempt> {
        let header = || draft.header(base.header.followed_by(commit));
        let record = self.encode(&header(), draft.payload, &place.seal)?;
        let update = self.store.update(&place.key, &record, draft.expiry(), &base.revision);
        match self.call("update", update).await {
            Ok(Some(revision)) => {
                Ok(Attempt::Done(Version { header: header(), revision }, Sealed::Written(record)))
            }
            answer => Box::pin(self.replace_in_doubt(place, base, commit, answer)).await,
        }
    }

    /// Determines the outcome of an update that did not succeed at once.
    async fn replace_in_doubt(
        &self,
        place: &Place,
        base: &Version,
        commit: CommitId,
        answer: Result<Option<Revision>>,
    ) -> Result<Attempt> {
        let (found, lost) = match answer {
            // A client library that repeats writes may be refused because its own first attempt was
            // done.
            Ok(_) => (
                self.probe(&place.key).await.map_err(|error| doubtful(self.repeats, error))?,
                false,
            ),
            Err(error) if error.is_ambiguous() => (self.inquire(&place.key, error).await?, true),
            Err(error) => return Err(error),
        };
        match &found {
            Found::Record(version, record)
                if version.header.commits.contains(&commit)
                    && !mutant("an own commit is not recognised") =>
            {
                return Ok(Attempt::Done(version.clone(), Sealed::Found(record.clone())));
            }
            _ => {}
        }
        match self.unexpired(found) {
            Found::Record(version, _) if lost && version.revision == base.revision => {
                Ok(Attempt::Open)
            }
            // The current record does not list the base's commit, so too many commits have followed
            // to know whether ours was among them.
            Found::Record(version, _)
                if (lost || self.repeats)
                    && !version.header.commits.contains(&base.header.commits[0]) =>
            {
                Err(unknown().on(self.engine).during("update"))
            }
            // It may have been written, then ended by another request and removed.
            Found::Nothing if lost => Err(unknown().on(self.engine).during("update")),
            found => Ok(Attempt::Changed(found)),
        }
    }

    /// Reads a record again that has expired since it was read. `open` is set if an attempt of this
    /// commit to replace it may have been done.
    pub(crate) async fn look_again(
        &self,
        place: &Place,
        seen: &Version,
        commit: CommitId,
        open: bool,
    ) -> Result<Attempt> {
        if open {
            self.resolve(place, seen, commit).await
        } else {
            self.look(&place.key).await.map(Attempt::Changed)
        }
    }

    /// Determines the outcome of a commit that an earlier call could not determine.
    ///
    /// # Errors
    /// Ambiguous, if the stored record does not show the outcome.
    pub(crate) async fn resolve(
        &self,
        place: &Place,
        base: &Version,
        commit: CommitId,
    ) -> Result<Attempt> {
        self.replace_in_doubt(place, base, commit, Err(unknown().on(self.engine).during("update")))
            .await
    }

    /// Deletes a record of any kind.
    pub(crate) async fn delete(&self, key: &StorageKey) -> Result<bool> {
        self.call("delete", self.store.delete(key)).await
    }

    /// Reads a key after a write whose outcome is unknown. Retries while the engine is unavailable.
    async fn inquire(&self, key: &StorageKey, because: Error) -> Result<Found> {
        for round in 0..INQUIRIES {
            match self.probe(key).await {
                Ok(found) => return Ok(found),
                // Stops if the engine hangs, so that a request waits for at most two deadlines.
                Err(error) if error.kind() == ErrorKind::Timeout => return Err(because),
                Err(error) if error.is_unavailable() => pause(2 * round + 3).await,
                Err(error) => return Err(doubtful(true, error)),
            }
        }
        Err(because)
    }

    /// Returns the maximum payload size of a record in bytes.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(record::OVERHEAD)
    }

    fn encode(&self, header: &Header, payload: &impl Payload, seal: &Key) -> Result<Vec<u8>> {
        record::encode(header, payload, seal, self.plain, self.limit)
            .map_err(|error| error.on(self.engine).during("commit"))
    }
}

/// Makes an error ambiguous if an earlier attempt of the same write may have been done (`lost`).
pub(crate) fn doubtful(lost: bool, error: Error) -> Error {
    if !lost || error.is_ambiguous() {
        return error;
    }
    let why = "an earlier attempt of this write may have been done; its outcome is unknown";
    Error::new(ErrorKind::Ambiguous, why).with_source(error)
}

fn unknown() -> Error {
    Error::new(
        ErrorKind::Ambiguous,
        "the connection broke during the write, and the stored record does not show whether it was \
         done",
    )
}
