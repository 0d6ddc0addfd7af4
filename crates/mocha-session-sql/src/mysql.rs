//! MySQL and MariaDB: from a URL, or on a pool of your own.
//!
//! Works with MySQL 8 and MariaDB 10.6 or later.

use std::sync::Arc;

use mocha_session_core::store::Durability;
use mocha_session_core::{BoxFuture, Result, StoreUrl};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions as _, Connection as _, MySql, MySqlConnection, MySqlPool};

use crate::dialect::{Dialect, Statements};
use crate::error::Failure;
use crate::lane::Lane;
use crate::loan::Source;
use crate::opening::{explain, prepare_table};
use crate::pool::Pool;
use crate::server::{ServerUrl, TlsMode, in_time};
use crate::store::{Facts, SqlOptions, SqlStore};

/// What a statement's other parameters and the protocol add to the value's own bytes, amply.
const PACKET_OVERHEAD: usize = 1024;

/// Reads the URL at once, and connects when the future is awaited.
///
/// ```
/// use mocha_session_core::StoreUrl;
///
/// let mut url = StoreUrl::parse("mysql+pymysql://app:secret@db.example:3306/shop?table=web_sessions")?;
/// let opening = mocha_session_sql::mysql::from_url(&mut url)?;
/// url.finish()?; // nothing misspelt
/// # drop(opening);
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
///
/// # Errors
/// `InvalidConfig` when the URL is wrong. The future: whatever keeps the server from being reached or the table from
/// being created.
pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    let server = ServerUrl::take(url)?;
    let connect = connect_options(url, &server)?;
    Ok(Box::pin(in_time(Dialect::MySql, async move {
        let connected = connect.connect().await.map_err(Failure::unsent);
        let mut connection =
            connected.map_err(|failure| explain(failure, Dialect::MySql, &server.options))?;
        let lane = Lane::new(connect, server.max_connections);
        let store = open(&mut connection, Source::Lane(Arc::new(lane)), server.options).await;
        // The store is open whether or not the connection ends politely.
        let _ = connection.close().await;
        store
    })))
}

impl SqlStore {
    /// A store on a MySQL or MariaDB pool of your own.
    ///
    /// Set `test_before_acquire(false)` on the pool to save a round trip per call, a read that meets a dead connection is
    /// tried again; and an `acquire_timeout` below the manager's deadline, which is five seconds by default.
    ///
    /// # Errors
    /// When the server is not reached, or the table is missing and cannot be created.
    pub async fn mysql(pool: MySqlPool, options: SqlOptions) -> Result<Self> {
        let connected = pool.acquire().await.map_err(Failure::unsent);
        let mut connection = connected.map_err(|failure| explain(failure, Dialect::MySql, &options))?;
        open(&mut connection, Source::Pool(pool), options).await
    }
}

async fn open(
    connection: &mut MySqlConnection,
    source: Source<MySql>,
    options: SqlOptions,
) -> Result<SqlStore> {
    let (packet, flush): (i64, i64) = sqlx::query_as(
        "SELECT CAST(@@max_allowed_packet AS SIGNED), CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(|error| explain(Failure::unsent(error), Dialect::MySql, &options))?;
    let sql = Statements::new(Dialect::MySql, &options.table);
    prepare_table::<MySql>(connection, Dialect::MySql, &sql, &options).await?;
    let facts = Facts {
        durability: if flush == 1 { Durability::Disk } else { Durability::Delayed },
        max_value: Some(usize::try_from(packet).unwrap_or_default().saturating_sub(PACKET_OVERHEAD)),
    };
    let pool = Pool::MySql(source);
    SqlStore::on(pool.clone(), pool, sql, options, facts)
}

fn connect_options(url: &mut StoreUrl, server: &ServerUrl) -> Result<MySqlConnectOptions> {
    let mut options = MySqlConnectOptions::new();
    if let Some(host) = &server.host {
        options = options.host(host);
    }
    if let Some(port) = server.port {
        options = options.port(port);
    }
    if let Some(socket) = url.take("unix_socket") {
        options = options.socket(socket);
    }
    if let Some(username) = url.username() {
        options = options.username(username);
    }
    if let Some(password) = url.password() {
        options = options.password(password);
    }
    match &server.database {
        Some(database) => options = options.database(database),
        None => return Err(url.refuse("it names no database: …@host/name")),
    }
    options = options.ssl_mode(match server.tls.mode {
        TlsMode::Disable => MySqlSslMode::Disabled,
        TlsMode::Prefer => MySqlSslMode::Preferred,
        TlsMode::Require => MySqlSslMode::Required,
        TlsMode::VerifyCa => MySqlSslMode::VerifyCa,
        TlsMode::VerifyFull => MySqlSslMode::VerifyIdentity,
    });
    if let Some(root) = &server.tls.root {
        options = options.ssl_ca(root);
    }
    if let Some((certificate, key)) = &server.tls.certificate {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    Ok(options.disable_statement_logging())
}
