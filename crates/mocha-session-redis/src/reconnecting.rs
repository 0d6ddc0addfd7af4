//! A connection that is opened when a command needs it, and again after it broke: one for each
//! runtime.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mocha_session_core::Result;
use mocha_session_core::backend::{Dialer, PerRuntime};
use mocha_session_core::store::{Changes, Effect, Failure, KeySpace};
use tokio::sync::Mutex as AsyncMutex;

use crate::dial::{Place, Target};
use crate::open_connection::OpenConnection;

/// The text of the error when a call has waited for a connection as long as it may.
const LATE: &str = "no connection in half of `timeout`; are the hosts and the ports right, and open \
     in the firewall?";

/// The connections of each runtime to a server or a cluster.
///
/// Not the client's own `ConnectionManager`, because that one fails for good when the server
/// refuses a reconnection, does not look for another primary, and does not tell whether a command
/// was sent.
pub(crate) struct Reconnecting {
    target: Target,
    dialer: Arc<Dialer>,
    slots: PerRuntime<Slot>,
}

/// The connection of one runtime.
#[derive(Default)]
struct Slot {
    open: Mutex<Option<Arc<OpenConnection>>>,
    /// Held by the task that dials, so that all callers wait for the same attempt.
    turn: Arc<AsyncMutex<()>>,
}

impl Slot {
    fn open_now(&self) -> Option<Arc<OpenConnection>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().filter(|open| open.is_good()).cloned()
    }
}

impl Reconnecting {
    /// Returns the reports of the keys of a store.
    pub(crate) fn changes(&self, space: &KeySpace) -> Option<Changes> {
        // The nodes of a cluster report to connections that belong to the client.
        let cluster = matches!(self.target.place, Place::Cluster(_) | Place::ClusterClient(_));
        if cluster { None } else { self.target.tracking.of(space) }
    }

    pub(crate) fn new(target: Target) -> Self {
        Self { target, dialer: Arc::default(), slots: PerRuntime::new() }
    }

    /// Returns the connection of the caller's runtime, and dials if there is none.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<Arc<OpenConnection>> {
        let slot = self.slots.here(Slot::default)?;
        match slot.open_now() {
            Some(open) if self.suffices(&open) => Ok(open),
            _ => {
                Box::pin(async {
                    let dialled = tokio::time::timeout(self.target.patience, self.dial(slot)).await;
                    dialled.unwrap_or_else(|_| Err(Failure::NotSent.error(Effect::Read, LATE)))
                })
                .await
            }
        }
    }

    /// Returns whether the connection reports changes, if a cache needs that.
    fn suffices(&self, open: &OpenConnection) -> bool {
        open.tracked || !self.target.tracking.is_wanted()
    }

    async fn dial(self: &Arc<Self>, slot: Arc<Slot>) -> Result<Arc<OpenConnection>> {
        let turn = Arc::clone(&slot.turn).lock_owned().await;
        if let Some(open) = slot.open_now()
            && self.suffices(&open)
        {
            return Ok(open);
        }
        let this = Arc::clone(self);
        // A task of its own, so that it outlives the call that needed it first.
        let dialling = tokio::spawn(async move {
            let _turn = turn;
            let attempt = this.dialer.attempt(Instant::now())?;
            match this.target.dial().await {
                Ok(dialled) => {
                    let home = (Arc::clone(&this.dialer), attempt.succeeded());
                    let open = Arc::new(OpenConnection::new(dialled, Some(home)));
                    *slot.open.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(Arc::clone(&open));
                    Ok(open)
                }
                Err(error) => Err(attempt.failed(Instant::now(), error)),
            }
        });
        let ended =
            || Failure::NotSent.error(Effect::Read, "the runtime ended while it was connecting");
        dialling.await.unwrap_or_else(|_| Err(ended()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::time::Duration;

    use mocha_session_core::ErrorKind;
    use mocha_session_core::backend::Timeouts;

    use super::*;

    #[tokio::test]
    async fn call_that_waits_too_long_for_a_connection_was_not_sent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = ("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
        for place in [Place::Server(silent.clone()), Place::Cluster(vec![silent; 3])] {
            let mut timeouts = Timeouts::default();
            timeouts.connect = Duration::from_secs(60);
            let patience = Duration::from_millis(100);
            let target = Target { timeouts, patience, ..Target::new(place) };
            let connections = Arc::new(Reconnecting::new(target));
            // The second call waits for the attempt of the first.
            for _ in 0..2 {
                let call = tokio::time::timeout(timeouts.connect / 6, connections.open());
                let error = call.await.expect("it ends before the dial").err().unwrap();
                let told = (error.kind(), error.is_ambiguous());
                assert_eq!(told, (ErrorKind::Unavailable, false), "{error}");
            }
        }
    }
}
