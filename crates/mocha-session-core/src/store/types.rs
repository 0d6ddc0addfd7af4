//! The small types that cross the store contract: revisions, expiries, what was stored, pages and
//! cursors.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::StorageKey;
use crate::error::Error;
use crate::time::{from_millis, to_millis};

/// Which write of an entry this is: opaque, comparable, and never used twice for one key.
///
/// ```
/// use mocha_session_core::store::Revision;
///
/// let revision = Revision::from(42);
/// assert_eq!(revision.as_u64(), Some(42));
/// let etag = Revision::from("\"9b2cf535f27731c974343645a3985328\"".to_owned());
/// assert_eq!(etag.as_u64(), None);
/// assert_eq!(etag.as_str(), "\"9b2cf535f27731c974343645a3985328\"");
/// assert_ne!(Revision::random(), Revision::random());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision(Repr);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Repr {
    Number(u64),
    Text(Box<str>),
}

impl Revision {
    /// A number that was never used for any key: what a store without revisions of its own gives
    /// each write.
    ///
    /// Unpredictability is not needed, uniqueness is: 2⁻⁶⁴ is the chance that two given writes
    /// share a number.
    pub fn random() -> Self {
        Self(Repr::Number(fastrand::u64(..)))
    }

    /// The number, if it is one.
    pub fn as_u64(&self) -> Option<u64> {
        match self.0 {
            Repr::Number(number) => Some(number),
            Repr::Text(_) => None,
        }
    }

    /// As text: the text it was made of, or the number in decimal.
    pub fn as_str(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Number(number) => Cow::Owned(number.to_string()),
            Repr::Text(text) => Cow::Borrowed(text),
        }
    }
}

impl From<u64> for Revision {
    fn from(number: u64) -> Self {
        Self(Repr::Number(number))
    }
}

impl From<String> for Revision {
    fn from(text: String) -> Self {
        Self(Repr::Text(text.into()))
    }
}

/// A value as a store holds it, with its revision.
///
/// ```
/// use mocha_session_core::store::{Revision, Stored};
/// let stored = Stored::new(vec![1, 2, 3], Revision::from(7));
/// assert_eq!(stored.value(), &[1, 2, 3][..]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    value: Bytes,
    revision: Revision,
}

impl Stored {
    /// A value and the revision it has.
    pub fn new(value: impl Into<Bytes>, revision: Revision) -> Self {
        Self { value: value.into(), revision }
    }

    /// The bytes that were stored.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// The revision of the write that stored them.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Both, by value.
    pub fn into_parts(self) -> (Bytes, Revision) {
        (self.value, self.revision)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("bytes", &self.value.len())
            .field("revision", &self.revision)
            .finish()
    }
}

/// When an entry expires, said twice: as an instant, and as the time left from now.
///
/// An engine that takes relative lifetimes uses the second, so that its clock need not agree with
/// ours.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use mocha_session_core::store::Expiry;
///
/// let expiry = Expiry::after(Duration::from_millis(1_500), SystemTime::UNIX_EPOCH);
/// assert_eq!(expiry.at_millis(), 1_500);
/// assert_eq!(expiry.ttl_millis(), 1_500);
/// assert_eq!(expiry.ttl_secs(), 2); // rounded up: an entry must not go early
/// // No lifetime overflows, here or in an engine:
/// assert_eq!(Expiry::after(Duration::MAX, SystemTime::now()).ttl(), Expiry::MAX_TTL);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    at_millis: u64,
    ttl: Duration,
}

impl Expiry {
    /// The longest lifetime: a hundred years. Longer ones are cut to it; no engine has trouble with
    /// it.
    pub const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

    /// An expiry `ttl` after `now`; at least a millisecond, at most [`MAX_TTL`](Self::MAX_TTL).
    pub fn after(ttl: Duration, now: SystemTime) -> Self {
        let ttl = ttl.clamp(Duration::from_millis(1), Self::MAX_TTL);
        Self {
            at_millis: to_millis(now)
                .saturating_add(ttl.as_millis().try_into().unwrap_or(u64::MAX)),
            ttl,
        }
    }

    /// An expiry at an instant, seen from `now`; one that is past leaves a millisecond.
    pub fn at_instant(at: SystemTime, now: SystemTime) -> Self {
        Self::after(at.duration_since(now).unwrap_or_default(), now)
    }

    /// The instant.
    pub fn at(&self) -> SystemTime {
        from_millis(self.at_millis)
    }

