//! Opening: on one connection, the table is looked for, and created where that is allowed.

use mocha_session_core::{Error, Result};
use sqlx::{Database, Executor, SqlStr};

use crate::dialect::{Dialect, Statements};
use crate::error::{Failure, Intent};
use crate::store::SqlOptions;

/// Makes sure that the table is there and has the columns of the store.
///
/// It is looked for before it is created: a user who may only read and write rows may not even say IF NOT EXISTS.
pub(crate) async fn prepare_table<DB>(
    connection: &mut DB::Connection,
    dialect: Dialect,
    sql: &Statements<SqlStr>,
    options: &SqlOptions,
) -> Result<()>
where
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let probed = connection.execute(sqlx::raw_sql(sql.probe.clone())).await.map_err(Failure::unsent);
    let done = match probed {
        Err(failure) if options.create && failure.no_table(dialect) => {
            connection.execute(sqlx::raw_sql(sql.prepare.clone())).await.map_err(Failure::unsent)
        }
        probed => probed,
    };
    done.map(drop).map_err(|failure| explain(failure, dialect, options))
}

/// An error of opening a store.
pub(crate) fn explain(failure: Failure, dialect: Dialect, options: &SqlOptions) -> Error {
    failure.explain(dialect, &options.table, Intent::Open).on(dialect.name()).during("open")
}
