//! The engine PostgreSQL, 14 or later (13 sweeps slowly): how a connection is opened and checked.

use mocha_session_core::backend::Credentials;
use mocha_session_core::store::{Durability, Finding};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Postgres, Row as _};

use crate::connections::goodbye;
use crate::dialect::{Dialect, Table};
use crate::engine::{Engine, Facts, primary};
use crate::examine;
use crate::limits::Limits;
use crate::loan::Source;
use crate::pool::Pool;

impl Engine for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;
    const LOCAL: bool = false;

    fn login(mut options: PgConnectOptions, credentials: &Credentials) -> PgConnectOptions {
        if let Some(username) = credentials.username() {
            options = options.username(username);
        }
        match credentials.password() {
            Some(password) => options.password(password),
            None => options,
        }
    }

    async fn connect(options: &PgConnectOptions, _: &Limits) -> sqlx::Result<PgConnection> {
        let mut connection = options.connect().await?;
        match Self::require_primary(&mut connection).await {
            Ok(()) => Ok(connection),
            Err(error) => {
                goodbye::<Self>(connection);
                Err(error)
            }
        }
    }

    async fn require_primary(connection: &mut PgConnection) -> sqlx::Result<()> {
        // As plain text, because behind a pooler prepared statements may not work.
        let question = AssertSqlSafe(format!("SELECT {}", Dialect::Postgres.read_only()));
        let row = sqlx::raw_sql(question).fetch_one(connection).await?;
        primary(row.try_get(0)?)
    }

    async fn inspect(connection: &mut PgConnection) -> sqlx::Result<Facts> {
        let (commit, fsync, version): (String, String, i32) = sqlx::query_as(
            "SELECT current_setting('synchronous_commit'), current_setting('fsync'), \
             current_setting('server_version_num')::int",
        )
        .fetch_one(connection)
        .await?;
        let durability = match (&*commit, &*fsync) {
            (_, "off") => Durability::Server,
            ("off", _) => Durability::Delayed,
            _ => Durability::Disk,
        };
        // Before 14 a range of physical rows reads the whole table.
        Ok(Facts { durability, max_value: None, autocommit: true, by_block: version >= 140_000 })
    }

    async fn examine(connection: &mut PgConnection, table: &Table) -> sqlx::Result<Vec<Finding>> {
        examine::postgres::examine(connection, table).await
    }

    fn pool(source: Source<Self>) -> Pool {
        Pool::Postgres(source)
    }
}
