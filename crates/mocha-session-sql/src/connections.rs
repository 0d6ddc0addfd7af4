//! The connections to what a URL named, a server or a file: a small pool of the store's own.
//!
//! sqlx's pool pings each connection that comes back, waits for the answer without end, and keeps
//! dialling a server that refuses. That costs a round trip per call and lets a silent server empty
//! the pool. Here a connection goes back as it is, is asked only after a quiet second, and nothing
//! waits without end.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use mocha_session_core::backend::{CredentialSource, Credentials, Dialer, Era};
use mocha_session_core::store::Effect;
use sqlx::Connection as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{timeout, timeout_at};

use crate::clocks::Clocks;
use crate::engine::{Engine, Options};
use crate::error::{Failed, Sign, Stage, is_refused_setting};

/// A connection that is idle for longer is closed.
const IDLE: Duration = Duration::from_mins(10);

/// A connection that is older is closed, so that the connections follow a server that has moved.
const LIFETIME: Duration = Duration::from_mins(30);

/// How many connections are made at once. A server that comes back is not met by all of them
/// together, and most calls that wait get a connection that others give back.
const DIALS: usize = 2;

/// How long a connection may take to say goodbye, when it cannot at once.
const GOODBYE: Duration = Duration::from_secs(1);

pub(crate) struct Connections<DB: Engine> {
    hosts: Vec<Target<DB>>,
    /// The host that took the last connection: the next is tried there first.
    last: AtomicUsize,
    /// Whether a pooler refused settings at connecting.
    bare: AtomicBool,
    credentials: CredentialSource,
    pub(crate) clocks: Clocks,
    places: Arc<Semaphore>,
    turns: Semaphore,
    dialer: Dialer,
    /// Told of each connection that is parked.
    returned: Notify,
    /// The last used at the back.
    parked: Mutex<VecDeque<Parked<DB>>>,
}

/// A host, and how it is connected to.
pub(crate) struct Target<DB: Engine> {
    pub options: Options<DB>,
    /// The same without settings that a pooler may refuse.
    pub bare: Option<Options<DB>>,
}

struct Parked<DB: Engine> {
    connection: DB::Connection,
    era: Era,
    born: Instant,
    since: Instant,
}

/// A connection that is in use, and its place among the connections.
pub(crate) struct Live<DB: Engine> {
    pub(crate) connection: DB::Connection,
    era: Era,
    born: Instant,
    place: OwnedSemaphorePermit,
}

impl<DB: Engine> Connections<DB> {
    pub(crate) fn new(
        hosts: Vec<Target<DB>>,
        credentials: CredentialSource,
        clocks: Clocks,
        most: usize,
    ) -> Self {
        Self {
            hosts,
            last: AtomicUsize::new(0),
            bare: AtomicBool::new(false),
            credentials,
            clocks,
            places: Arc::new(Semaphore::new(most)),
            turns: Semaphore::new(DIALS),
            dialer: Dialer::new(),
            returned: Notify::new(),
            parked: Mutex::default(),
        }
    }

    /// A connection to the primary within this time: one that is idle, or a new one.
    pub(crate) async fn take(&self, wait: Duration) -> Result<Live<DB>, Failed> {
        let until = tokio::time::Instant::now() + wait;
        let place = match timeout_at(until, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => {
                return Err(Failed::of(sqlx::Error::PoolClosed, Stage::Dialling, DB::DIALECT));
            }
            Err(_) => {
                return Err(Failed::of(sqlx::Error::PoolTimedOut, Stage::Dialling, DB::DIALECT));
            }
        };
        // A file is opened in this process: its own limits apply, and say what kept it from being
        // opened.
        let found = if DB::LOCAL {
            Ok(self.find(until).await)
        } else {
            timeout_at(until, self.find(until)).await
        };
        let (connection, era, born) = found.unwrap_or_else(|_| Err(Failed::too_slow()))?;
        Ok(Live { connection, era, born, place })
    }

    /// An idle connection, or a new one when it is this call's turn to dial.
    async fn find(
        &self,
        until: tokio::time::Instant,
    ) -> Result<(DB::Connection, Era, Instant), Failed> {
        let mut turn = None;
        loop {
            if let Some(Parked { connection, era, born, .. }) = self.idle().await {
                return Ok((connection, era, born));
            }
            if turn.is_some() {
                break;
            }
            let (mut mine, mut returned) =
                (pin!(self.turns.acquire()), pin!(self.returned.notified()));
            turn = std::future::poll_fn(|context| match mine.as_mut().poll(context) {
                Poll::Ready(turn) => Poll::Ready(turn.ok()),
                Poll::Pending => returned.as_mut().poll(context).map(|()| None),
            })
            .await;
        }
        let attempt = self.dialer.attempt(Instant::now()).map_err(Failed::told)?;
        match self.connect(until).await {
            Ok(connection) => Ok((connection, attempt.succeeded(), Instant::now())),
            Err(failed) => {
                let error = failed.error(Effect::Read, None);
                Err(Failed::told(attempt.failed(Instant::now(), error)))
            }
        }
    }

