//! PostgreSQL: from a URL, or on a pool of your own.
//!
//! Works with PostgreSQL 14 or later (13 sweeps slowly).

use std::sync::Arc;

use mocha_session_core::store::Durability;
use mocha_session_core::{BoxFuture, Error, ErrorKind, Result, StoreUrl};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres};

use crate::dialect::{Dialect, Statements};
use crate::error::Failure;
use crate::lane::Lane;
use crate::loan::Source;
use crate::opening::{explain, prepare_table};
use crate::pool::Pool;
use crate::server::{ServerUrl, TlsMode, in_time};
use crate::store::{Facts, SqlOptions, SqlStore};

/// Reads the URL at once, and connects when the future is awaited.
///
/// ```
/// use mocha_session_core::StoreUrl;
///
/// let mut url = StoreUrl::parse("postgresql://app:secret@db.example/shop?schema=web&sslmode=verify-full")?;
/// let opening = mocha_session_sql::postgres::from_url(&mut url)?;
/// url.finish()?; // nothing misspelt
/// # drop(opening);
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
///
/// # Errors
/// `InvalidConfig` when the URL is wrong. The future: whatever keeps the server from being reached or the table from
/// being created.
pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    let mut server = ServerUrl::take(url)?;
    if let Some(schema) = url.take("schema") {
        server.options.table = server.options.table.in_schema(&schema)?;
    }
    let connect = connect_options(url, &server)?;
    Ok(Box::pin(in_time(Dialect::Postgres, async move {
        let connected = connect.connect().await.map_err(Failure::unsent);
        let mut connection =
            connected.map_err(|failure| explain(failure, Dialect::Postgres, &server.options))?;
        let lane = Lane::new(connect, server.max_connections);
        let store = open(&mut connection, Source::Lane(Arc::new(lane)), server.options).await;
        // The store is open whether or not the connection ends politely.
        let _ = connection.close().await;
        store
    })))
}

impl SqlStore {
    /// A store on a PostgreSQL pool of your own.
    ///
    /// Set `test_before_acquire(false)` on the pool to save a round trip per call, a read that meets a dead connection is
    /// tried again; and an `acquire_timeout` below the manager's deadline, which is five seconds by default.
    ///
    /// # Errors
    /// When the server is not reached, is a read-only standby, or the table is missing and cannot be created.
    pub async fn postgres(pool: PgPool, options: SqlOptions) -> Result<Self> {
        let connected = pool.acquire().await.map_err(Failure::unsent);
        let mut connection = connected.map_err(|failure| explain(failure, Dialect::Postgres, &options))?;
        open(&mut connection, Source::Pool(pool), options).await
    }
}

async fn open(
    connection: &mut PgConnection,
    source: Source<Postgres>,
    options: SqlOptions,
) -> Result<SqlStore> {
    let (standby, commit, fsync, version): (bool, String, String, i32) = sqlx::query_as(
        "SELECT pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('fsync'), \
         current_setting('server_version_num')::int",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(|error| explain(Failure::unsent(error), Dialect::Postgres, &options))?;
    if standby {
        return Err(Error::new(
            ErrorKind::Unavailable,
            "this server is a read-only standby; connect to the primary",
        )
        .on(Dialect::Postgres.name())
        .during("open"));
    }
    let durability = match (&*commit, &*fsync) {
        (_, "off") => Durability::Server,
        ("off", _) => Durability::Delayed,
        _ => Durability::Disk,
    };
    let mut sql = Statements::new(Dialect::Postgres, &options.table);
    if version < 140_000 {
        // Ranges of physical rows are read as such since 14; before, each would read the whole table.
        sql.by_block = None;
    }
    prepare_table::<Postgres>(connection, Dialect::Postgres, &sql, &options).await?;
    let pool = Pool::Postgres(source);
    SqlStore::on(pool.clone(), pool, sql, options, Facts { durability, max_value: None })
}

fn connect_options(url: &mut StoreUrl, server: &ServerUrl) -> Result<PgConnectOptions> {
    // What the URL leaves out comes from libpq's environment variables (PGHOST, PGUSER, …), as with every client.
    // No setting is asked for that PgBouncer would refuse.
    let mut options = PgConnectOptions::new_without_pgpass().extra_float_digits(None);
    if let Some(host) = url.take("host").as_deref().or(server.host.as_deref()) {
        options = options.host(host).port(5432);
    }
    if let Some(port) = server.port {
        options = options.port(port);
    }
    if let Some(username) = url.username() {
        options = options.username(username);
    }
    if let Some(password) = url.password() {
        options = options.password(password);
    }
    if let Some(database) = &server.database {
        options = options.database(database);
    }
    if let Some(commit) = url.take("synchronous_commit") {
        if !["on", "off", "local", "remote_write", "remote_apply"].contains(&&*commit) {
            return Err(url.refuse_option(
                "synchronous_commit",
                "must be on, off, local, remote_write or remote_apply",
            ));
        }
        options = options.options([("synchronous_commit", commit)]);
    }
    options = options.ssl_mode(match server.tls.mode {
        TlsMode::Disable => PgSslMode::Disable,
        TlsMode::Prefer => PgSslMode::Prefer,
        TlsMode::Require => PgSslMode::Require,
        TlsMode::VerifyCa => PgSslMode::VerifyCa,
        TlsMode::VerifyFull => PgSslMode::VerifyFull,
    });
    if let Some(root) = &server.tls.root {
        options = options.ssl_root_cert(root);
    }
    if let Some((certificate, key)) = &server.tls.certificate {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    Ok(options.disable_statement_logging())
}
