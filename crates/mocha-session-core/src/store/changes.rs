//! Changes that an engine reports by itself, for stores that keep what they read.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::StorageKey;

/// Passes the changes that an engine reports on to the caches of this process.
///
/// A store whose engine reports changes of keys creates one, and adds it to its
/// [capabilities](super::Capabilities::with_changes). [`Storage::near`](crate::Storage::near) then
/// forgets a session as soon as the engine reports its change.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::store::{Capabilities, Changes};
///
/// let changes = Changes::new();
/// let capabilities = Capabilities::new("my engine").with_changes(changes.clone());
/// assert!(!changes.is_watched()); // so the store need not ask its engine for reports
/// assert_eq!(capabilities.changes(), Some(&changes));
/// ```
#[derive(Clone, Default)]
pub struct Changes(Arc<Watchers>);

#[derive(Default)]
struct Watchers {
    all: Mutex<Vec<Weak<dyn Watcher>>>,
    any: AtomicBool,
}

/// A cache.
pub(crate) trait Watcher: Send + Sync {
    /// An entry has changed; `None` if any may have.
    fn changed(&self, key: Option<&StorageKey>);
}

impl Changes {
    /// Creates a report that no cache watches yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether a cache ever watched. If not, the store need not ask its engine for reports.
    pub fn is_watched(&self) -> bool {
        self.0.any.load(Ordering::Acquire)
    }

    /// Reports that an entry was written or removed.
    pub fn changed(&self, key: &StorageKey) {
        self.tell(Some(key));
    }

    /// Reports that changes may have been missed, for example because a connection was lost.
    pub fn missed(&self) {
        self.tell(None);
    }

    pub(crate) fn watch(&self, watcher: Weak<dyn Watcher>) {
        let mut watchers = self.watchers();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(watcher);
        self.0.any.store(true, Ordering::Release);
    }

    fn tell(&self, key: Option<&StorageKey>) {
        let watchers: Vec<_> = self.watchers().iter().filter_map(Weak::upgrade).collect();
        for watcher in watchers {
            watcher.changed(key);
        }
    }

    fn watchers(&self) -> MutexGuard<'_, Vec<Weak<dyn Watcher>>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two are equal if they are the same.
impl PartialEq for Changes {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Changes {}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("watched", &self.is_watched()).finish()
    }
}
