//! A connection that is opened when it is needed, and again after it broke: one for each runtime
//! that uses it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mocha_session_core::Result;
use mocha_session_core::backend::{Dialer, PerRuntime};
use mocha_session_core::store::{Effect, Failure};
use tokio::sync::Mutex as AsyncMutex;

use crate::dial::Target;
use crate::session::Session;

/// What leads to a server or a cluster.
///
/// Not the client's own `ConnectionManager`: that one fails for good when a reconnection is refused
/// by the server, does not look for another primary, and does not tell a command that was never
/// sent from one that was.
pub(crate) struct Link {
    target: Target,
    dialer: Arc<Dialer>,
    lanes: PerRuntime<Lane>,
}

/// The connection of one runtime.
#[derive(Default)]
struct Lane {
    session: Mutex<Option<Arc<Session>>>,
    /// Held by the task that dials, so that all who need a connection wait for the same attempt.
    turn: Arc<AsyncMutex<()>>,
}

impl Lane {
    fn open(&self) -> Option<Arc<Session>> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.as_ref().filter(|session| session.is_good()).cloned()
    }
}

impl Link {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, dialer: Arc::default(), lanes: PerRuntime::new() }
    }

    /// The connection of the runtime that asks.
    pub(crate) async fn session(self: &Arc<Self>) -> Result<Arc<Session>> {
        let lane = self.lanes.here()?;
        match lane.open() {
            Some(session) => Ok(session),
            None => Box::pin(self.dial(lane)).await,
        }
    }

    async fn dial(self: &Arc<Self>, lane: Arc<Lane>) -> Result<Arc<Session>> {
        let turn = Arc::clone(&lane.turn).lock_owned().await;
        if let Some(session) = lane.open() {
            return Ok(session);
        }
        let link = Arc::clone(self);
        // A task of its own, so that it is not given up with the request that happened to need it
        // first.
        let dialling = tokio::spawn(async move {
            let _turn = turn;
            let attempt = link.dialer.attempt(Instant::now())?;
            match link.target.dial().await {
                Ok(dialled) => {
                    let home = (Arc::clone(&link.dialer), attempt.succeeded());
                    let session = Arc::new(Session::new(dialled, Some(home)));
                    *lane.session.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(Arc::clone(&session));
                    Ok(session)
                }
                Err(error) => Err(attempt.failed(Instant::now(), error)),
            }
        });
        let ended =
            || Failure::NotSent.error(Effect::Read, "the runtime ended while it was connecting");
        dialling.await.unwrap_or_else(|_| Err(ended()))
    }
}
