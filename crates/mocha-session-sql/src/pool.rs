//! The pools of the three engines behind one type: reads rows, or executes one statement.

use mocha_session_core::store::Finding;
use sqlx::{Arguments as _, Encode, SqlStr, Type};
use tokio::time::Instant;

use crate::dialect::{Dialect, Table};
use crate::engine::{Engine, primary};
use crate::error::Failed;
use crate::loan::Source;

/// A pool of one of the engines. Not sqlx's `Any`, which neither translates placeholders nor
/// supports every column type.
#[derive(Clone)]
pub(crate) enum Pool {
    #[cfg(feature = "postgres")]
    Postgres(Source<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    MySql(Source<sqlx::MySql>),
    #[cfg(feature = "_sqlite")]
    Sqlite(Source<sqlx::Sqlite>),
}

/// A parameter of a statement.
#[derive(Clone, Copy)]
pub(crate) enum Arg<'a> {
    Text(&'a str),
    Blob(&'a [u8]),
    Number(i64),
}

/// Runs the same expression on a connection of any engine, for which it waits until then. A macro,
/// because the types differ.
macro_rules! on_connection {
    ($pool:expr, $until:ident, |$connection:ident, $db:ident| $run:expr) => {
        match $pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => {
                on_connection!(pool, $until, sqlx::Postgres, $connection, $db, $run)
            }
            #[cfg(feature = "mysql")]
            Pool::MySql(pool) => on_connection!(pool, $until, sqlx::MySql, $connection, $db, $run),
            #[cfg(feature = "_sqlite")]
            Pool::Sqlite(pool) => {
                on_connection!(pool, $until, sqlx::Sqlite, $connection, $db, $run)
            }
        }
    };
    ($pool:ident, $until:ident, $engine:ty, $connection:ident, $db:ident, $run:expr) => {{
        type $db = $engine;
        let mut loan = $pool.lend($until).await?;
        let $connection = loan.connection()?;
        let result = $run.await;
        loan.settle(result)
    }};
}

impl Pool {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "mysql")]
            Self::MySql(_) => Dialect::MySql,
            #[cfg(feature = "_sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Returns the number and the value of the one row, if the primary has it.
    pub(crate) async fn load(
        &self,
        until: Instant,
        sql: &SqlStr,
        args: &[Arg<'_>],
    ) -> Result<Option<(i64, Vec<u8>)>, Failed> {
        on_connection!(self, until, |connection, Db| {
            let loading = sqlx::query_as_with(sql.clone(), arguments::<Db>(args)?);
            async {
                let (read_only, number, value) = loading.fetch_one(&mut *connection).await?;
                primary(read_only)?;
                Ok(Option::zip(number, value))
            }
        })
    }

    /// Returns all rows from a primary: an id, a number and a value.
    pub(crate) async fn entries(
        &self,
        until: Instant,
        sql: &SqlStr,
        args: &[Arg<'_>],
    ) -> Result<Vec<(String, i64, Vec<u8>)>, Failed> {
        on_connection!(self, until, |connection, Db| {
            let listing = sqlx::query_as_with(sql.clone(), arguments::<Db>(args)?);
            async {
                Db::require_primary(&mut *connection).await?;
                listing.fetch_all(&mut *connection).await
            }
        })
    }

    /// Returns all rows: an id and a number.
    pub(crate) async fn numbers(
        &self,
        until: Instant,
        sql: &SqlStr,
        args: &[Arg<'_>],
    ) -> Result<Vec<(String, i64)>, Failed> {
        on_connection!(self, until, |connection, Db| {
            sqlx::query_as_with(sql.clone(), arguments::<Db>(args)?).fetch_all(&mut *connection)
        })
    }

    /// Returns one number.
    pub(crate) async fn number(&self, until: Instant, sql: &SqlStr) -> Result<i64, Failed> {
        on_connection!(self, until, |connection, Db| {
            sqlx::query_scalar_with(sql.clone(), arguments::<Db>(&[])?).fetch_one(&mut *connection)
        })
    }

    /// Returns what is dangerous about the server and the table.
    pub(crate) async fn examine(
        &self,
        until: Instant,
        table: &Table,
    ) -> Result<Vec<Finding>, Failed> {
        on_connection!(self, until, |connection, Db| Db::examine(connection, table))
    }

    /// Executes one statement and returns how many rows it changed: none when the key is taken.
    pub(crate) async fn execute(
        &self,
        until: Instant,
        sql: &SqlStr,
        args: &[Arg<'_>],
    ) -> Result<u64, Failed> {
        on_connection!(self, until, |connection, Db| {
            let statement = sqlx::query_with::<Db, _>(sql.clone(), arguments::<Db>(args)?);
            async {
                match statement.execute(&mut *connection).await {
                    Ok(done) => Ok(done.rows_affected()),
                    Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(0),
                    Err(error) => Err(error),
                }
            }
        })
    }
}

fn arguments<'a, DB>(args: &[Arg<'a>]) -> Result<DB::Arguments, Failed>
where
    DB: Engine,
    &'a str: Encode<'a, DB> + Type<DB>,
    &'a [u8]: Encode<'a, DB> + Type<DB>,
    i64: Encode<'a, DB> + Type<DB>,
{
    let mut out = DB::Arguments::default();
    for arg in args {
        match *arg {
            Arg::Text(text) => out.add(text),
            Arg::Blob(bytes) => out.add(bytes),
            Arg::Number(number) => out.add(number),
        }
        .map_err(|error| Failed::dialling::<DB>(sqlx::Error::Encode(error)))?;
    }
    Ok(out)
}
