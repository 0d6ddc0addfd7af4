//! What an engine can do, as data: read by the manager's requirements, the conformance suite and
//! the documentation.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// What an acknowledged write survives, from least to most.
///
/// ```
/// use mocha_session_core::store::Durability;
/// assert!(Durability::Server < Durability::Disk);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is lost when this process ends.
    Process,
    /// The end of this process, but not a restart of the engine.
    Server,
    /// A restart or crash of the engine, except for what was written in the last moments.
    Delayed,
    /// A crash of the engine: it was on disk before it was acknowledged.
    Disk,
    /// The loss of a machine: it was on several before it was acknowledged.
    Replicated,
}

/// What a store can do, as it is configured.
///
/// Built from the least, so that a store claims only what it says:
///
/// ```
/// use mocha_session_core::store::{Capabilities, Durability};
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
}

impl Capabilities {
    /// A store named `engine` (in errors and documentation) that compares and sets, and nothing
    /// more.
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
        }
    }

    /// The client-side mode: no store at all, so no compare-and-set.
    pub(crate) const fn client_side() -> Self {
        let mut it = Self::new("cookie");
        it.compare_and_set = false;
        it.native_expiry = true;
        it.max_value = Some(crate::http::cookie::MAX_COOKIE_BYTES);
        it
    }

    /// Whether [`scan`](super::SessionStore::scan) works.
    #[must_use]
    pub const fn with_listing(mut self, yes: bool) -> Self {
        self.listing = yes;
        self
    }

    /// Whether the engine removes expired entries by itself, so that sweeping does nothing.
    #[must_use]
    pub const fn with_native_expiry(mut self, yes: bool) -> Self {
        self.native_expiry = yes;
        self
    }

    /// Whether the engine may drop live entries to make room.
    #[must_use]
    pub const fn with_eviction(mut self, yes: bool) -> Self {
        self.evicts = yes;
        self
    }

    /// What an acknowledged write survives.
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The largest value the engine takes, in bytes.
    #[must_use]
    pub const fn with_max_value(mut self, bytes: usize) -> Self {
        self.max_value = Some(bytes);
        self
    }

    /// Whether the engine's client library may repeat a write whose answer it lost, and cannot be
    /// told not to. Its "revision does not match" may then mean that its own write was done.
    #[must_use]
    pub const fn with_repeated_writes(mut self, yes: bool) -> Self {
        self.repeats_writes = yes;
        self
    }

    /// The deadline of a call, from which the store derived its own timeouts. A manager takes it
    /// over unless it is given another.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The engine's name.
    pub const fn engine(&self) -> &'static str {
        self.engine
    }

    /// Whether writes are conditional on what was read. False for client-side sessions alone: there
    /// a logout is not final and simultaneous writes can be lost.
    pub const fn compare_and_set(&self) -> bool {
        self.compare_and_set
    }

    /// Whether entries can be listed.
    pub const fn listing(&self) -> bool {
        self.listing
    }

    /// Whether expired entries go away without a sweep.
    pub const fn native_expiry(&self) -> bool {
        self.native_expiry
    }

    /// Whether live entries may be dropped to make room.
    pub const fn evicts(&self) -> bool {
        self.evicts
    }

    /// What an acknowledged write survives.
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// The largest value, in bytes; `None` where the engine has no limit worth naming.
    pub const fn max_value(&self) -> Option<usize> {
        self.max_value
    }

    /// Whether the client library may repeat writes: where the core cannot tell whether a commit
    /// was done, it then reports it as ambiguous instead of doing it again.
    pub const fn repeats_writes(&self) -> bool {
        self.repeats_writes
    }

    /// The deadline of a call that the store was configured with.
    pub const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Refuses a value that is larger than [`max_value`](Self::max_value). A store calls it before
    /// a write, so that nothing is sent and nothing is changed.
    ///
    /// # Errors
    /// `TooLarge`, naming both sizes.
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
            // No store: nothing here is written that could be durable.
            let largest = self.max_value.unwrap_or(usize::MAX);
            return write!(
                f,
                "{}: kept by the client, compare-and-set no, listing no, native expiry yes, largest value {largest} bytes",
                self.engine
            );
        }
        write!(
            f,
            "{}: compare-and-set {}, listing {}, native expiry {}, evicts {}, durability {:?}, largest value {}",
            self.engine,
            yes(self.compare_and_set),
            yes(self.listing),
            yes(self.native_expiry),
            yes(self.evicts),
            self.durability,
            self.max_value.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{bytes} bytes")),
        )
    }
}
