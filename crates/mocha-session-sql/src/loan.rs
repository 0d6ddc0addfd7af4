//! A connection on loan to one call, which comes back whatever happens to the call.
//!
//! A call that is dropped half-way leaves an answer on its way. It is waited for, but not without end: a server that fell
//! silent would otherwise take one connection for every call that gave up on it, until none is left.

use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Database};
use tokio::time::timeout;

use crate::error::Failure;
use crate::lane::{Lane, PATIENCE, Taken};

/// Where connections come from: the store's own lane, or a pool that the application has for other things too.
pub(crate) enum Source<DB: Database> {
    Lane(Arc<Lane<DB>>),
    Pool(sqlx::Pool<DB>),
    /// A pool whose connections live in this process: they do not go stale, and one to memory must not be lost.
    #[cfg(feature = "sqlite")]
    Local(sqlx::Pool<DB>),
}

pub(crate) struct Loan<DB: Database>(Option<Held<DB>>);

enum Held<DB: Database> {
    Lane(Taken<DB>, Arc<Lane<DB>>),
    Pool(PoolConnection<DB>),
    #[cfg(feature = "sqlite")]
    Local(PoolConnection<DB>),
}

impl<DB: Database> Source<DB> {
    pub(crate) async fn lend(&self) -> Result<Loan<DB>, Failure> {
        let held = match self {
            Self::Lane(lane) => lane.take().await.map(|taken| Held::Lane(taken, Arc::clone(lane))),
            Self::Pool(pool) => pool.acquire().await.map(Held::Pool),
            #[cfg(feature = "sqlite")]
            Self::Local(pool) => pool.acquire().await.map(Held::Local),
        };
        held.map(|held| Loan(Some(held))).map_err(Failure::unsent)
    }
}

impl<DB: Database> Clone for Source<DB> {
    fn clone(&self) -> Self {
        match self {
            Self::Lane(lane) => Self::Lane(Arc::clone(lane)),
            Self::Pool(pool) => Self::Pool(pool.clone()),
            #[cfg(feature = "sqlite")]
            Self::Local(pool) => Self::Local(pool.clone()),
        }
    }
}

impl<DB: Database> Loan<DB> {
    pub(crate) fn connection(&mut self) -> Result<&mut DB::Connection, Failure> {
        // It is there until the loan is settled, which takes the loan.
        self.0.as_mut().map(Held::connection).ok_or_else(|| Failure::unsent(sqlx::Error::PoolClosed))
    }

    /// The call is finished: the connection goes back, or away if it broke.
    pub(crate) fn settle<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, Failure> {
        let result = result.map_err(Failure::sent);
        if let Some(held) = self.0.take() {
            held.give_back(!result.as_ref().is_err_and(Failure::broken));
        }
        result
    }
}

impl<DB: Database> Drop for Loan<DB> {
    fn drop(&mut self) {
        let Some(mut held) = self.0.take() else { return };
        if held.is_local() {
            // Its pool takes it back as it is.
            return held.give_back(true);
        }
        // Outside a runtime there is nobody who could wait.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return held.give_back(false) };
        runtime.spawn(async move {
            let answered = timeout(PATIENCE, held.connection().ping()).await;
            held.give_back(answered.is_ok_and(|answer| answer.is_ok()));
        });
    }
}

impl<DB: Database> Held<DB> {
    fn connection(&mut self) -> &mut DB::Connection {
        match self {
            Self::Lane(taken, _) => &mut taken.connection,
            Self::Pool(connection) => connection,
            #[cfg(feature = "sqlite")]
            Self::Local(connection) => connection,
        }
    }

    fn is_local(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Local(_) => true,
            _ => false,
        }
    }

    fn give_back(self, alive: bool) {
        match self {
            Self::Lane(taken, lane) if alive => lane.park(taken),
            Self::Lane(taken, lane) => {
                drop(taken);
                lane.clear();
            }
            #[cfg(feature = "sqlite")]
            Self::Local(connection) => drop(connection),
            Self::Pool(connection) if alive => drop(connection),
            Self::Pool(connection) => drop(connection.detach()),
        }
    }
}
