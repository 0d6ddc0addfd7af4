//! Records in a store: sealed, bounded in time and size, and written so that an unknown outcome
//! becomes a known one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::crypto::Key;
use crate::crypto::id::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::future::BoxFuture;
use crate::ledger::call::{Call, pause};
use crate::ledger::queue::{Queues, Turn};
use crate::mutant;
use crate::observe::Observed;
use crate::record::{self, CommitId, Header, Kind, Payload};
use crate::store::{Expiry, Revision, SessionStore, StorageKey};
use crate::time::{Clock, from_millis, to_millis};

/// How many times an ambiguous write is re-checked while the engine is down.
const INQUIRIES: u32 = 4;

/// A store, and how its records are made.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timeout: Duration,
    pub(crate) limit: usize,
    pub(crate) plain: bool,
    engine: &'static str,
    /// Whether the engine's client may repeat a write whose answer it lost.
    repeats: bool,
    queues: Arc<Queues>,
    pub(crate) observed: Observed,
}

/// A record as it was seen in the store or written to it: its header and its revision.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) header: Header,
    pub(crate) revision: Revision,
}

/// What is stored under a key.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    /// A record, and its encoded form, not opened yet.
    Record(Version, Bytes),
    /// Bytes that are not a record of this version, and why. `damaged` where no other version, and
    /// no other mode of this one, could read them either.
    Unreadable {
        revision: Revision,
        damaged: bool,
        error: Error,
    },
}

impl Found {
    /// The live session or index, and its encoded form; `None` for a tombstone or nothing.
    ///
    /// # Errors
    /// `Corrupt` for what cannot be read.
    pub(crate) fn live(self) -> Result<Option<(Version, Bytes)>> {
        match self {
            Self::Record(version, record) if !version.header.kind.is_tombstone() => {
                Ok(Some((version, record)))
            }
            Self::Unreadable { error, .. } => Err(error),
            _ => Ok(None),
        }
    }
}

/// How an attempt to write ended.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// It is written. The record is the one to go on from: ours, or a later one that was written
    /// over ours.
    Done(Version, Sealed),
    /// It is not written and never will be: something else is stored now.
    Changed(Found),
    /// It is not written, but its answer was lost and it may still arrive at the engine: the record
    /// is unchanged. Another attempt under the same commit id is safe, because one of the two can
    /// land.
    Open,
}

/// The encoded form of a record that was written.
#[derive(Debug)]
pub(crate) enum Sealed {
    /// As it was made. Whoever does not need it shared does not pay for that.
    Written(Vec<u8>),
    /// As it was found.
    Found(Bytes),
}

impl Sealed {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Written(record) => record.len(),
            Self::Found(record) => record.len(),
        }
    }
}

impl From<Sealed> for Bytes {
    fn from(sealed: Sealed) -> Self {
        match sealed {
            Sealed::Written(record) => record.into(),
            Sealed::Found(record) => record,
        }
    }
}

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'p, P> {
    pub(crate) kind: Kind,
    /// The present.
    pub(crate) now: u64,
    pub(crate) deadline: u64,
    pub(crate) payload: &'p P,
}

impl<P> Draft<'_, P> {
    /// Made again where it is needed, so that no future keeps it while the engine is waited for.
    fn header(&self, commits: [CommitId; 4]) -> Header {
        Header { kind: self.kind, deadline: self.deadline, commits }
    }

    fn expiry(&self) -> Expiry {
        Expiry::at_instant(from_millis(self.deadline), from_millis(self.now))
    }
}

