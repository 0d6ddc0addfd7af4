//! MySQL and MariaDB: from a URL, or on a pool of your own.
//!
//! Works with MySQL 8 and MariaDB 10.6 or later.

use mocha_session_core::store::Durability;
use mocha_session_core::{BoxFuture, Error, Result, StoreUrl};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions as _, MySqlPool};

use crate::dialect::{Dialect, Table};
use crate::error::{Failure, Intent};
use crate::pool::Pool;
use crate::server::{ServerUrl, TlsMode, knock, pool_options};
use crate::store::{Facts, SqlOptions, SqlStore};
use crate::suspicion::Suspicion;

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
    Ok(Box::pin(async move {
        let suspicion = Suspicion::default();
        knock(&connect).await.map_err(|failure| explain(failure, &server.options.table))?;
        let pool = pool_options(server.max_connections, &suspicion).connect_lazy_with(connect);
        open(pool, server.options, suspicion).await
    }))
}

impl SqlStore {
    /// A store on a MySQL or MariaDB pool of your own.
    ///
    /// Set `test_before_acquire(false)` on the pool to save a round trip per call; a read that meets a dead connection is
    /// tried again.
    ///
    /// # Errors
    /// When the server is not reached, or the table is missing and cannot be created.
    pub async fn mysql(pool: MySqlPool, options: SqlOptions) -> Result<Self> {
        open(pool, options, Suspicion::default()).await
    }
}

async fn open(pool: MySqlPool, options: SqlOptions, suspicion: Suspicion) -> Result<SqlStore> {
    let (packet, flush): (i64, i64) = sqlx::query_as(
        "SELECT CAST(@@max_allowed_packet AS SIGNED), CAST(@@innodb_flush_log_at_trx_commit AS SIGNED)",
    )
    .fetch_one(&pool)
    .await
    .map_err(|error| explain(Failure::unsent(error), &options.table))?;
    let pool = Pool::MySql(pool);
    let facts = Facts {
        durability: if flush == 1 { Durability::Disk } else { Durability::Delayed },
        max_value: Some(usize::try_from(packet).unwrap_or_default().saturating_sub(PACKET_OVERHEAD)),
        blocks: false,
        suspicion,
    };
    SqlStore::open(pool.clone(), pool, options, facts).await
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

fn explain(failure: Failure, table: &Table) -> Error {
    failure.explain(Dialect::MySql, table, Intent::Open).on(Dialect::MySql.name()).during("open")
}
