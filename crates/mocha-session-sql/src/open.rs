//! Opens a store: its options and pools, and the check of the server and of the table.

use std::sync::Arc;
use std::time::Duration;

use mocha_session_core::store::{Effect, KeySpace};
use mocha_session_core::{Error, ErrorKind, Result};
use sqlx::{ColumnIndex, Decode, Executor, Row, SqlStr, Type};
use tokio::time::{Instant, timeout_at};

use crate::dialect::{Statements, Table};
use crate::engine::{Engine, Facts};
use crate::error::{Failed, NO_KEY, Sign};
use crate::limits::Limits;
use crate::loan::Source;
use crate::store::SqlStore;

/// The options of a [`SqlStore`]: its table, whether it may create it, and the deadline of a call.
///
/// ```
/// use mocha_session_sql::{SqlOptions, Table};
///
/// let options = SqlOptions::new().with_table(Table::new("web_sessions")?).with_create(false);
/// # let _ = options;
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqlOptions {
    pub(crate) table: Table,
    pub(crate) space: Option<KeySpace>,
    pub(crate) create: bool,
    pub(crate) deadline: Duration,
}

impl SqlOptions {
    /// The defaults: the table `mocha_sessions`, created if it is missing, no prefix, and a
    /// deadline of five seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the table. The default is `mocha_sessions`.
    #[must_use]
    pub fn with_table(mut self, table: Table) -> Self {
        self.table = table;
        self
    }

    /// Sets the prefix of every id, so that several applications can share a table. The default is
    /// none.
    #[must_use]
    pub fn with_key_space(mut self, space: KeySpace) -> Self {
        self.space = Some(space);
        self
    }

    /// Sets whether to create a missing table. The default is true. If not, run the statement that
    /// [`schema_sql`](crate::schema_sql) returns.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Sets the deadline of a call, which a manager on the store takes over. The default is five
    /// seconds. Every wait of the store ends before it.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            table: Table::default(),
            space: None,
            create: true,
            deadline: Duration::from_secs(5),
        }
    }
}

/// A pool of your own, of any engine, for [`SqlStore::new`].
///
/// ```
/// # #[cfg(feature = "postgres")] fn example(pool: mocha_session_sql::sqlx::PgPool) {
/// let pool = mocha_session_sql::SqlPool::from(pool);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SqlPool(Given);

#[derive(Clone, Debug)]
enum Given {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlPool),
    /// For writing, and for reading.
    #[cfg(feature = "_sqlite")]
    Sqlite(sqlx::SqlitePool, sqlx::SqlitePool),
}

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for SqlPool {
    fn from(pool: sqlx::PgPool) -> Self {
        Self(Given::Postgres(pool))
    }
}

#[cfg(feature = "mysql")]
impl From<sqlx::MySqlPool> for SqlPool {
    fn from(pool: sqlx::MySqlPool) -> Self {
        Self(Given::MySql(pool))
    }
}

/// One pool for reads and writes. Its connections block each other when they write.
#[cfg(feature = "_sqlite")]
impl From<sqlx::SqlitePool> for SqlPool {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self(Given::Sqlite(pool.clone(), pool))
    }
}

/// A pool for writing, preferably with one connection, and a pool for reading, both on the same
/// file in WAL mode.
#[cfg(feature = "_sqlite")]
impl From<(sqlx::SqlitePool, sqlx::SqlitePool)> for SqlPool {
    fn from((writer, readers): (sqlx::SqlitePool, sqlx::SqlitePool)) -> Self {
        Self(Given::Sqlite(writer, readers))
    }
}

impl SqlPool {
    pub(crate) async fn open(self, options: SqlOptions) -> Result<SqlStore> {
        let limits = Limits::new(options.deadline);
        match self.0 {
            #[cfg(feature = "postgres")]
            Given::Postgres(pool) => {
                let source = Source::Pool(pool, limits);
                open(source.clone(), source, options).await
            }
            #[cfg(feature = "mysql")]
            Given::MySql(pool) => {
                let source = Source::Pool(pool, limits);
                open(source.clone(), source, options).await
            }
            #[cfg(feature = "_sqlite")]
            Given::Sqlite(writer, readers) => {
                open(Source::Pool(writer, limits), Source::Pool(readers, limits), options).await
            }
        }
    }
}

/// Opens a store on these connections.
pub(crate) async fn open<DB: Engine>(
    writers: Source<DB>,
    readers: Source<DB>,
    options: SqlOptions,
) -> Result<SqlStore>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'r> String: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    let (sql, limits) = (Statements::new(DB::DIALECT, &options.table), writers.limits());
    let until = Instant::now() + limits.opening;
    let opening = async {
        let mut loan = writers.lend(until).await?;
        let found = match loan.connection() {
            Ok(connection) => check::<DB>(connection, &sql, options.create).await,
            Err(failed) => return Err(failed),
        };
        loan.settle(found)
    };
    let named = |error: Error| error.on(DB::DIALECT.name()).during("open");
    let refused = |failed: Failed| named(failed.into_error(Effect::Read, Some(&options.table)));
    let found = match timeout_at(until, opening).await {
        Ok(found) => found.map_err(refused)?,
        Err(_) => return Err(refused(Failed::too_slow())),
    };
    let facts = found.map_err(|why| named(Error::new(ErrorKind::InvalidConfig, why)))?;
    let dialer = (!DB::LOCAL && matches!(writers, Source::Pool(..))).then(Arc::default);
    SqlStore::on(DB::pool(writers), DB::pool(readers), dialer, sql, options, facts)
}

/// Checks that the server is a primary and that the table exists and fits. The inner error is the
/// fault of the table.
///
/// It looks for the table before it creates it, because a user who may only read and write rows may
/// not run CREATE TABLE IF NOT EXISTS.
async fn check<DB: Engine>(
    connection: &mut DB::Connection,
    sql: &Statements<SqlStr>,
    create: bool,
) -> sqlx::Result<Result<Facts, &'static str>>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'r> String: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    DB::require_primary(connection).await?;
    let facts = DB::inspect(connection).await?;
    if !facts.autocommit {
        return Ok(Err(
            "connections have autocommit off, so every write would be lost; run `SET autocommit \
             = 1` in the pool's after_connect, or turn it on in the server's configuration",
        ));
    }
    match connection.execute(sqlx::raw_sql(sql.probe.clone())).await {
        Err(error) if create && is_no_table::<DB>(&error) => {
            connection.execute(sqlx::raw_sql(sql.prepare.clone())).await?;
        }
        probed => drop(probed?),
    }
    let ordered = connection.fetch_all(sqlx::raw_sql(sql.order.clone())).await?;
    let ordered =
        ordered.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<Vec<String>>>()?;
    if ordered != ["B", "a", "a1", "a:"] {
        return Ok(Err(
            "the table's column `id` does not compare byte by byte, so two ids could count as one; \
             create the table with the statement that `mocha_session_sql::schema_sql` returns",
        ));
    }
    let keys = connection.fetch_all(sqlx::raw_sql(sql.keys.clone())).await?;
    Ok(if keys.is_empty() { Err(NO_KEY) } else { Ok(facts) })
}

fn is_no_table<DB: Engine>(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| crate::error::sign(error, DB::DIALECT) == Sign::NoTable)
}