    /// A connection comes back. Its place is free only when it is parked, or there would be too
    /// many.
    pub(crate) fn park(&self, live: Live<DB>) {
        let now = Instant::now();
        let Live { connection, era, born, place } = live;
        let mut over = Vec::new();
        let mut parked = self.lock();
        if DB::LOCAL || self.dialer.is_current(era) && now.duration_since(born) < LIFETIME {
            parked.push_back(Parked { connection, era, born, since: now });
        } else {
            over.push(connection);
        }
        while !DB::LOCAL
            && parked.front().is_some_and(|oldest| now.duration_since(oldest.since) > IDLE)
        {
            over.extend(parked.pop_front().map(|oldest| oldest.connection));
        }
        drop(parked);
        self.returned.notify_one();
        over.into_iter().for_each(goodbye::<DB>);
        drop(place);
    }

    /// A connection broke, or its server takes no writes any more: those that are as old are left
    /// as well.
    pub(crate) fn leave(&self, live: Live<DB>) {
        self.leave_era(live.era);
        goodbye::<DB>(live.connection);
    }

    fn leave_era(&self, era: Era) {
        self.dialer.leave(era);
        let (current, left) = self
            .lock()
            .drain(..)
            .partition::<Vec<_>, _>(|parked| self.dialer.is_current(parked.era));
        self.lock().extend(current);
        left.into_iter().for_each(|parked| goodbye::<DB>(parked.connection));
    }

    async fn idle(&self) -> Option<Parked<DB>> {
        loop {
            let mut idle = self.lock().pop_back()?;
            if DB::LOCAL {
                return Some(idle);
            }
            if self.dialer.is_current(idle.era) {
                if idle.since.elapsed() < Dialer::QUIET {
                    return Some(idle);
                }
                let asked =
                    timeout(self.clocks.ping, DB::require_primary(&mut idle.connection)).await;
                if matches!(asked, Ok(Ok(()))) {
                    return Some(idle);
                }
            }
            self.leave_era(idle.era);
            goodbye::<DB>(idle.connection);
        }
    }

    /// Connects to the first host that is a primary.
    async fn connect(&self, until: tokio::time::Instant) -> Result<DB::Connection, Failed> {
        let credentials = self.credentials.ask().await.map_err(Failed::told)?;
        let (first, count) = (self.last.load(Ordering::Relaxed), self.hosts.len());
        let mut failure = None;
        for tried in 0..count {
            let at = (first + tried) % count;
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            // A little earlier than the whole call gives up, so that the failure is remembered.
            let share = left.mul_f64(0.9) / u32::try_from(count - tried).unwrap_or(1);
            let share = self.clocks.connect.map_or(share, |limit| limit.min(share));
            let connecting = self.connect_to(&self.hosts[at], &credentials);
            let connected =
                if DB::LOCAL { Ok(connecting.await) } else { timeout(share, connecting).await };
            let failed = match connected {
                Ok(Ok(connection)) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(Err(error)) => Failed::of(error, Stage::Dialling, DB::DIALECT),
                Err(_) => Failed::too_slow(),
            };
            // That one of several hosts is a standby is in order: what is wrong with the others
            // says more.
            if failure.as_ref().is_none_or(|failure: &Failed| failure.sign == Sign::Leave) {
                failure = Some(failed);
            }
        }
        Err(failure.unwrap_or_else(Failed::too_slow))
    }

    async fn connect_to(
        &self,
        target: &Target<DB>,
        credentials: &Credentials,
    ) -> sqlx::Result<DB::Connection> {
        let Some(bare) = &target.bare else {
            return DB::connect(&DB::login(target.options.clone(), credentials), &self.clocks)
                .await;
        };
        if !self.bare.load(Ordering::Relaxed) {
            let connected =
                DB::connect(&DB::login(target.options.clone(), credentials), &self.clocks).await;
            let refused = |error: &sqlx::Error| {
                let error = error.as_database_error();
                error.is_some_and(|error| {
                    is_refused_setting(&error.code().unwrap_or_default(), error.message())
                })
            };
            if !connected.as_ref().is_err_and(refused) {
                return connected;
            }
            self.bare.store(true, Ordering::Relaxed);
        }
        DB::connect(&DB::login(bare.clone(), credentials), &self.clocks).await
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Parked<DB>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Engine> Drop for Connections<DB> {
    fn drop(&mut self) {
        let parked = std::mem::take(self.parked.get_mut().unwrap_or_else(PoisonError::into_inner));
        parked.into_iter().for_each(|parked| goodbye::<DB>(parked.connection));
    }
}

/// Closes a connection in order: a server would log one that just ends as aborted.
///
/// The few bytes fit into the socket's buffer at once, so that this works while a runtime ends,
/// too.
pub(crate) fn goodbye<DB: Engine>(connection: DB::Connection) {
    if DB::LOCAL {
        return;
    }
    let mut closing = Box::pin(connection.close());
    let said = closing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    if let (false, Ok(runtime)) = (said, tokio::runtime::Handle::try_current()) {
        runtime.spawn(timeout(GOODBYE, closing));
    }
}
