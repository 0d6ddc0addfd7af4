//! The connections to what a URL named, a server or a file: a small pool of the store's own.
//!
//! sqlx's pool asks a connection that comes back whether it lives, waits for the answer without end, and keeps knocking at
//! a server that refuses. For sessions that is a round trip more per call; a pool that a silent server empties for good,
//! connection by connection; and seconds of waiting where the answer is known. Here a connection goes back as it is, is
//! asked only when it was idle for a while, and nothing waits without end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection, Database};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a call waits for a connection. Less than the core's deadline of five seconds, so that a server that is slow
/// to take connections is reported as that, nothing having been done, and not as a timeout whose outcome nobody knows.
const WAITING: Duration = Duration::from_secs(4);

/// How long a connection has to say that it lives.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Idle for longer than this, a connection is asked whether it lives before it is used: a write that meets a dead one is
/// ambiguous, and asking each time would cost every call a round trip.
const FRESH: Duration = Duration::from_secs(1);

/// Idle for longer than this, a connection is closed.
const IDLE: Duration = Duration::from_mins(10);

/// Older than this, a connection is closed, so that it follows a server that has moved.
const LIFETIME: Duration = Duration::from_mins(30);

type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

pub(crate) struct Lane<DB: Database> {
    options: Options<DB>,
    permits: Arc<Semaphore>,
    /// The last used at the back.
    parked: Mutex<VecDeque<Parked<DB>>>,
}

struct Parked<DB: Database> {
    connection: DB::Connection,
    born: Instant,
    since: Instant,
}

/// A connection that is in use, and its place in the lane.
pub(crate) struct Taken<DB: Database> {
    pub(crate) connection: DB::Connection,
    born: Instant,
    permit: OwnedSemaphorePermit,
}

impl<DB: Database> Lane<DB> {
    pub(crate) fn new(options: Options<DB>, most: usize) -> Self {
        Self { options, permits: Arc::new(Semaphore::new(most)), parked: Mutex::default() }
    }

    /// A connection: one that is idle, or a new one when its turn comes.
    pub(crate) async fn take(&self) -> Result<Taken<DB>, sqlx::Error> {
        let taking = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
            if let Some(Parked { connection, born, .. }) = self.idle().await {
                return Ok(Taken { connection, born, permit });
            }
            let connection = DB::Connection::connect_with(&self.options).await?;
            Ok(Taken { connection, born: Instant::now(), permit })
        };
        timeout(WAITING, taking).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// A connection comes back. Its place is free only when it is parked, or there would be more than were allowed.
    pub(crate) fn park(&self, taken: Taken<DB>) {
        let now = Instant::now();
        let Taken { connection, born, permit } = taken;
        let mut parked = self.lock();
        if now.duration_since(born) < LIFETIME {
            parked.push_back(Parked { connection, born, since: now });
        }
        while parked.front().is_some_and(|oldest| now.duration_since(oldest.since) > IDLE) {
            parked.pop_front();
        }
        drop(parked);
        drop(permit);
    }

    /// A connection was found dead: the server was probably restarted, and then all that are idle are dead too.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    async fn idle(&self) -> Option<Parked<DB>> {
        let mut idle = self.lock().pop_back()?;
        if idle.since.elapsed() >= FRESH
            && !timeout(PATIENCE, idle.connection.ping()).await.is_ok_and(|answer| answer.is_ok())
        {
            self.clear();
            return None;
        }
        Some(idle)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Parked<DB>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