    /// The instant in milliseconds since 1970: what a `BIGINT` column holds.
    pub fn at_millis(&self) -> i64 {
        i64::try_from(self.at_millis).unwrap_or(i64::MAX)
    }

    /// The time left.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The time left in milliseconds, at least 1.
    pub fn ttl_millis(&self) -> u64 {
        u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)
    }

    /// The time left in whole seconds, rounded up, at least 1.
    pub fn ttl_secs(&self) -> u64 {
        self.ttl_millis().div_ceil(1000)
    }
}

/// Where a [`scan`](super::SessionStore::scan) or a [`sweep`](super::SessionStore::sweep) goes on:
/// opaque text that only the store that made it reads.
///
/// ```
/// use mocha_session_core::store::ScanCursor;
/// assert_eq!(ScanCursor::new("17").as_str(), "17");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ScanCursor(String);

impl ScanCursor {
    /// A cursor of the store's own making.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text it was made of.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Without its text: for some engines that is a key.
impl fmt::Debug for ScanCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScanCursor(…)")
    }
}

/// One page of a store's entries.
///
/// ```
/// use mocha_session_core::store::ScanPage;
/// let page = ScanPage::new(Vec::new(), None);
/// assert!(page.entries().is_empty() && page.next().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct ScanPage {
    entries: Vec<(StorageKey, Stored)>,
    next: Option<ScanCursor>,
}

impl ScanPage {
    /// A page, and where to go on; `None` when this was the last.
    pub fn new(entries: Vec<(StorageKey, Stored)>, next: Option<ScanCursor>) -> Self {
        Self { entries, next }
    }

    /// The entries.
    pub fn entries(&self) -> &[(StorageKey, Stored)] {
        &self.entries
    }

    /// The entries, by value.
    pub fn into_entries(self) -> Vec<(StorageKey, Stored)> {
        self.entries
    }

    /// Where to go on; `None` at the end.
    pub fn next(&self) -> Option<&ScanCursor> {
        self.next.as_ref()
    }
}

/// What one batch of a sweep did.
///
/// ```
/// use mocha_session_core::store::SweepReport;
/// let report = SweepReport::new(1000, 3, None);
/// assert_eq!((report.examined(), report.removed()), (1000, 3));
/// assert!(SweepReport::native().is_native());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    examined: u64,
    removed: u64,
    next: Option<ScanCursor>,
    native: bool,
    failed: u64,
    failure: Option<String>,
}

impl SweepReport {
    /// How many entries were looked at, how many removed, and where to go on; `None` when the sweep
    /// is complete.
    pub fn new(examined: u64, removed: u64, next: Option<ScanCursor>) -> Self {
        Self { examined, removed, next, ..Self::default() }
    }

    /// Counts entries that have expired and could not be removed, with the first reason. The sweep
    /// goes on after them.
    #[must_use]
    pub fn with_failures(mut self, failed: u64, first: Option<&Error>) -> Self {
        self.failed = failed;
        self.failure = first.map(ToString::to_string);
        self
    }

    /// The same report, going on elsewhere: for a store that sweeps others.
    #[must_use]
    pub fn with_next(mut self, next: Option<ScanCursor>) -> Self {
        self.next = next;
        self
    }

    /// The engine removes what expired by itself: there is nothing to do.
    pub fn native() -> Self {
        Self { native: true, ..Self::default() }
    }

    /// How many entries were looked at.
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// How many entries were removed.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Where to go on; `None` when the sweep is complete.
    pub fn next(&self) -> Option<&ScanCursor> {
        self.next.as_ref()
    }

    /// Whether the engine expires by itself.
    pub fn is_native(&self) -> bool {
        self.native
    }

    /// How many expired entries could not be removed.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Why the first of them could not be removed.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lifetime_panics_or_goes_early() {
        for ttl in
            [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u64::MAX), Duration::MAX]
        {
            let expiry = Expiry::after(ttl, SystemTime::now());
            assert!(expiry.ttl_secs() >= 1 && expiry.ttl() <= Expiry::MAX_TTL);
            assert!(expiry.at() > SystemTime::UNIX_EPOCH);
        }
        assert_eq!(Expiry::at_instant(SystemTime::UNIX_EPOCH, SystemTime::now()).ttl_millis(), 1);
    }

    #[test]
    fn debug_shows_no_payload() {
        assert!(
            !format!("{:?}", Stored::new(&b"hunter2"[..], Revision::from(1))).contains("hunter")
        );
    }
}
