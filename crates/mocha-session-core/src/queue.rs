//! Commits of one session take turns inside a process, so that only writers of different processes conflict.
//!
//! Who waits for a turn finds what the one before wrote, and needs neither a failed write nor a read to go on from it:
//! N writers of one session cost N writes, not N².

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::store::StorageKey;
use crate::vault::Version;

const SHARDS: usize = 32;

type Slot = Arc<AsyncMutex<Option<(Version, Bytes)>>>;
type Shard = Mutex<HashMap<StorageKey, Slot>>;

/// Who is writing which session.
pub(crate) struct Queues(Box<[Shard]>);

/// The right to write one session, until it is dropped.
pub(crate) struct Turn {
    // Dropped before the place is given up: who comes next must find either the slot or nothing.
    guard: OwnedMutexGuard<Option<(Version, Bytes)>>,
    _place: PlaceInQueue,
}

/// A slot in use, removed from the map when its last user goes, even one that gave up waiting.
struct PlaceInQueue {
    queues: Arc<Queues>,
    key: StorageKey,
    slot: Option<Slot>,
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// Waits for the turn to write the session under this key.
    pub(crate) async fn turn(self: &Arc<Self>, key: StorageKey) -> Turn {
        let slot = Arc::clone(self.shard(&key).entry(key).or_default());
        let place = PlaceInQueue { queues: Arc::clone(self), key, slot: Some(Arc::clone(&slot)) };
        Turn { guard: slot.lock_owned().await, _place: place }
    }

    fn shard(&self, key: &StorageKey) -> MutexGuard<'_, HashMap<StorageKey, Slot>> {
        let at = usize::from(key.as_bytes()[0]) % SHARDS;
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

impl Turn {
    /// What was written in the turn before, if somebody waited for it.
    pub(crate) fn latest(&mut self) -> Option<(Version, Bytes)> {
        self.guard.take()
    }

    /// Leaves what was written for the next one.
    pub(crate) fn leave(&mut self, version: &Version, record: &Bytes) {
        *self.guard = Some((version.clone(), record.clone()));
    }
}

impl Drop for PlaceInQueue {
    fn drop(&mut self) {
        let mut shard = self.queues.shard(&self.key);
        self.slot = None;
        // Slots are handed out under the shard's lock alone, so a count of one means that nobody else has it.
        if shard.get(&self.key).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            shard.remove(&self.key);
        }
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queues")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn nothing_is_left_behind_by_those_who_wrote_or_gave_up() {
        let queues = Arc::new(Queues::new());
        let key = StorageKey::from_bytes([1; 20]);
        let first = queues.turn(key).await;
        let waiting = tokio::time::timeout(Duration::from_millis(5), queues.turn(key)).await;
        assert!(waiting.is_err());
        let next = tokio::spawn({
            let queues = Arc::clone(&queues);
            async move { drop(queues.turn(key).await) }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(first);
        next.await.unwrap();
        assert_eq!(queues.len(), 0);
    }
}
