//! The types of the store contract: revisions, expiries, stored values, pages and cursors.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::StorageKey;
use crate::error::Error;
use crate::time::{from_millis, to_millis};

/// Identifies one write of an entry. It is opaque, and never used twice for one key.
///
/// An engine that compares whole values can use the stored value itself, if that holds something
/// unique.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::Revision;
///
/// let revision = Revision::from(42);
/// assert_eq!(revision.as_u64(), Some(42));
/// let etag = Revision::from("\"9b2cf535f27731c974343645a3985328\"".to_owned());
/// assert_eq!(etag.as_u64(), None);
/// assert_eq!(etag.as_str(), "\"9b2cf535f27731c974343645a3985328\"");
/// assert_eq!(Revision::from(vec![7, 255]).as_bytes(), Some(&[7, 255][..]));
/// assert_ne!(Revision::random(), Revision::random());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Revision(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Number(u64),
    Bytes(Box<[u8]>),
}

impl Revision {
    /// Creates a random 64-bit revision, for stores whose engine has no revisions of its own.
    ///
    /// It must be unique but need not be unpredictable. Two given writes have the same number with
    /// a probability of 2⁻⁶⁴.
    pub fn random() -> Self {
        Self(Repr::Number(fastrand::u64(..)))
    }

    /// Returns the number, or `None` if the revision is text or bytes.
    pub fn as_u64(&self) -> Option<u64> {
        match self.0 {
            Repr::Number(number) => Some(number),
            Repr::Bytes(_) => None,
        }
    }

    /// Returns the bytes, or those of the text. Returns `None` if the revision is a number.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Repr::Number(_) => None,
            Repr::Bytes(bytes) => Some(bytes),
        }
    }

    /// Returns the text, or the number in decimal. Bytes that are not UTF-8 are replaced.
    pub fn as_str(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Number(number) => Cow::Owned(number.to_string()),
            Repr::Bytes(bytes) => String::from_utf8_lossy(bytes),
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
        Self::from(text.into_bytes())
    }
}

impl From<Vec<u8>> for Revision {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Repr::Bytes(bytes.into()))
    }
}

/// Shows the number. Omits bytes, because they can be a stored value.
impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Number(number) => write!(f, "Revision({number})"),
            Repr::Bytes(bytes) => write!(f, "Revision({} bytes)", bytes.len()),
        }
    }
}

/// A stored value and its revision.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::{Revision, Stored};
///
/// let stored = Stored::new(vec![1, 2, 3], Revision::from(7));
/// assert_eq!(stored.value(), &[1, 2, 3][..]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    value: Bytes,
    revision: Revision,
}

impl Stored {
    /// Creates a stored value.
    pub fn new(value: impl Into<Bytes>, revision: Revision) -> Self {
        Self { value: value.into(), revision }
    }

    /// Returns the value's bytes.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// Returns the revision of the write that stored the value.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Returns the value and the revision.
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

/// The expiry of an entry, both as an instant and as the time left.
///
/// An engine that accepts relative lifetimes should use the time left, so that its clock need not
/// agree with the application's.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::time::{Duration, SystemTime};
/// use mocha_session::store::Expiry;
///
/// let expiry = Expiry::after(Duration::from_millis(1_500), SystemTime::UNIX_EPOCH);
/// assert_eq!(expiry.at_millis(), 1_500);
/// assert_eq!(expiry.ttl_millis(), 1_500);
/// assert_eq!(expiry.ttl_secs(), 2); // rounded up, so that no entry expires early
/// // No lifetime overflows, here or in an engine:
/// assert_eq!(Expiry::after(Duration::MAX, SystemTime::now()).ttl(), Expiry::MAX_TTL);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    at_millis: u64,
    ttl: Duration,
}

impl Expiry {
    /// The longest lifetime: a hundred years, which every engine accepts. Longer lifetimes are cut
    /// to it.
    pub const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

    /// Creates an expiry `ttl` after `now`. `ttl` is clamped to at least one millisecond and at
    /// most [`MAX_TTL`](Self::MAX_TTL).
    pub fn after(ttl: Duration, now: SystemTime) -> Self {
        let ttl = ttl.clamp(Duration::from_millis(1), Self::MAX_TTL);
        Self {
            at_millis: to_millis(now)
                .saturating_add(ttl.as_millis().try_into().unwrap_or(u64::MAX)),
            ttl,
        }
    }

