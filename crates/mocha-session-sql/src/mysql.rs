//! MySQL 8 and MariaDB 10.6, or later: their options, and what is asked of a connection.

use std::sync::Arc;

use mocha_session_core::backend::Credentials;
use mocha_session_core::store::Durability;
use mocha_session_core::{BoxFuture, Result, StoreUrl};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySql, MySqlConnection, Row as _, SqlSafeStr};

use crate::clocks::Clocks;
use crate::connections::{Connections, Target, goodbye};
use crate::dialect::Dialect;
use crate::engine::{Engine, Facts, primary};
use crate::loan::Source;
use crate::open::open;
use crate::pool::Pool;
use crate::store::SqlStore;
use crate::url::server::{ServerUrl, TlsMode, ignore};

/// What a statement's other parameters and the protocol add to the value's own bytes, amply.
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
        clocks: &Clocks,
    ) -> sqlx::Result<MySqlConnection> {
        let mut connection = options.connect().await?;
        // One text, one round trip. A value that does not fit must be an error, and each statement
        // a transaction. What is within the comment is for MariaDB alone.
        let greeting = format!(
            "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
             innodb_lock_wait_timeout = {0}, lock_wait_timeout = {0} /*M! , max_statement_time = {1} */; {2}",
            clocks.statement_seconds(),
            clocks.statement.as_secs_f64(),
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

pub(crate) fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    let server = ServerUrl::take(url)?;
    // Ids are ASCII and the rest is bytes and numbers; a statement is its own transaction, whatever
    // is said.
    ignore(url, &["autocommit", "charset", "collation", "use_unicode"]);
    let clocks = server.clocks();
    let common = connect_options(url, &server)?;
    let hosts = server.hosts.iter().map(|(host, port)| {
        let mut options = common.clone();
        if let Some(host) = host {
            options = options.host(host);
        }
        if let Some(port) = port {
            options = options.port(*port);
        }
        Target { options, bare: None }
    });
    let own = Connections::new(hosts.collect(), url.credentials(), clocks, server.max_connections);
    let source = Source::<MySql>::Own(Arc::new(own));
    Ok(Box::pin(open(source.clone(), source, server.options)))
}

fn connect_options(url: &mut StoreUrl, server: &ServerUrl) -> Result<MySqlConnectOptions> {
    // The store sets what it needs by itself.
    let mut options = MySqlConnectOptions::new()
        .set_names(false)
        .timezone(None)
        .pipes_as_concat(false)
        .no_engine_substitution(false);
    if let Some(socket) = url.take("unix_socket") {
        options = options.socket(socket);
    }
    match &server.database {
        Some(database) => options = options.database(database),
        None => return Err(url.refuse("it names no database: …@host/name")),
    }
    options = options.ssl_mode(match server.tls.mode {
        Some(TlsMode::Disable) => MySqlSslMode::Disabled,
        Some(TlsMode::Prefer) | None => MySqlSslMode::Preferred,
        Some(TlsMode::Require) => MySqlSslMode::Required,
        Some(TlsMode::VerifyCa) => MySqlSslMode::VerifyCa,
        Some(TlsMode::VerifyFull) => MySqlSslMode::VerifyIdentity,
    });
    if let Some(root) = &server.tls.root {
        options = options.ssl_ca(root);
    }
    if let Some((certificate, key)) = &server.tls.certificate {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    Ok(options.disable_statement_logging())
}
