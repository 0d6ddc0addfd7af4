//! Opening a store: on one connection the server is asked what it is, and the table is looked for,
//! created where that is allowed, and checked.

use std::time::Duration;

use mocha_session_core::store::{Effect, KeySpace};
use mocha_session_core::{Error, ErrorKind, Result};
use sqlx::{ColumnIndex, Decode, Executor, Row, SqlStr, Type};

use crate::clocks::Clocks;
use crate::dialect::{Statements, Table};
use crate::engine::{Engine, Facts};
use crate::error::{Failed, NO_KEY, Sign};
use crate::loan::Source;
use crate::store::SqlStore;

/// Which table a [`SqlStore`] uses, whether it may create it, and how long its calls may take.
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
    /// The table `mocha_sessions`, created if it is missing, no prefix, and a deadline of five
    /// seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses this table.
    #[must_use]
    pub fn with_table(mut self, table: Table) -> Self {
        self.table = table;
        self
    }

    /// Puts this prefix before every id, so that several applications can share a table.
    #[must_use]
    pub fn with_key_space(mut self, space: KeySpace) -> Self {
        self.space = Some(space);
        self
    }

    /// Whether a missing table is created. If not, [`schema_sql`](crate::schema_sql) says what to
    /// run.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The time that one call may take: the same as the session manager's timeout. Every wait of
    /// the store ends before it.
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

/// A pool of your own, of any engine: what [`SqlStore::new`] takes.
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

/// One pool for reads and writes. Several connections that write block each other.
#[cfg(feature = "_sqlite")]
impl From<sqlx::SqlitePool> for SqlPool {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self(Given::Sqlite(pool.clone(), pool))
    }
}

/// A pool for writing, best with one connection, and a pool for reading, both on the same file in
/// WAL mode.
#[cfg(feature = "_sqlite")]
impl From<(sqlx::SqlitePool, sqlx::SqlitePool)> for SqlPool {
    fn from((writer, readers): (sqlx::SqlitePool, sqlx::SqlitePool)) -> Self {
        Self(Given::Sqlite(writer, readers))
    }
}

impl SqlPool {
    pub(crate) async fn open(self, options: SqlOptions) -> Result<SqlStore> {
        let clocks = Clocks::new(options.deadline);
        match self.0 {
            #[cfg(feature = "postgres")]
            Given::Postgres(pool) => {
                let source = Source::Pool(pool, clocks);
                open(source.clone(), source, options).await
            }
            #[cfg(feature = "mysql")]
            Given::MySql(pool) => {
                let source = Source::Pool(pool, clocks);
                open(source.clone(), source, options).await
            }
            #[cfg(feature = "_sqlite")]
            Given::Sqlite(writer, readers) => {
                open(Source::Pool(writer, clocks), Source::Pool(readers, clocks), options).await
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
    let (sql, clocks) = (Statements::new(DB::DIALECT, &options.table), writers.clocks());
    let opening = async {
        let mut loan = writers.lend_within(clocks.opening).await?;
        let found = match loan.connection() {
            Ok(connection) => check::<DB>(connection, &sql, options.create).await,
            Err(failed) => return Err(failed),
        };
        loan.settle(found)
    };
    let named = |error: Error| error.on(DB::DIALECT.name()).during("open");
    let refused = |failed: Failed| named(failed.error(Effect::Read, Some(&options.table)));
    let found = match tokio::time::timeout(clocks.opening, opening).await {
        Ok(found) => found.map_err(refused)?,
        Err(_) => return Err(refused(Failed::too_slow())),
    };
    let facts = found.map_err(|why| named(Error::new(ErrorKind::InvalidConfig, why)))?;
    SqlStore::on(DB::pool(writers), DB::pool(readers), sql, options, facts)
}

/// Makes sure that a primary answers and that the table is there and is as the store needs it. The
/// inner error says what is wrong with it.
///
/// The table is looked for before it is created: a user who may only read and write rows may not
/// even say IF NOT EXISTS.
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
            "connections have autocommit off, so that every write would be lost; run `SET autocommit = 1` in the \
             pool's after_connect, or turn it on in the server's configuration",
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
            "the table's column `id` does not compare byte by byte, so that two ids could be taken for one; create \
             the table with the statement that `mocha_session_sql::schema_sql` gives",
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
