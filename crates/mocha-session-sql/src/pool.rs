//! The three native pools behind one face: read rows, or do one statement and say how many rows it
//! touched.

use sqlx::{Arguments as _, Encode, SqlStr, Type};

use crate::dialect::Dialect;
use crate::engine::{Engine, primary};
use crate::error::{Failed, Stage};
use crate::loan::Source;

/// A pool of one of the engines. sqlx's `Any` would be one type for all, but it neither translates
/// placeholders nor knows every column type.
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

/// Runs the same expression on a connection of whichever engine it is; the types differ, the words
/// don't.
macro_rules! on_connection {
    ($pool:expr, |$connection:ident, $db:ident| $run:expr) => {
        match $pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => on_connection!(pool, sqlx::Postgres, $connection, $db, $run),
            #[cfg(feature = "mysql")]
            Pool::MySql(pool) => on_connection!(pool, sqlx::MySql, $connection, $db, $run),
            #[cfg(feature = "_sqlite")]
            Pool::Sqlite(pool) => on_connection!(pool, sqlx::Sqlite, $connection, $db, $run),
        }
    };
    ($pool:ident, $engine:ty, $connection:ident, $db:ident, $run:expr) => {{
        type $db = $engine;
        let mut loan = $pool.lend().await?;
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

    /// The number and the value of the one row, if the primary has some.
    pub(crate) async fn load(
        &self,
        sql: &SqlStr,
        args: &[Arg<'_>],
    ) -> Result<Option<(i64, Vec<u8>)>, Failed> {
        on_connection!(self, |connection, Db| {
            let loading = sqlx::query_as_with(sql.clone(), arguments::<Db>(args)?);
            async {
                let (read_only, number, value) = loading.fetch_one(&mut *connection).await?;
                primary(read_only)?;
                Ok(Option::zip(number, value))
            }
        })
    }

    /// All rows, from a primary: an id, a number and a value.
    pub(crate) async fn entries(
        &self,
        sql: &SqlStr,
        args: &[Arg<'_>],
    ) -> Result<Vec<(String, i64, Vec<u8>)>, Failed> {
        on_connection!(self, |connection, Db| {
            let listing = sqlx::query_as_with(sql.clone(), arguments::<Db>(args)?);
            async {
                Db::require_primary(&mut *connection).await?;
                listing.fetch_all(&mut *connection).await
            }
        })
    }

    /// All rows: an id and a number.
    pub(crate) async fn numbers(
        &self,
        sql: &SqlStr,
        args: &[Arg<'_>],
    ) -> Result<Vec<(String, i64)>, Failed> {
        on_connection!(self, |connection, Db| {
            sqlx::query_as_with(sql.clone(), arguments::<Db>(args)?).fetch_all(&mut *connection)
        })
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &SqlStr) -> Result<i64, Failed> {
        on_connection!(self, |connection, Db| {
            sqlx::query_scalar_with(sql.clone(), arguments::<Db>(&[])?).fetch_one(&mut *connection)
        })
    }

    /// Does one statement, and says how many rows it touched: none when a key was taken.
    pub(crate) async fn execute(&self, sql: &SqlStr, args: &[Arg<'_>]) -> Result<u64, Failed> {
        on_connection!(self, |connection, Db| {
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
        .map_err(|error| Failed::of(sqlx::Error::Encode(error), Stage::Dialling, DB::DIALECT))?;
    }
    Ok(out)
}
