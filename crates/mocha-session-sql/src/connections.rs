//! The store's own pool of connections to a URL's servers or file.
//!
//! sqlx's pool pings each connection that comes back, waits for the answer without a limit, and
//! keeps dialling a server that refuses. That costs a round trip per call and lets a silent server
//! empty the pool. Here a connection goes back without a ping, is checked after a quiet second, and
//! every wait has a limit.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use mocha_session_core::backend::{CredentialSource, Credentials, Dialer, Era, PerRuntime};
use mocha_session_core::store::Effect;
use sqlx::Connection as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{timeout, timeout_at};

use crate::engine::{Engine, Options};
use crate::error::{Failed, Sign, is_refused_setting};
use crate::limits::Limits;

/// The time for which a connection may be idle before it is closed.
const IDLE: Duration = Duration::from_mins(10);

/// The age at which a connection is closed, so that the connections follow a server that has moved.
const LIFETIME: Duration = Duration::from_mins(30);

/// The maximum number of connections that a runtime opens at the same time. More would burden a server
/// that just restarted. Most waiting calls get a connection that another call returns.
const DIALS: usize = 2;

/// The time limit for closing a connection gracefully.
const GOODBYE: Duration = Duration::from_secs(1);

/// A pool of connections to the primary among some hosts, or to a file.
pub(crate) struct Connections<DB: Engine> {
    hosts: Vec<Target<DB>>,
    /// The host of the last new connection, where the next attempt begins.
    last: AtomicUsize,
    /// Whether a pooler refused the settings of a connection.
    bare: AtomicBool,
    credentials: CredentialSource,
    pub(crate) limits: Limits,
    /// The maximum number of connections of a runtime.
    most: usize,
    dialer: Dialer,
    rooms: PerRuntime<Room<DB>>,
    /// The room of all runtimes, for SQLite, which has threads of its own.
    local: Option<Arc<Room<DB>>>,
}

/// The connections of one runtime: a socket works only while its runtime does.
struct Room<DB: Engine> {
    places: Arc<Semaphore>,
    turns: Semaphore,
    /// Notified of each connection that is parked.
    returned: Notify,
    /// The idle connections, the last used at the back.
    parked: Mutex<VecDeque<Parked<DB>>>,
}

/// The options for connecting to a host.
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

/// A connection in use, and its place among those of its runtime.
pub(crate) struct Live<DB: Engine> {
    pub(crate) connection: DB::Connection,
    era: Era,
    born: Instant,
    room: Arc<Room<DB>>,
    place: OwnedSemaphorePermit,
}

impl<DB: Engine> Connections<DB> {
    pub(crate) fn new(
        hosts: Vec<Target<DB>>,
        credentials: CredentialSource,
        limits: Limits,
        most: usize,
    ) -> Self {
        Self {
            hosts,
            last: AtomicUsize::new(0),
            bare: AtomicBool::new(false),
            credentials,
            limits,
            most,
            dialer: Dialer::new(),
            rooms: PerRuntime::new(),
            local: DB::LOCAL.then(|| Arc::new(Room::new(most))),
        }
    }

    /// Takes an idle connection to the primary or opens one, for which it waits until then.
    pub(crate) async fn take(&self, until: tokio::time::Instant) -> Result<Live<DB>, Failed> {
        let room = match &self.local {
            Some(room) => Arc::clone(room),
            None => self.rooms.here(|| Room::new(self.most)).map_err(Failed::told)?,
        };
        let place = match timeout_at(until, Arc::clone(&room.places).acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(Failed::dialling::<DB>(sqlx::Error::PoolClosed)),
            Err(_) => return Err(Failed::dialling::<DB>(sqlx::Error::PoolTimedOut)),
        };
        // SQLite has limits of its own, whose errors tell why a file could not be opened.
        let found = if DB::LOCAL {
            Ok(self.find(&room, until).await)
        } else {
            timeout_at(until, self.find(&room, until)).await
        };
        let (connection, era, born) = found.unwrap_or_else(|_| Err(Failed::too_slow()))?;
        Ok(Live { connection, era, born, room, place })
    }

    /// Finds an idle connection, or opens one when it is this call's turn to dial.
    async fn find(
        &self,
        room: &Room<DB>,
        until: tokio::time::Instant,
    ) -> Result<(DB::Connection, Era, Instant), Failed> {
        let (mut mine, mut turn) = (pin!(room.turns.acquire()), None);
        loop {
            if let Some(Parked { connection, era, born, .. }) = self.idle(room).await {
                return Ok((connection, era, born));
            }
            if turn.is_some() {
                break;
            }
            let mut returned = pin!(room.returned.notified());
            turn = std::future::poll_fn(|context| match mine.as_mut().poll(context) {
                Poll::Ready(turn) => Poll::Ready(turn.ok()),
                Poll::Pending => returned.as_mut().poll(context).map(|()| None),
            })
            .await;
        }
        let attempt = self.dialer.attempt(Instant::now()).map_err(Failed::told)?;
        match self.connect(until).await {
            Ok(connection) => Ok((connection, attempt.succeeded(), Instant::now())),
            // Not an outage: other callers have more time. The attempt counts as not connecting.
            Err(failed) if failed.sign == Sign::Hurried => Err(failed),
            Err(failed) => {
                let error = failed.into_error(Effect::Read, None);
                Err(Failed::told(attempt.failed(Instant::now(), error)))
            }
        }
    }

