//! The engine SQLite, in a file or in memory: how a connection is opened and checked.

use std::time::{Duration, Instant};

use mocha_session_core::backend::Credentials;
use mocha_session_core::store::{Durability, Finding};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, Sqlite, SqliteConnection};

use crate::dialect::{Dialect, Table};
use crate::engine::{Engine, Facts};
use crate::error::locked;
use crate::examine;
use crate::limits::Limits;
use crate::loan::Source;
use crate::pool::Pool;

impl Engine for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
    const LOCAL: bool = true;

    fn login(options: SqliteConnectOptions, _: &Credentials) -> SqliteConnectOptions {
        options
    }

    async fn connect(
        options: &SqliteConnectOptions,
        limits: &Limits,
    ) -> sqlx::Result<SqliteConnection> {
        // Switching to WAL takes a lock for which SQLite's busy timeout does not wait.
        let began = Instant::now();
        loop {
            match options.connect().await {
                Err(error) if locked(&error) && began.elapsed() < limits.statement => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                connected => return connected,
            }
        }
    }

    async fn require_primary(_: &mut SqliteConnection) -> sqlx::Result<()> {
        Ok(())
    }

    /// The default of five seconds is as long as the whole call.
    async fn limit(connection: &mut SqliteConnection, limits: &Limits) -> sqlx::Result<()> {
        let busy = AssertSqlSafe(format!("PRAGMA busy_timeout = {}", limits.statement.as_millis()));
        connection.execute(sqlx::raw_sql(busy)).await.map(drop)
    }

    async fn inspect(connection: &mut SqliteConnection) -> sqlx::Result<Facts> {
        let files: Vec<(i64, String, Option<String>)> =
            sqlx::query_as("PRAGMA database_list").fetch_all(&mut *connection).await?;
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(connection).await?;
        let in_memory = !files
            .iter()
            .any(|(_, name, file)| name == "main" && file.as_ref().is_some_and(|f| !f.is_empty()));
        let durability = match synchronous {
            _ if in_memory => Durability::Process,
            0 | 1 => Durability::Delayed,
            _ => Durability::Disk,
        };
        Ok(Facts { durability, max_value: None, autocommit: true, by_block: false })
    }

    async fn examine(connection: &mut SqliteConnection, _: &Table) -> sqlx::Result<Vec<Finding>> {
        examine::sqlite::examine(connection).await
    }

    fn pool(source: Source<Self>) -> Pool {
        Pool::Sqlite(source)
    }
}
