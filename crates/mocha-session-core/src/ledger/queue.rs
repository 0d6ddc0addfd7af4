//! Commits of one session take turns within a process, so that only writers of different processes
//! conflict.
//!
//! Each turn passes the record that it wrote to the next one, which therefore needs no failed write
//! and no read. N writers of one session cost N writes, not N².

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ledger::written::{Sealed, Version};
use crate::store::StorageKey;

const SHARDS: usize = 32;

/// The writers that wait for a turn, in order. It is nearly always empty and then not allocated.
type Waiting = VecDeque<oneshot::Sender<Turn>>;

/// The sessions that are being written, and the writers that wait for them.
pub(crate) struct Queues(Box<[Mutex<HashMap<StorageKey, Waiting>>]>);

/// The right to write one session, until it is dropped.
pub(crate) struct Turn {
    /// The session that may be written; `None` once the turn was passed on.
    place: Option<(Arc<Queues>, StorageKey)>,
    written: Option<Box<(Version, Bytes)>>,
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    /// Waits for the turn to write the session under this key. Returns `None` after the time limit.
    pub(crate) async fn turn(self: &Arc<Self>, key: StorageKey, within: Duration) -> Option<Turn> {
        loop {
            let next = match self.try_turn(key) {
                Ok(turn) => return Some(turn),
                Err(mut taken) => {
                    let Entry::Occupied(taken) = taken.entry(key) else { continue };
                    let (pass, next) = oneshot::channel();
                    taken.into_mut().push_back(pass);
                    next
                }
            };
            // The channel closes only if its sender was dropped without passing the turn on: then
            // ask again. Boxed, because few commits wait.
            match Box::pin(tokio::time::timeout(within, next)).await {
                Ok(Ok(turn)) => return Some(turn),
                Ok(Err(_)) => {}
                Err(_) => return None,
            }
        }
    }

    /// Returns the turn, if no writer has it.
    pub(crate) fn turn_now(self: &Arc<Self>, key: StorageKey) -> Option<Turn> {
        self.try_turn(key).ok()
    }

    fn try_turn(
        self: &Arc<Self>,
        key: StorageKey,
    ) -> Result<Turn, MutexGuard<'_, HashMap<StorageKey, Waiting>>> {
        let mut shard = self.shard(&key);
        match shard.entry(key) {
            Entry::Vacant(free) => {
                free.insert(Waiting::new());
                Ok(Turn { place: Some((Arc::clone(self), key)), written: None })
            }
            Entry::Occupied(_) => Err(shard),
        }
    }

    fn shard(&self, key: &StorageKey) -> MutexGuard<'_, HashMap<StorageKey, Waiting>> {
        let at = usize::from(key.as_bytes()[0]) % SHARDS;
        self.0[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

impl Turn {
    /// Returns the record that the previous turn wrote, if this turn waited for it.
    pub(crate) fn latest(&mut self) -> Option<(Version, Bytes)> {
        self.written.take().map(|written| *written)
    }

    /// Ends the turn, and passes the written record to the next writer, if one waits.
    pub(crate) fn leave(&mut self, version: &Version, record: Sealed) {
        self.pass_on(|| Some(Box::new((version.clone(), record.into()))));
    }

    fn pass_on(&mut self, written: impl FnOnce() -> Option<Box<(Version, Bytes)>>) {
        let Some((queues, key)) = self.place.take() else { return };
        let mut shard = queues.shard(&key);
        let Entry::Occupied(mut waiting) = shard.entry(key) else { return };
        if waiting.get().is_empty() {
            waiting.remove();
            return;
        }
        let mut written = written();
        while let Some(pass) = waiting.get_mut().pop_front() {
            let next = Turn { place: Some((Arc::clone(&queues), key)), written };
            // Sending fails if the waiter has given up. A waiter that gives up later drops the
            // turn, which passes it on.
            match pass.send(next) {
                Ok(()) => return,
                Err(mut refused) => {
                    refused.place = None;
                    written = refused.written.take();
                }
            }
        }
        waiting.remove();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let written = self.written.take();
        self.pass_on(|| written);
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
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;
    use crate::record::{Header, Kind};

    #[tokio::test]
    async fn nothing_is_left_behind_by_those_who_wrote_or_gave_up() {
        let queues = Arc::new(Queues::new());
        let key = StorageKey::from_bytes([1; 20]);
        let first = queues.turn(key, LONG).await.unwrap();
        assert!(queues.turn_now(key).is_none());
        assert!(queues.turn(key, Duration::from_millis(5)).await.is_none());
        let next = tokio::spawn({
            let queues = Arc::clone(&queues);
            async move { drop(queues.turn(key, LONG).await) }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(first);
        next.await.unwrap();
        assert_eq!(queues.len(), 0);
        assert!(queues.turn_now(key).is_some());
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn waits(turn: &mut (impl Future<Output = Option<Turn>> + Unpin)) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *turn).poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn turns_come_in_order_and_one_that_is_given_up_when_it_comes_goes_on() {
        let queues = Arc::new(Queues::new());
        let key = StorageKey::from_bytes([1; 20]);
        let mut first = queues.turn(key, LONG).await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(queues.turn(key, LONG))).collect();
        for turn in &mut waiting {
            assert!(waits(turn).await);
        }
        let header = Header { kind: Kind::Live, deadline: 1, commits: [1, 0, 0, 0] };
        first.leave(&Version { header, revision: 7.into() }, Sealed::Written(b"record".to_vec()));
        // The first waiter already has the turn, but is dropped before it receives it.
        drop(waiting.remove(0));
        let mut second = waiting.remove(0).await.unwrap();
        let (version, record) = second.latest().unwrap();
        assert!(
            version.revision == 7.into() && record == "record",
            "what was written is passed on"
        );
        assert!(waits(&mut waiting[0]).await);
        drop(second);
        assert!(waiting.remove(0).await.unwrap().latest().is_none(), "taken by the one before");
        assert_eq!(queues.len(), 0);
    }
}