    /// Parks a connection, and then frees its place: in the other order there could be too many.
    pub(crate) fn park(&self, live: Live<DB>) {
        let now = Instant::now();
        let Live { connection, era, born, room, place } = live;
        let mut over = Vec::new();
        let mut parked = room.lock();
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
        room.returned.notify_one();
        over.into_iter().for_each(goodbye::<DB>);
        drop(place);
    }

    /// Drops a connection that broke or whose server refuses writes, and all of its era.
    pub(crate) fn leave(&self, live: Live<DB>) {
        self.leave_era(live.era);
        goodbye::<DB>(live.connection);
    }

    /// Drops the idle connections of an era, in all runtimes.
    fn leave_era(&self, era: Era) {
        self.dialer.leave(era);
        for room in self.local.iter().cloned().chain(self.rooms.all()) {
            let mut parked = room.lock();
            let (kept, left) = parked
                .drain(..)
                .partition::<VecDeque<_>, _>(|parked| self.dialer.is_current(parked.era));
            *parked = kept;
            drop(parked);
            left.into_iter().for_each(|parked| goodbye::<DB>(parked.connection));
        }
    }

    /// Takes the idle connection that was used last, if it still works.
    async fn idle(&self, room: &Room<DB>) -> Option<Parked<DB>> {
        loop {
            let mut idle = room.lock().pop_back()?;
            if DB::LOCAL {
                return Some(idle);
            }
            if self.dialer.is_current(idle.era) {
                if idle.since.elapsed() < Dialer::QUIET {
                    return Some(idle);
                }
                let asked =
                    timeout(self.limits.ping, DB::require_primary(&mut idle.connection)).await;
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
        let left = || until.saturating_duration_since(tokio::time::Instant::now());
        let hurry = if left() < self.limits.ping { Sign::Hurried } else { Sign::Nothing };
        let mut failure = None;
        for tried in 0..count {
            let at = (first + tried) % count;
            // Ends a little before the whole call does, so that the dialer learns of the failure.
            let share = left().mul_f64(0.9) / u32::try_from(count - tried).unwrap_or(1);
            let (share, late) = match self.limits.connect {
                Some(limit) if limit <= share => (limit, Sign::Nothing),
                _ => (share, hurry),
            };
            let connecting = self.connect_to(&self.hosts[at], &credentials);
            let connected =
                if DB::LOCAL { Ok(connecting.await) } else { timeout(share, connecting).await };
            let failed = match connected {
                Ok(Ok(connection)) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(Err(error)) => Failed::dialling::<DB>(error),
                Err(_) => Failed::too_slow().signed(late),
            };
            // A standby among several hosts is normal, so the error of another host is reported.
            if failure.as_ref().is_none_or(|failure: &Failed| failure.sign.leaves()) {
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
            return DB::connect(&DB::login(target.options.clone(), credentials), &self.limits)
                .await;
        };
        if !self.bare.load(Ordering::Relaxed) {
            let connected =
                DB::connect(&DB::login(target.options.clone(), credentials), &self.limits).await;
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
        DB::connect(&DB::login(bare.clone(), credentials), &self.limits).await
    }
}

impl<DB: Engine> Room<DB> {
    fn new(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            turns: Semaphore::new(DIALS),
            returned: Notify::new(),
            parked: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Parked<DB>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Engine> Drop for Room<DB> {
    fn drop(&mut self) {
        let parked = std::mem::take(self.parked.get_mut().unwrap_or_else(PoisonError::into_inner));
        parked.into_iter().for_each(|parked| goodbye::<DB>(parked.connection));
    }
}

/// Closes a connection in order, because a server logs one that just ends as aborted.
///
/// The few bytes usually fit into the socket's buffer at once, so this also works while a runtime
/// shuts down.
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

#[cfg(all(test, feature = "postgres"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use mocha_session_conformance::{Proxy, engine_url};
    use sqlx::Postgres;

    use super::*;

    #[tokio::test]
    async fn caller_with_little_time_left_does_not_make_a_slow_answer_an_outage() {
        let Some(url) = engine_url("MOCHA_TEST_POSTGRES_URL") else { return };
        let options: Options<Postgres> = url.parse().unwrap();
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let proxy = Proxy::to(server).await.unwrap();
        let options = options.host("127.0.0.1").port(proxy.address().port());
        let none = CredentialSource::fixed(Credentials::default());
        let limits = Limits::new(Duration::from_secs(2));
        let own =
            Connections::<Postgres>::new(vec![Target { options, bare: None }], none, limits, 2);

        // In an outage one attempt may follow a pause, but not two.
        let outage = || {
            let now = Instant::now();
            drop(own.dialer.attempt(now));
            own.dialer.attempt(now).is_err()
        };
        let within = |time| tokio::time::Instant::now() + time;
        proxy.hang();
        assert!(own.take(within(limits.ping / 2)).await.is_err() && !outage());
        proxy.pass();
        drop(own.take(within(Duration::from_secs(10))).await.unwrap());

        // Silence for a whole wait is an outage.
        proxy.hang();
        assert!(own.take(within(limits.wait)).await.is_err() && outage());
    }
}
