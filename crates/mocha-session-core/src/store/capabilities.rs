//! The capabilities of an engine, as data that the manager, the conformance suite and the
//! documentation read.

use std::fmt;
use std::time::Duration;

use super::Changes;
use crate::error::{Error, ErrorKind, Result};

/// The failures that an acknowledged write survives, from weakest to strongest.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::Durability;
///
/// assert!(Durability::Server < Durability::Disk);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Survives nothing: it is lost when this process ends.
    Process,
    /// Survives the end of this process, but not a restart of the engine.
    Server,
    /// Survives a restart or crash of the engine, unless it was among the most recent writes.
    Delayed,
    /// Survives a crash of the engine: it was on disk before it was acknowledged.
    Disk,
    /// Survives the loss of a machine: it was on several machines before it was acknowledged.
    Replicated,
}

/// The capabilities of a store, as it is configured.
///
/// The default claims as little as possible. A store adds each capability that it has:
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::{Capabilities, Durability};
///
/// let redis = Capabilities::new("redis")
///     .with_listing(true)
///     .with_native_expiry(true)
///     .with_durability(Durability::Server)
///     .with_max_value(512 * 1024 * 1024);
/// assert!(redis.listing() && !redis.evicts() && redis.compare_and_set());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    engine: &'static str,
    compare_and_set: bool,
    listing: bool,
    native_expiry: bool,
    evicts: bool,
    durability: Durability,
    max_value: Option<usize>,
    repeats_writes: bool,
    deadline: Option<Duration>,
    reads_within: Option<Duration>,
    changes: Option<Changes>,
}

impl Capabilities {
    /// Creates the capabilities of a store that supports compare-and-set and nothing else. `engine`
    /// is its name in errors and documentation.
    pub const fn new(engine: &'static str) -> Self {
        Self {
            engine,
            compare_and_set: true,
            listing: false,
            native_expiry: false,
            evicts: false,
            durability: Durability::Process,
            max_value: None,
            repeats_writes: false,
            deadline: None,
            reads_within: None,
            changes: None,
        }
    }

    /// Creates the capabilities of the client-side mode. It has no store, so no compare-and-set.
    pub(crate) const fn client_side() -> Self {
        let mut it = Self::new("cookie");
        it.compare_and_set = false;
        it.native_expiry = true;
        it.max_value = Some(crate::http::cookie::MAX_COOKIE_BYTES);
        it
    }

    /// Sets whether [`scan`](super::SessionStore::scan) is supported. The default is `false`.
    #[must_use]
    pub const fn with_listing(mut self, yes: bool) -> Self {
        self.listing = yes;
        self
    }

    /// Sets whether the engine removes expired entries by itself, so that a sweep does nothing. The
    /// default is `false`.
    #[must_use]
    pub const fn with_native_expiry(mut self, yes: bool) -> Self {
        self.native_expiry = yes;
        self
    }

    /// Sets whether the engine may drop live entries to make room. The default is `false`.
    #[must_use]
    pub const fn with_eviction(mut self, yes: bool) -> Self {
        self.evicts = yes;
        self
    }

    /// Sets what an acknowledged write survives. The default is [`Durability::Process`].
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the largest value that the engine accepts, in bytes. The default is no limit.
    #[must_use]
    pub const fn with_max_value(mut self, bytes: usize) -> Self {
        self.max_value = Some(bytes);
        self
    }

    /// Sets whether the engine's client library may repeat a write whose answer was lost, and
    /// cannot be configured not to. The default is `false`.
    ///
    /// A failed compare-and-set may then mean that the store's own write was done.
    #[must_use]
    pub const fn with_repeated_writes(mut self, yes: bool) -> Self {
        self.repeats_writes = yes;
        self
    }

    /// Sets the deadline of a call, from which the store derived its own timeouts. A manager uses
    /// it unless it is configured with another.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Adds the changes that the engine reports by itself. The default is none.
    #[must_use]
    pub fn with_changes(mut self, changes: Changes) -> Self {
        self.changes = Some(changes);
        self
    }

    /// Sets the maximum age of a read. The default is that a read sees every acknowledged write.
    #[must_use]
    pub(crate) const fn with_reads_within(mut self, age: Duration) -> Self {
        self.reads_within = Some(age);
        self
    }

    /// Returns the engine's name.
    pub const fn engine(&self) -> &'static str {
        self.engine
    }

    /// Returns whether writes are conditional on the revision that was read.
    ///
    /// False only for client-side sessions. With them, a logout is not final, and one of several
    /// simultaneous writes can be lost.
    pub const fn compare_and_set(&self) -> bool {
        self.compare_and_set
    }

    /// Returns whether entries can be listed.
    pub const fn listing(&self) -> bool {
        self.listing
    }

    /// Returns whether the engine removes expired entries without a sweep.
    pub const fn native_expiry(&self) -> bool {
        self.native_expiry
    }

    /// Returns whether the engine may drop live entries to make room.
    pub const fn evicts(&self) -> bool {
        self.evicts
    }

    /// Returns what an acknowledged write survives.
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// Returns the largest value in bytes, or `None` if the engine has no relevant limit.
    pub const fn max_value(&self) -> Option<usize> {
        self.max_value
    }

    /// Returns whether the client library may repeat writes. If so, and the core cannot tell
    /// whether a commit was done, it reports the commit as ambiguous instead of repeating it.
    pub const fn repeats_writes(&self) -> bool {
        self.repeats_writes
    }

    /// Returns the deadline of a call that the store was configured with.
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Returns the changes that the engine reports, or `None` if it reports none.
    pub const fn changes(&self) -> Option<&Changes> {
        self.changes.as_ref()
    }

    /// Returns the maximum age of a read, or `None` if it sees every acknowledged write. Only
    /// [`Storage::near`](crate::Storage::near) allows old reads.
    pub const fn reads_within(&self) -> Option<Duration> {
        self.reads_within
    }

    /// Refuses a value that is larger than [`max_value`](Self::max_value).
    ///
    /// A store calls it before a write, so that nothing is sent.
    ///
    /// # Errors
    /// `TooLarge`, with both sizes.
    pub fn check_size(&self, value: &[u8]) -> Result<()> {
        match self.max_value {
            Some(most) if value.len() > most => Err(Error::new(
                ErrorKind::TooLarge,
                format!("the record takes {} bytes and the engine's limit is {most}", value.len()),
            )
            .on(self.engine)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        if !self.compare_and_set {
            // There is no store, so durability and eviction do not apply.
            let largest = self.max_value.unwrap_or(usize::MAX);
            return write!(
                f,
                "{}: kept by the client, compare-and-set no, listing no, native expiry yes, \
                 largest value {largest} bytes",
                self.engine
            );
        }
        write!(
            f,
            "{}: compare-and-set {}, listing {}, native expiry {}, evicts {}, durability {:?}, \
             largest value {}",
            self.engine,
            yes(self.compare_and_set),
            yes(self.listing),
            yes(self.native_expiry),
            yes(self.evicts),
            self.durability,
            self.max_value.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{bytes} bytes")),
        )?;
        match self.reads_within {
            Some(age) => write!(f, ", reads at most {age:?} old"),
            None => Ok(()),
        }
    }
}
