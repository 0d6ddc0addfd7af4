//! Marks on cursors and revisions that name the engine they belong to, and guards.

use std::time::{Duration, SystemTime};

use crate::error::Result;
use crate::record::{self, Header, Kind};
use crate::store::{Expiry, Revision, ScanCursor, Stored};
use crate::time::to_millis;

/// The time for which a tombstone is kept in the new store. It exceeds the possible delay of a
/// process that is about to copy the session.
pub(crate) const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// The time for which a tombstone is kept if the session could not be removed from the old store.
pub(crate) const UNTIL_REMOVED: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// The prefixes of revisions and cursors, which name the store they belong to.
pub(crate) const OF_OLD: &str = "old:";
pub(crate) const OF_NEW: &str = "new:";
/// An entry that is frozen in the old store.
pub(crate) const OF_FROZEN: &str = "mid:";
/// An entry that was copied to the new store, and may still be frozen in the old one.
pub(crate) const OF_COPY: &str = "cpy:";

/// The commit id of guards. The commit ids of sessions are random.
pub(crate) const OURS: u64 = u64::from_be_bytes(*b"migrated");

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Old,
    New,
}

pub(crate) fn split(cursor: Option<ScanCursor>) -> (Place, Option<ScanCursor>) {
    let Some(cursor) = cursor else { return (Place::Old, None) };
    let inner = |rest: &str| Some(ScanCursor::new(rest)).filter(|_| !rest.is_empty());
    match cursor.as_str().strip_prefix(OF_NEW) {
        Some(rest) => (Place::New, inner(rest)),
        None => (Place::Old, cursor.as_str().strip_prefix(OF_OLD).and_then(inner)),
    }
}

pub(crate) fn joined(mark: &str, cursor: &ScanCursor) -> ScanCursor {
    ScanCursor::new(format!("{mark}{}", cursor.as_str()))
}

/// Marks a revision with the store it belongs to. Numbers and bytes are marked differently, so that
/// [`unmarked`] restores the original.
pub(crate) fn of(mark: &str, revision: &Revision) -> Revision {
    let marked = match (revision.as_bytes(), revision.as_u64()) {
        (Some(bytes), _) => [mark.as_bytes(), b"\"", bytes].concat(),
        (None, number) => {
            [mark.as_bytes(), b"#", &number.unwrap_or_default().to_be_bytes()].concat()
        }
    };
    Revision::from(marked)
}

/// Returns what [`Migrating`](super::Migrating) returns for an entry of one of the two stores:
/// nothing for a guard, and the new value for a frozen entry.
pub(crate) fn shown(mark: &str, stored: Stored) -> Option<Stored> {
    if is_ours(&stored) {
        return None;
    }
    let (value, revision) = stored.into_parts();
    Some(match record::thaw(&value).filter(|_| mark == OF_OLD) {
        Some(thawed) => Stored::new(thawed, of(OF_FROZEN, &revision)),
        None => {
            let mark = if mark == OF_NEW { in_new(&value) } else { mark };
            Stored::new(value, of(mark, &revision))
        }
    })
}

/// Returns the mark of an entry in the new store.
pub(crate) fn in_new(value: &[u8]) -> &'static str {
    if record::is_copied(value) { OF_COPY } else { OF_NEW }
}

/// Returns the expiry of a tombstone that is kept at least this long.
pub(crate) fn remembered(expiry: Expiry, at_least: Duration) -> Expiry {
    let now = expiry.at().checked_sub(expiry.ttl()).unwrap_or(SystemTime::UNIX_EPOCH);
    Expiry::after(expiry.ttl().max(at_least), now)
}

pub(crate) fn unmarked(revision: &Revision) -> Option<(&'static str, Revision)> {
    let bytes = revision.as_bytes()?;
    let (mark, rest) = [OF_OLD, OF_NEW, OF_FROZEN, OF_COPY]
        .iter()
        .find_map(|mark| Some((*mark, bytes.strip_prefix(mark.as_bytes())?)))?;
    let (kind, rest) = rest.split_first()?;
    let revision = match kind {
        b'#' => Revision::from(u64::from_be_bytes(rest.try_into().ok()?)),
        _ => Revision::from(rest.to_vec()),
    };
    Some((mark, revision))
}

pub(crate) fn kind(value: &[u8]) -> Option<Kind> {
    Header::read(value).ok().map(|(header, ..)| header.kind)
}

pub(crate) fn is_tombstone(stored: &Stored) -> bool {
    kind(stored.value()).is_some_and(Kind::is_tombstone)
}

/// Returns whether the entry is a guard. A session's own tombstone is an ordinary entry.
pub(crate) fn is_ours(stored: &Stored) -> bool {
    Header::read(stored.value()).is_ok_and(|(header, ..)| header.commits[0] == OURS)
}

/// Creates a guard: a record that counts as no entry, and prevents a create under its key.
pub(crate) fn guard(expiry: Expiry) -> Result<Vec<u8>> {
    let header =
        Header { kind: Kind::Revoked, deadline: to_millis(expiry.at()), commits: [OURS, 0, 0, 0] };
    record::encode(&header, &(), &[0; 32], false, usize::MAX)
}
