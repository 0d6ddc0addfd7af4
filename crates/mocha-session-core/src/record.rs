//! The record format: the bytes that a store keeps for a session. They are the same on every
//! engine.
//!
//! ```text
//! 'S' version=1 kind deadline(8) commit ids(4 × 8) [successor(20)]   header: authenticated only
//! nonce(12) ciphertext tag(16)                                       payload; tombstones have none
//! ```
//!
//! Numbers are big-endian. If encryption is switched off, `kind` has the flag `PLAIN`, and the
//! payload follows the header unencrypted. Sweeping, moving, revoking and counting sessions only
//! need the header. While a record moves to another engine, the old engine keeps it with the prefix
//! `'S' FROZEN`.
//!
//! This folder contains the payload (content and flash), the expiry rules, and the client-side
//! format. Nothing in it calls a store.

pub(crate) mod client_side;
pub(crate) mod content;
mod info;
pub(crate) mod message;
pub(crate) mod policy;
pub(crate) mod waiting;

pub use info::{RecordInfo, RecordKind};
pub use message::{Level, Message};

use bytes::Bytes;

use crate::crypto::{self, Key};
use crate::error::{Error, ErrorKind, Result};
use crate::store::StorageKey;

const MAGIC: u8 = b'S';
const VERSION: u8 = 1;
const PLAIN: u8 = 0x80;
/// A flag of the kind byte: the engine that the record was copied from may still have it. It is not
/// authenticated.
const COPIED: u8 = 0x40;
/// Replaces the version number in a frozen record.
const FROZEN: u8 = 0xf0;
const HEADER: usize = 3 + 8 + 32;
/// The size of a sealed record without its payload.
pub(crate) const OVERHEAD: usize = HEADER + crypto::NONCE + crypto::TAG;

/// Identifies the commit that wrote a record. It is random, so that a writer recognises its own.
pub(crate) type CommitId = u64;

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A session.
    Live,
    /// A tombstone: the session has a new key, and its browser got the new id.
    Moved(StorageKey),
    /// A tombstone: a request of the session's own browser ended it, and the response removed the
    /// cookie.
    Ended,
    /// An owner index.
    Index,
    /// A tombstone: the session was revoked from elsewhere, and its browser still has the cookie.
    Revoked,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Live => 1,
            Self::Moved(_) => 2,
            Self::Ended => 3,
            Self::Index => 4,
            Self::Revoked => 5,
        }
    }

    /// Returns whether it is a tombstone, which has no payload.
    pub(crate) fn is_tombstone(self) -> bool {
        matches!(self, Self::Moved(_) | Self::Ended | Self::Revoked)
    }
}

/// The unencrypted, authenticated part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The time of expiry, in milliseconds since 1970.
    pub(crate) deadline: u64,
    /// The last four commits, newest first; zero if there were fewer.
    pub(crate) commits: [CommitId; 4],
}

impl Header {
    /// Returns the commit ids of the record with which `commit` replaces this one.
    pub(crate) fn followed_by(&self, commit: CommitId) -> [CommitId; 4] {
        [commit, self.commits[0], self.commits[1], self.commits[2]]
    }

    fn write(&self, plain: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&[MAGIC, VERSION, self.kind.code() | if plain { PLAIN } else { 0 }]);
        out.extend_from_slice(&self.deadline.to_be_bytes());
        self.commits.iter().for_each(|commit| out.extend_from_slice(&commit.to_be_bytes()));
        if let Kind::Moved(successor) = self.kind {
            out.extend_from_slice(successor.as_bytes());
        }
    }

    /// Reads the header. Returns it, whether the payload is plain, and the header's length.
    pub(crate) fn read(record: &[u8]) -> Result<(Self, bool, usize)> {
        let Some((head, rest)) = record.split_first_chunk::<HEADER>() else {
            return Err(Error::corrupt("the record is damaged: it is shorter than a header"));
        };
        if head[0] != MAGIC {
            return Err(Error::corrupt(
                "the stored bytes under the session's key are not a session record; give the \
                 sessions a prefix of their own",
            ));
        }
        if head[1] == FROZEN {
            return Err(Error::corrupt(
                "the record is being moved to another engine; open both engines through \
                 `Migrating` in every process",
            ));
        }
        if head[1] != VERSION {
            return Err(Error::corrupt(
                "the record has a format that this version of the library cannot read; it was not \
                 changed; update the library",
            ));
        }
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        let mut length = HEADER;
        let kind = match head[2] & !(PLAIN | COPIED) {
            1 => Kind::Live,
            2 => {
                let successor = rest
                    .first_chunk()
                    .ok_or_else(|| Error::corrupt("the record is damaged: no successor"))?;
                length += StorageKey::BYTES;
                Kind::Moved(StorageKey::from_bytes(*successor))
            }
            3 => Kind::Ended,
            4 => Kind::Index,
            5 => Kind::Revoked,
            _ => {
                return Err(Error::corrupt(
                    "the record has a kind that this version of the library does not know; update \
                     the library",
                ));
            }
        };
        let header = Self {
            kind,
            deadline: number(3),
            commits: [number(11), number(19), number(27), number(35)],
        };
        Ok((header, head[2] & PLAIN != 0, length))
    }
}

