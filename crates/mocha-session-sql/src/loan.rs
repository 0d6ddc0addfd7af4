//! A connection on loan to one call, which comes back whatever happens to the call.
//!
//! A call that is dropped half-way leaves an answer on its way. It is waited for, but not without
//! end: a server that fell silent would otherwise take one connection for every call that gave up
//! on it, until none is left.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::pool::PoolConnection;
use tokio::time::timeout;

use crate::clocks::Clocks;
use crate::connections::{Connections, Live, goodbye};
use crate::engine::Engine;
use crate::error::{Failed, Sign, Stage};

/// Where connections come from: the store's own, or a pool that the application has for other
/// things too.
pub(crate) enum Source<DB: Engine> {
    Own(Arc<Connections<DB>>),
    Pool(sqlx::Pool<DB>, Clocks),
}

pub(crate) struct Loan<DB: Engine>(Option<Held<DB>>);

enum Held<DB: Engine> {
    Own(Live<DB>, Arc<Connections<DB>>),
    Pool(PoolConnection<DB>, sqlx::Pool<DB>, Clocks),
}

impl<DB: Engine> Source<DB> {
    /// A connection for a call, if there is one in time.
    pub(crate) async fn lend(&self) -> Result<Loan<DB>, Failed> {
        self.lend_within(self.clocks().wait).await
    }

    pub(crate) async fn lend_within(&self, wait: Duration) -> Result<Loan<DB>, Failed> {
        let held = match self {
            Self::Own(own) => Held::Own(own.take(wait).await?, Arc::clone(own)),
            Self::Pool(pool, clocks) => {
                let acquired = timeout(wait, pool.acquire()).await;
                let connection = acquired
                    .unwrap_or(Err(sqlx::Error::PoolTimedOut))
                    .map_err(|error| Failed::of(error, Stage::Dialling, DB::DIALECT))?;
                Held::Pool(connection, pool.clone(), *clocks)
            }
        };
        let mut loan = Loan(Some(held));
        if let Some(Held::Pool(connection, _, clocks)) = &mut loan.0 {
            DB::limit(connection, clocks)
                .await
                .map_err(|error| Failed::of(error, Stage::Dialling, DB::DIALECT))?;
        }
        Ok(loan)
    }

    pub(crate) fn clocks(&self) -> Clocks {
        match self {
            Self::Own(own) => own.clocks,
            Self::Pool(_, clocks) => *clocks,
        }
    }
}

impl<DB: Engine> Clone for Source<DB> {
    fn clone(&self) -> Self {
        match self {
            Self::Own(own) => Self::Own(Arc::clone(own)),
            Self::Pool(pool, clocks) => Self::Pool(pool.clone(), *clocks),
        }
    }
}

impl<DB: Engine> Loan<DB> {
    pub(crate) fn connection(&mut self) -> Result<&mut DB::Connection, Failed> {
        // It is there until the loan is settled, which takes the loan.
        let gone = || Failed::of(sqlx::Error::PoolClosed, Stage::Dialling, DB::DIALECT);
        self.0.as_mut().map(Held::connection).ok_or_else(gone)
    }

    /// The call is finished: the connection goes back, or is left.
    pub(crate) fn settle<T>(mut self, result: sqlx::Result<T>) -> Result<T, Failed> {
        let result = result.map_err(|error| Failed::of(error, Stage::Sent, DB::DIALECT));
        if let Some(held) = self.0.take() {
            held.give_back(!matches!(&result, Err(failed) if failed.sign == Sign::Leave));
        }
        result
    }
}

impl<DB: Engine> Drop for Loan<DB> {
    fn drop(&mut self) {
        let Some(mut held) = self.0.take() else { return };
        if DB::LOCAL {
            // Its thread finishes the statement before it takes the next.
            return held.give_back(true);
        }
        // Outside a runtime nobody can wait.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return held.give_back(false);
        };
        runtime.spawn(async move {
            let ping = held.clocks().ping;
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

    fn clocks(&self) -> Clocks {
        match self {
            Self::Own(_, own) => own.clocks,
            Self::Pool(.., clocks) => *clocks,
        }
    }

    fn give_back(self, good: bool) {
        match self {
            Self::Own(live, own) if good => own.park(live),
            Self::Own(live, own) => own.leave(live),
            Self::Pool(connection, ..) if good || DB::LOCAL => drop(connection),
            Self::Pool(connection, pool, _) => {
                goodbye::<DB>(connection.detach());
                // The server was restarted or demoted: the pool's idle connections are no better.
                for _ in 0..pool.num_idle() {
                    let Some(idle) = pool.try_acquire() else { break };
                    goodbye::<DB>(idle.detach());
                }
            }
        }
    }
}