    /// Creates an expiry at an instant, as seen from `now`. An instant in the past leaves one
    /// millisecond.
    pub fn at_instant(at: SystemTime, now: SystemTime) -> Self {
        Self::after(at.duration_since(now).unwrap_or_default(), now)
    }

    /// Returns the instant.
    pub fn at(&self) -> SystemTime {
        from_millis(self.at_millis)
    }

    /// Returns the instant in milliseconds since 1970, for example for a `BIGINT` column.
    pub fn at_millis(&self) -> i64 {
        i64::try_from(self.at_millis).unwrap_or(i64::MAX)
    }

    /// Returns the time left.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns the time left in milliseconds, at least 1.
    pub fn ttl_millis(&self) -> u64 {
        u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the time left in whole seconds, rounded up, at least 1.
    pub fn ttl_secs(&self) -> u64 {
        self.ttl_millis().div_ceil(1000)
    }
}

/// The position at which a [`scan`](super::SessionStore::scan) or a
/// [`sweep`](super::SessionStore::sweep) continues. Only the store that made the cursor reads it.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::ScanCursor;
///
/// assert_eq!(ScanCursor::new("17").as_str(), "17");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ScanCursor(String);

impl ScanCursor {
    /// Creates a cursor from text that the store can read back.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the cursor's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Omits the text, because for some engines it is a key.
impl fmt::Debug for ScanCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScanCursor(…)")
    }
}

/// One page of a store's entries.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::ScanPage;
///
/// let page = ScanPage::new(Vec::new(), None);
/// assert!(page.entries().is_empty() && page.next().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct ScanPage {
    entries: Vec<(StorageKey, Stored)>,
    next: Option<ScanCursor>,
}

impl ScanPage {
    /// Creates a page. `next` is the cursor of the next page, or `None` if this is the last.
    pub fn new(entries: Vec<(StorageKey, Stored)>, next: Option<ScanCursor>) -> Self {
        Self { entries, next }
    }

    /// Returns the entries.
    pub fn entries(&self) -> &[(StorageKey, Stored)] {
        &self.entries
    }

    /// Returns the entries by value.
    pub fn into_entries(self) -> Vec<(StorageKey, Stored)> {
        self.entries
    }

    /// Returns the cursor of the next page, or `None` if this is the last.
    pub fn next(&self) -> Option<&ScanCursor> {
        self.next.as_ref()
    }
}

/// The result of one batch of a sweep.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::SweepReport;
///
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
    /// Creates a report: the number of entries examined and removed, and the cursor of the next
    /// batch, or `None` if the sweep is complete.
    pub fn new(examined: u64, removed: u64, next: Option<ScanCursor>) -> Self {
        Self { examined, removed, next, ..Self::default() }
    }

    /// Adds the number of expired entries that could not be removed, and the first error. The sweep
    /// continues after them.
    #[must_use]
    pub fn with_failures(mut self, failed: u64, first: Option<&Error>) -> Self {
        self.failed = failed;
        self.failure = first.map(ToString::to_string);
        self
    }

    /// Replaces the cursor, for a store that sweeps several stores.
    #[must_use]
    pub fn with_next(mut self, next: Option<ScanCursor>) -> Self {
        self.next = next;
        self
    }

    /// Creates the report of a store whose engine removes expired entries by itself.
    pub fn native() -> Self {
        Self { native: true, ..Self::default() }
    }

    /// Returns the number of entries examined.
    pub fn examined(&self) -> u64 {
        self.examined
    }

    /// Returns the number of entries removed.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Returns the cursor of the next batch, or `None` if the sweep is complete.
    pub fn next(&self) -> Option<&ScanCursor> {
        self.next.as_ref()
    }

    /// Returns whether the engine removes expired entries by itself.
    pub fn is_native(&self) -> bool {
        self.native
    }

    /// Returns the number of expired entries that could not be removed.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Returns the error of the first entry that could not be removed.
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
