//! A server's connection on loan from the pool, which comes back whatever happens to the call that borrowed it.
//!
//! A call that is dropped half-way leaves an answer on its way. The pool would wait for it without end, and so a server
//! that fell silent would take one connection for every call that gave up on it, until none is left.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Database};

use crate::error::Failure;

/// How long a dropped call's answer is waited for before its connection is thrown away.
const PATIENCE: Duration = Duration::from_secs(1);

/// Holds a connection until its call is finished.
pub(crate) struct Lease<DB: Database>(Option<PoolConnection<DB>>);

impl<DB: Database> Lease<DB> {
    pub(crate) fn of(connection: PoolConnection<DB>) -> Self {
        Self(Some(connection))
    }

    pub(crate) fn connection(&mut self) -> Result<&mut PoolConnection<DB>, Failure> {
        self.0.as_mut().ok_or_else(|| Failure::unsent(sqlx::Error::PoolClosed))
    }

    /// The call is finished: the connection goes back, or away if it broke.
    pub(crate) fn settle<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, Failure> {
        let result = result.map_err(Failure::sent);
        let broke = result.as_ref().is_err_and(Failure::broken);
        match self.0.take() {
            Some(connection) if broke => drop(connection.detach()),
            connection => drop(connection),
        }
        result
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        // Outside a runtime there is nobody who could wait.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return drop(connection.detach()) };
        runtime.spawn(async move {
            match tokio::time::timeout(PATIENCE, connection.ping()).await {
                Ok(Ok(())) => drop(connection),
                _ => drop(connection.detach()),
            }
        });
    }
}
