//! The values that a commit and the vault exchange: the record that was read, the record to write,
//! and the outcome.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::record::{CommitId, Header, Kind};
use crate::store::{Expiry, Revision};
use crate::time::from_millis;

/// The header and revision of a record that was read or written.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) header: Header,
    pub(crate) revision: Revision,
}

/// The result of reading a key.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    /// A record and its encoded form, which is not decrypted yet.
    Record(Version, Bytes),
    /// Bytes that are not a record of this version, and the reason. `damaged` is set if no other
    /// version or mode of the library could read them either.
    Unreadable {
        revision: Revision,
        damaged: bool,
        error: Error,
    },
}

impl Found {
    /// Returns the live session or index and its encoded form, or `None` if there is no record or
    /// only a tombstone.
    ///
    /// # Errors
    /// `Corrupt` if the record cannot be read.
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

/// The outcome of an attempt to write.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// It was written. The record is the base of the next write: this attempt's, or a later one
    /// that replaced it.
    Done(Version, Sealed),
    /// It was not written and will not be, because the stored record has changed.
    Changed(Found),
    /// The answer was lost, and the record is unchanged so far, but the write may still arrive at
    /// the engine. Another attempt under the same commit id is safe, because only one of the two
    /// can succeed.
    Open,
}

/// The encoded form of a record that was written.
#[derive(Debug)]
pub(crate) enum Sealed {
    /// The buffer that was written. It is only converted to `Bytes` if it is shared.
    Written(Vec<u8>),
    /// The bytes that were read back.
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

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'p, P> {
    pub(crate) kind: Kind,
    /// The current time.
    pub(crate) now: u64,
    pub(crate) deadline: u64,
    pub(crate) payload: &'p P,
}

impl<P> Draft<'_, P> {
    /// Creates the header. It is created again where it is needed, so that no future has to store
    /// it across an await.
    pub(super) fn header(&self, commits: [CommitId; 4]) -> Header {
        Header { kind: self.kind, deadline: self.deadline, commits }
    }

    pub(super) fn expiry(&self) -> Expiry {
        Expiry::at_instant(from_millis(self.deadline), from_millis(self.now))
    }
}

impl Draft<'static, ()> {
    /// A tombstone that is kept for this many milliseconds.
    pub(crate) fn tombstone(kind: Kind, now: u64, kept: u64) -> Self {
        Self { kind, now, deadline: now.saturating_add(kept), payload: &() }
    }
}