/// Returns the form in which the old engine keeps a record while it moves to another engine.
pub(crate) fn freeze(record: &[u8]) -> Vec<u8> {
    [&[MAGIC, FROZEN], record].concat()
}

/// Returns the record that [`freeze`] was given, or `None` if the record is not frozen.
pub(crate) fn thaw(frozen: &Bytes) -> Option<Bytes> {
    frozen.starts_with(&[MAGIC, FROZEN]).then(|| frozen.slice(2..))
}

/// Returns whether an unreadable record has another version or is frozen, rather than damaged.
pub(crate) fn is_foreign(record: &[u8]) -> bool {
    matches!(record, [MAGIC, version, ..] if *version != VERSION)
}

/// Sets the flag `COPIED` on a record that is copied to the new engine.
pub(crate) fn mark_copied(record: &[u8]) -> Vec<u8> {
    let mut copy = record.to_vec();
    if Header::read(record).is_ok() {
        copy[2] |= COPIED;
    }
    copy
}

/// Returns whether the engine that the record was copied from may still have it.
pub(crate) fn is_copied(record: &[u8]) -> bool {
    matches!(record, [MAGIC, VERSION, kind, ..] if kind & COPIED != 0)
}

/// The payload of a record.
pub(crate) trait Payload {
    /// Returns the approximate encoded length in bytes.
    fn size_hint(&self) -> usize;
    /// Appends the encoded payload.
    fn write(&self, out: &mut Vec<u8>);
}

/// The payload of a tombstone: none.
impl Payload for () {
    fn size_hint(&self) -> usize {
        0
    }
    fn write(&self, _out: &mut Vec<u8>) {}
}

/// Encodes a record into one buffer, and encrypts the payload in place unless `plain`.
pub(crate) fn encode(
    header: &Header,
    payload: &impl Payload,
    seal: &Key,
    plain: bool,
    limit: usize,
) -> Result<Vec<u8>> {
    let room = HEADER + StorageKey::BYTES + crypto::NONCE + payload.size_hint() + crypto::TAG;
    let mut out = Vec::with_capacity(room);
    header.write(plain, &mut out);
    let head = out.len();
    if !header.kind.is_tombstone() {
        out.resize(head + if plain { 0 } else { crypto::NONCE }, 0);
        payload.write(&mut out);
        if !plain {
            let mut bound = [0; HEADER];
            bound.copy_from_slice(&out[..HEADER]);
            crypto::seal(seal, &mut out, head, &bound)?;
        }
    }
    if out.len() > limit {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "the session takes {} bytes and the limit is {limit}; store large data elsewhere \
                 and only its key in the session",
                out.len()
            ),
        ));
    }
    Ok(out)
}