impl Draft<'static, ()> {
    /// A tombstone that is kept for this many milliseconds.
    pub(crate) fn tombstone(kind: Kind, now: u64, kept: u64) -> Self {
        Self { kind, now, deadline: now.saturating_add(kept), payload: &() }
    }
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

    /// The turn to write a session, in this process.
    ///
    /// # Errors
    /// `Unavailable` when the writers before it have kept it for longer than a store call may take.
    pub(crate) async fn turn(&self, key: &StorageKey) -> Result<Turn> {
        self.queues.turn(*key, self.timeout).await.ok_or_else(|| {
            let why = "other commits of the session have waited for the engine for too long; \
                       nothing of this one was sent";
            Error::new(ErrorKind::Unavailable, why).on(self.engine).during("commit")
        })
    }

    /// The turn, if nobody has it.
    pub(crate) fn turn_now(&self, key: &StorageKey) -> Option<Turn> {
        self.queues.turn_now(*key)
    }

    /// Runs one store call within the deadline, and says where an error came from.
    pub(crate) fn call<'c, T>(
        &self,
        operation: &'static str,
        call: BoxFuture<'c, Result<T>>,
    ) -> Call<'c, T> {
        self.call_for(operation, self.timeout, call)
    }

    /// Runs a store call that may take longer than one answer.
    pub(crate) fn call_for<'c, T>(
        &self,
        operation: &'static str,
        timeout: Duration,
        call: BoxFuture<'c, Result<T>>,
    ) -> Call<'c, T> {
        Call::new(call, timeout, self.engine, operation, &self.observed)
    }

    /// What is stored under a key, expired or not, readable or not.
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

    /// What is stored under a key and has not expired.
    pub(crate) async fn look(&self, key: &StorageKey) -> Result<Found> {
        self.probe(key).await.map(|found| self.unexpired(found))
    }

    fn unexpired(&self, found: Found) -> Found {
        match found {
            Found::Record(version, _) if version.header.deadline <= self.now() => Found::Nothing,
            found => found,
        }
    }

    /// Opens a record that [`look`](Self::look) found.
    pub(crate) fn open(&self, record: &Bytes, seal: &Key) -> Result<Bytes> {
        let (_, plain, length) = Header::read(record)?;
        record::open(record, length, plain, seal, self.plain)
            .map_err(|error| error.on(self.engine).during("load"))
    }

    /// Stores a first record under a key that nothing live uses. `commit` names it through all its
    /// attempts.
    ///
    /// # Errors
    /// A definite failure, after which nothing is stored; or an ambiguous one.
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

    /// Goes on with a creation that did not simply succeed. One more try is all it gets, so that an
    /// engine that never answers costs two deadlines.
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
                    // Owners' keys come again, and an expired record may be kept until it is swept.
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
                // Not done yet, or not at all. The same create again does it at most once.
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

    /// Writes over the record that `base` is, if it still is. `commit` names this change through
    /// all its attempts.
    ///
    /// # Errors
    /// A definite failure, after which nothing was written; or an ambiguous one that could not be
    /// cleared up.
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

    /// Finds out what became of an update that did not simply succeed.
    async fn replace_in_doubt(
        &self,
        place: &Place,
        base: &Version,
        commit: CommitId,
        answer: Result<Option<Revision>>,
    ) -> Result<Attempt> {
        let (found, lost) = match answer {
            // A client that repeats writes may have been refused because an earlier try of its own
            // was done.
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
            // What replaced the base does not remember it: too many commits have passed to know
            // whether ours was among them.
            Found::Record(version, _)
                if (lost || self.repeats)
                    && !version.header.commits.contains(&base.header.commits[0]) =>
            {
                Err(unknown().on(self.engine).during("update"))
            }
            // It may have been written, ended by somebody else and removed.
            Found::Nothing if lost => Err(unknown().on(self.engine).during("update")),
            found => Ok(Attempt::Changed(found)),
        }
    }

    /// Looks again at a record that has expired since it was seen; `open` where a try of this
    /// commit to write over it may still have been done.
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

    /// What became of a commit that an earlier call could not tell.
    ///
    /// # Errors
    /// Ambiguous, when what is stored now does not tell.
    pub(crate) async fn resolve(
        &self,
        place: &Place,
        base: &Version,
        commit: CommitId,
    ) -> Result<Attempt> {
        self.replace_in_doubt(place, base, commit, Err(unknown().on(self.engine).during("update")))
            .await
    }

    /// Removes a record for good, whatever it is.
    pub(crate) async fn delete(&self, key: &StorageKey) -> Result<bool> {
        self.call("delete", self.store.delete(key)).await
    }

    /// Asks what is stored after a write whose outcome is unknown, giving the engine time to come
    /// back.
    async fn inquire(&self, key: &StorageKey, because: Error) -> Result<Found> {
        for round in 0..INQUIRIES {
            match self.probe(key).await {
                Ok(found) => return Ok(found),
                // An engine that hangs has had its time: the request waits for two deadlines, not
                // for as many as we ask.
                Err(error) if error.kind() == ErrorKind::Timeout => return Err(because),
                Err(error) if error.is_unavailable() => pause(2 * round + 3).await,
                Err(error) => return Err(doubtful(true, error)),
            }
        }
        Err(because)
    }

    /// How many bytes the payload of a record may have.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(record::OVERHEAD)
    }

    fn encode(&self, header: &Header, payload: &impl Payload, seal: &Key) -> Result<Vec<u8>> {
        record::encode(header, payload, seal, self.plain, self.limit)
            .map_err(|error| error.on(self.engine).during("commit"))
    }
}

/// The error of a later call where an earlier try of the same write may have been done.
pub(crate) fn doubtful(lost: bool, error: Error) -> Error {
    if !lost || error.is_ambiguous() {
        return error;
    }
    let why = "an earlier try of this write may have been done, and the engine does not tell";
    Error::new(ErrorKind::Ambiguous, why).with_source(error)
}

fn unknown() -> Error {
    Error::new(
        ErrorKind::Ambiguous,
        "the connection broke during the write and what is stored now does not tell whether it was done",
    )
}
