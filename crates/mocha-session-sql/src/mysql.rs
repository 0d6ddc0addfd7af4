//! The engines MySQL 8 and MariaDB 10.6, or later: how a connection is opened and checked.

use mocha_session_core::backend::Credentials;
use mocha_session_core::store::{Durability, Finding};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySql, MySqlConnection, Row as _, SqlSafeStr};

use crate::connections::goodbye;
use crate::dialect::{Dialect, Table};
use crate::engine::{Engine, Facts, primary};
use crate::examine;
use crate::limits::Limits;
use crate::loan::Source;
use crate::pool::Pool;

/// An upper bound for the bytes of a statement beside its value.
const PACKET_OVERHEAD: usize = 1024;

impl Engine for MySql {
    const DIALECT: Dialect = Dialect::MySql;
    const LOCAL: bool = false;

    fn login(mut options: MySqlConnectOptions, credentials: &Credentials) -> MySqlConnectOptions {
        if let Some(username) = credentials.username() {
            options = options.username(username);
        }
        match credentials.password() {
            Some(password) => options.password(password),
            None => options,
        }
    }

    async fn connect(
        options: &MySqlConnectOptions,
        limits: &Limits,
    ) -> sqlx::Result<MySqlConnection> {
        let mut connection = options.connect().await?;
        // One text, so that it takes one round trip. The strict mode makes a value that does not
        // fit an error. Only MariaDB reads the part in the comment.
        let greeting = format!(
            "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
             innodb_lock_wait_timeout = {0}, lock_wait_timeout = {0} /*M! , max_statement_time = {1} */; {2}",
            limits.statement_seconds(),
            limits.statement.as_secs_f64(),
            read_only(),
        );
        match ask(&mut connection, AssertSqlSafe(greeting)).await {
            Ok(()) => Ok(connection),
            Err(error) => {
                goodbye::<Self>(connection);
                Err(error)
            }
        }
    }

    async fn require_primary(connection: &mut MySqlConnection) -> sqlx::Result<()> {
        ask(connection, AssertSqlSafe(read_only())).await
    }

    async fn inspect(connection: &mut MySqlConnection) -> sqlx::Result<Facts> {
        let (packet, flush, autocommit): (i64, i64, i64) = sqlx::query_as(
            "SELECT CAST(@@max_allowed_packet AS SIGNED), CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), \
             CAST(@@autocommit AS SIGNED)",
        )
        .fetch_one(connection)
        .await?;
        Ok(Facts {
            durability: if flush == 1 { Durability::Disk } else { Durability::Delayed },
            max_value: Some(
                usize::try_from(packet).unwrap_or_default().saturating_sub(PACKET_OVERHEAD),
            ),
            autocommit: autocommit == 1,
            by_block: false,
        })
    }

    async fn examine(
        connection: &mut MySqlConnection,
        table: &Table,
    ) -> sqlx::Result<Vec<Finding>> {
        examine::mysql::examine(connection, table).await
    }

    fn pool(source: Source<Self>) -> Pool {
        Pool::MySql(source)
    }
}

fn read_only() -> String {
    format!("SELECT {}", Dialect::MySql.read_only())
}

async fn ask(connection: &mut MySqlConnection, question: impl SqlSafeStr) -> sqlx::Result<()> {
    let row = sqlx::raw_sql(question).fetch_one(connection).await?;
    primary(row.try_get(0)?)
}
