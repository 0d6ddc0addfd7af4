//! How the two engines are told apart: marks before cursors and revisions, and guards.

use std::time::{Duration, SystemTime};

use crate::error::Result;
use crate::record::{self, Header, Kind};
use crate::store::{Expiry, Revision, ScanCursor, Stored};
use crate::time::to_millis;

/// How long an end is remembered in the new store: longer than any process that is about to copy
/// the session there can be held up.
pub(crate) const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long, where what the old store still has of the session could not be removed.
pub(crate) const UNTIL_REMOVED: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Where a revision is of; told apart in its text.
pub(crate) const OF_OLD: &str = "old:";
pub(crate) const OF_NEW: &str = "new:";
/// Frozen in the old store.
pub(crate) const OF_FROZEN: &str = "mid:";
/// Copied to the new store, and maybe still frozen in the old one.
pub(crate) const OF_COPY: &str = "cpy:";

/// The commit id of the tombstones that this store makes. Those of sessions are random.
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

/// A revision, with a mark of the store it is of. Numbers are marked apart from texts, to come back
/// as they were.
pub(crate) fn of(mark: &str, revision: &Revision) -> Revision {
    let kind = if revision.as_u64().is_some() { '#' } else { '"' };
    Revision::from(format!("{mark}{kind}{}", revision.as_str()))
}

/// What this store returns for what one of the two has: guards stand for nothing, and what is
/// frozen is what is to be written.
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

/// The mark of what the new store has.
pub(crate) fn in_new(value: &[u8]) -> &'static str {
    if record::is_copied(value) { OF_COPY } else { OF_NEW }
}

/// An end that is remembered at least this long.
pub(crate) fn remembered(expiry: Expiry, at_least: Duration) -> Expiry {
    let now = expiry.at().checked_sub(expiry.ttl()).unwrap_or(SystemTime::UNIX_EPOCH);
    Expiry::after(expiry.ttl().max(at_least), now)
}

pub(crate) fn unmarked(revision: &Revision) -> Option<(&'static str, Revision)> {
    let text = revision.as_str();
    let (mark, rest) = [OF_OLD, OF_NEW, OF_FROZEN, OF_COPY]
        .iter()
        .find_map(|mark| Some((*mark, text.strip_prefix(mark)?)))?;
    let revision = match rest.split_at_checked(1)? {
        ("#", number) => Revision::from(number.parse::<u64>().ok()?),
        (_, text) => Revision::from(text.to_owned()),
    };
    Some((mark, revision))
}

pub(crate) fn kind(value: &[u8]) -> Option<Kind> {
    Header::read(value).ok().map(|(header, ..)| header.kind)
}

pub(crate) fn is_tombstone(stored: &Stored) -> bool {
    kind(stored.value()).is_some_and(Kind::is_tombstone)
}

/// Whether it is a guard that this store has made. A tombstone of the session above is an entry
/// like any other.
pub(crate) fn is_ours(stored: &Stored) -> bool {
    Header::read(stored.value()).is_ok_and(|(header, ..)| header.commits[0] == OURS)
}

/// A record that stands for nothing and keeps its key from being taken.
pub(crate) fn guard(expiry: Expiry) -> Result<Vec<u8>> {
    let header =
        Header { kind: Kind::Revoked, deadline: to_millis(expiry.at()), commits: [OURS, 0, 0, 0] };
    record::encode(&header, &(), &[0; 32], false, usize::MAX)
}