/// Decrypts the payload of a record whose header has been read. It is empty for a tombstone.
pub(crate) fn open(
    record: &Bytes,
    header_length: usize,
    plain: bool,
    seal: &Key,
    accept_plain: bool,
) -> Result<Bytes> {
    let body = record.slice(header_length..);
    match (plain, accept_plain) {
        (true, true) => Ok(body),
        (true, false) => Err(Error::corrupt(
            "the record is not encrypted, and this manager only reads encrypted records",
        )),
        (false, _) => {
            let bound = &record[..header_length];
            let mut original = [0; HEADER + StorageKey::BYTES];
            let bound = match original.get_mut(..header_length).filter(|_| is_copied(record)) {
                None => bound,
                Some(original) => {
                    original.copy_from_slice(bound);
                    original[2] &= !COPIED;
                    original
                }
            };
            crypto::open(seal, &body, bound).map(Bytes::from).ok_or_else(|| {
                Error::corrupt(
                    "the record cannot be decrypted: it is damaged, or was encrypted for another \
                     session",
                )
            })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SEAL: Key = [9; 32];

    struct Text(&'static str);
    impl Payload for Text {
        fn size_hint(&self) -> usize {
            self.0.len()
        }
        fn write(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(self.0.as_bytes());
        }
    }

    fn header(kind: Kind) -> Header {
        Header { kind, deadline: 0x0102_0304_0506_0708, commits: [1, 2, 3, 4] }
    }

    fn read(record: &Bytes, accept_plain: bool) -> Result<(Header, Bytes)> {
        let (header, plain, length) = Header::read(record)?;
        let body = open(record, length, plain, &SEAL, accept_plain)?;
        Ok((header, body))
    }

    #[test]
    fn the_header_has_these_bytes() {
        // A different result makes every stored session unreadable, and needs a new version number.
        let plain = encode(&header(Kind::Live), &Text("payload"), &SEAL, true, 1000).unwrap();
        assert_eq!(
            plain,
            b"S\x01\x81\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04payload"
        );
        let moved =
            encode(&header(Kind::Moved(StorageKey::from_bytes([7; 20]))), &(), &SEAL, false, 1000)
                .unwrap();
        assert_eq!((moved.len(), moved[2], &moved[43..]), (63, 2, &[7; 20][..]));
        for (kind, code) in [(Kind::Ended, 3), (Kind::Revoked, 5)] {
            let ended = encode(&header(kind), &(), &SEAL, false, 1000).unwrap();
            assert_eq!((ended.len(), ended[2]), (43, code));
        }
    }

    #[test]
    fn a_sealed_record_written_by_version_1_still_opens() {
        let mut record = encode(&header(Kind::Live), &Text(""), &SEAL, true, 1000).unwrap();
        record[2] = 1;
        record.extend_from_slice(GOLDEN);
        assert_eq!(read(&record.into(), false).unwrap().1, &b"sealed by version 1"[..]);
    }

    #[test]
    fn every_single_bit_flipped_is_refused_without_panic() {
        let record = encode(&header(Kind::Live), &Text("payload"), &SEAL, false, 1000).unwrap();
        assert!(read(&record.clone().into(), false).is_ok());
        // Except the flag `COPIED`, which does not change the payload.
        let copied = 2 * 8 + 6;
        assert_eq!(read(&mark_copied(&record).into(), false).unwrap().1, "payload");
        for bit in (0..record.len() * 8).filter(|bit| *bit != copied) {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = read(&flipped.into(), false);
            // This includes the bits that turn a live record into a tombstone: its length does not
            // match.
            assert!(read.is_err_and(|error| error.is_corrupt()), "bit {bit}");
        }
    }

    #[test]
    fn a_record_cut_anywhere_is_refused() {
        let record =
            Bytes::from(encode(&header(Kind::Live), &Text("payload"), &SEAL, false, 1000).unwrap());
        for length in 0..record.len() {
            assert!(read(&record.slice(..length), false).is_err(), "{length}");
        }
    }

    #[test]
    fn a_frozen_record_comes_back_and_is_not_read_as_a_session() {
        let record =
            Bytes::from(encode(&header(Kind::Live), &Text("payload"), &SEAL, false, 1000).unwrap());
        let frozen = Bytes::from(freeze(&record));
        assert!(Header::read(&frozen).is_err_and(|error| error.is_corrupt()));
        assert_eq!(thaw(&frozen).unwrap(), record);
        assert!(thaw(&record).is_none() && thaw(&Bytes::from_static(b"S")).is_none());
    }

    #[test]
    fn plain_is_read_only_where_it_is_accepted_and_limits_hold() {
        let plain =
            Bytes::from(encode(&header(Kind::Live), &Text("payload"), &SEAL, true, 1000).unwrap());
        assert!(read(&plain, true).is_ok());
        assert!(read(&plain, false).is_err_and(|error| error.is_corrupt()));
        let error = encode(&header(Kind::Live), &Text("payload"), &SEAL, false, 50).unwrap_err();
        assert!(error.is_too_large());
    }

    /// The text `sealed by version 1`, encrypted under `SEAL` by another implementation of
    /// AES-256-GCM.
    const GOLDEN: &[u8] =
        b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x99\x34\xfa\xae\x59\x2b\x0a\x87\xe6\x76\x5a\
        \xfa\xa2\xb0\xac\x5b\xbd\x55\xbe\x69\x84\x88\xc5\xd9\x04\x6c\x4e\x01\xe1\x96\xed\x42\xfa\x7f\xbe";
}
