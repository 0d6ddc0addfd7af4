//! The builder of a store: its limits, its behaviour when it is full, and its clock.

use std::sync::Arc;

use mocha_session_core::{Clock, SystemClock};

use crate::budget::Budget;
use crate::store::MemoryStore;

/// The behaviour of a write when the store is full and contains no expired entry.
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
    /// It fails as [`ErrorKind::Full`](mocha_session_core::ErrorKind::Full), and acknowledged
    /// entries stay. A flood of new sessions cannot log a user out.
    #[default]
    Refuse,
    /// It removes the live entry that is closest to its expiry: with idle timeouts, the one that
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
    /// The default bound in bytes: 256 MiB.
    pub const DEFAULT_MAX_BYTES: usize = 256 * 1024 * 1024;

    pub(crate) fn new() -> Self {
        Self {
            max_entries: usize::MAX,
            max_bytes: Self::DEFAULT_MAX_BYTES,
            when_full: WhenFull::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets how many entries the store may hold. The default is no bound.
    #[must_use]
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// Sets how many bytes of heap the store may use. The default is 256 MiB. The store's overhead
    /// for each entry counts, so the bound is one on memory and not on data.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the behaviour of a write when the store is full. The default is to refuse it.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets the clock by which entries expire. The default is the machine's. Use the manager's
    /// clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Builds the store.
    pub fn build(self) -> MemoryStore {
        MemoryStore::with(
            Budget::new(self.max_entries as u64, self.max_bytes as u64),
            self.when_full,
            self.clock,
        )
    }
}
