//! A connection on loan to one call. It goes back to its pool, even if the call is dropped.
//!
//! A dropped call leaves an answer pending. The loan waits for it for a limited time. Otherwise a
//! silent server would take one connection for every call that gave up, until none is left.

use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::pool::PoolConnection;
use tokio::time::{Instant, timeout, timeout_at};

use crate::connections::{Connections, Live, goodbye};
use crate::engine::Engine;
use crate::error::{Failed, Stage};
use crate::limits::Limits;

/// The source of connections: the store's own pool, or the application's.
pub(crate) enum Source<DB: Engine> {
    Own(Arc<Connections<DB>>),
    Pool(sqlx::Pool<DB>, Limits),
}

/// A connection in use by a call; `None` once it is given back.
pub(crate) struct Loan<DB: Engine>(Option<Held<DB>>);

enum Held<DB: Engine> {
    Own(Live<DB>, Arc<Connections<DB>>),
    Pool(PoolConnection<DB>, sqlx::Pool<DB>, Limits),
}

impl<DB: Engine> Source<DB> {
    /// Lends a connection, for which it waits until then.
    pub(crate) async fn lend(&self, until: Instant) -> Result<Loan<DB>, Failed> {
        let held = match self {
            Self::Own(own) => Held::Own(own.take(until).await?, Arc::clone(own)),
            Self::Pool(pool, limits) => {
                let acquired = timeout_at(until, pool.acquire()).await;
                let acquired = acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut));
                let connection = acquired.map_err(Failed::dialling::<DB>)?;
                Held::Pool(connection, pool.clone(), *limits)
            }
        };
        let mut loan = Loan(Some(held));
        if let Some(Held::Pool(connection, _, limits)) = &mut loan.0 {
            DB::limit(connection, limits).await.map_err(Failed::dialling::<DB>)?;
        }
        Ok(loan)
    }

    pub(crate) fn limits(&self) -> Limits {
        match self {
            Self::Own(own) => own.limits,
            Self::Pool(_, limits) => *limits,
        }
    }
}

impl<DB: Engine> Clone for Source<DB> {
    fn clone(&self) -> Self {
        match self {
            Self::Own(own) => Self::Own(Arc::clone(own)),
            Self::Pool(pool, limits) => Self::Pool(pool.clone(), *limits),
        }
    }
}

impl<DB: Engine> Loan<DB> {
    pub(crate) fn connection(&mut self) -> Result<&mut DB::Connection, Failed> {
        // It is present until the loan is settled, which consumes the loan.
        let gone = || Failed::dialling::<DB>(sqlx::Error::PoolClosed);
        self.0.as_mut().map(Held::connection).ok_or_else(gone)
    }

    /// Ends the loan: the connection goes back, or is dropped after an error that broke it.
    pub(crate) fn settle<T>(mut self, result: sqlx::Result<T>) -> Result<T, Failed> {
        let result = result.map_err(|error| Failed::of(error, Stage::Sent, DB::DIALECT));
        if let Some(held) = self.0.take() {
            held.give_back(!matches!(&result, Err(failed) if failed.sign.leaves()));
        }
        result
    }
}

impl<DB: Engine> Drop for Loan<DB> {
    fn drop(&mut self) {
        let Some(mut held) = self.0.take() else { return };
        if DB::LOCAL {
            // SQLite's thread finishes the statement before it starts the next.
            return held.give_back(true);
        }
        // Only a runtime can wait for the answer.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return held.give_back(false);
        };
        runtime.spawn(async move {
            let ping = held.limits().ping;
            let answered = timeout(ping, held.connection().ping()).await;
            held.give_back(answered.is_ok_and(|answer| answer.is_ok()));
        });
    }
}

impl<DB: Engine> Held<DB> {
    fn connection(&mut self) -> &mut DB::Connection {
        match self {
            Self::Own(live, _) => &mut live.connection,
            Self::Pool(connection, ..) => connection,
        }
    }

    fn limits(&self) -> Limits {
        match self {
            Self::Own(_, own) => own.limits,
            Self::Pool(.., limits) => *limits,
        }
    }

    fn give_back(self, good: bool) {
        match self {
            Self::Own(live, own) if good => own.park(live),
            Self::Own(live, own) => own.leave(live),
            Self::Pool(connection, ..) if good || DB::LOCAL => drop(connection),
            Self::Pool(connection, pool, _) => {
                goodbye::<DB>(connection.detach());
                // The server was restarted or demoted, so the pool's idle connections are bad, too.
                for _ in 0..pool.num_idle() {
                    let Some(idle) = pool.try_acquire() else { break };
                    goodbye::<DB>(idle.detach());
                }
            }
        }
    }
}
