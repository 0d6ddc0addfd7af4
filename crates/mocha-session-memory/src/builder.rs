//! The settings of a store: its bounds, what happens at them, and its clock.

use std::sync::Arc;

use mocha_session_core::{Clock, SystemClock};

use crate::budget::Budget;
use crate::store::MemoryStore;

/// What happens to a write for which there is no room, once everything that has expired is gone.
///
/// ```
/// use mocha_session_core::store::SessionStore;
/// use mocha_session_memory::{MemoryStore, WhenFull};
///
/// assert!(!MemoryStore::new().capabilities().evicts());
/// assert!(MemoryStore::builder().when_full(WhenFull::Evict).build().capabilities().evicts());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused with [`ErrorKind::Full`](mocha_session_core::ErrorKind::Full). What was
    /// acknowledged is kept: a flood of new sessions cannot log anybody out.
    #[default]
    Refuse,
    /// The live entry that is closest to its expiry makes room: with idle timeouts, the one that
    /// was longest unused. [`MemoryStore::evicted`] counts them.
    Evict,
}

/// Builds a [`MemoryStore`].
///
/// ```
/// use mocha_session_memory::{MemoryStore, WhenFull};
///
/// let store = MemoryStore::builder()
///     .max_entries(100_000)
///     .max_bytes(64 * 1024 * 1024)
///     .when_full(WhenFull::Evict)
///     .build();
/// assert!(store.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStoreBuilder {
    max_entries: usize,
    max_bytes: usize,
    when_full: WhenFull,
    clock: Arc<dyn Clock>,
}

impl MemoryStoreBuilder {
    /// The bytes that a store may hold unless told otherwise: 256 MiB.
    pub const DEFAULT_MAX_BYTES: usize = 256 * 1024 * 1024;

    pub(crate) fn new() -> Self {
        Self {
            max_entries: usize::MAX,
            max_bytes: Self::DEFAULT_MAX_BYTES,
            when_full: WhenFull::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// How many entries it may hold; unlimited by default.
    #[must_use]
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// How many bytes of heap it may use; 256 MiB by default. What the store itself needs for an
    /// entry counts, so that the bound is about memory and not about data.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// What happens at the bounds; writes are refused by default.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// The clock by which entries expire; the machine's by default. Give it the clock that the
    /// manager has.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The store.
    pub fn build(self) -> MemoryStore {
        MemoryStore::with(
            Budget::new(self.max_entries as u64, self.max_bytes as u64),
            self.when_full,
            self.clock,
        )
    }
}
