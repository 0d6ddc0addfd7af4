//! What the two servers share: how a pool is set up, how a server is knocked at, and the options of their URLs.

use std::time::Duration;

use mocha_session_core::{Error, ErrorKind, Host, Result, StoreUrl};
use sqlx::pool::PoolOptions;
use sqlx::{Connection as _, Database};

use crate::dialect::Dialect;
use crate::options::{take_max_connections, take_options};
use crate::store::SqlOptions;
use crate::suspicion::Suspicion;

/// How long opening a store waits for the server.
const OPENING: Duration = Duration::from_secs(10);

/// How long a call waits for a connection. Less than the core's deadline of five seconds, so that a server that is down
/// is reported as that, nothing having been done, and not as a timeout whose outcome nobody knows.
const WAITING: Duration = Duration::from_secs(4);

/// A pool that asks a connection whether it lives only when there is reason to doubt it.
pub(crate) fn pool_options<DB: Database>(most: u32, suspicion: &Suspicion) -> PoolOptions<DB> {
    let suspicion = suspicion.clone();
    PoolOptions::new()
        .max_connections(most)
        .acquire_timeout(WAITING)
        .test_before_acquire(false)
        .before_acquire(move |connection: &mut DB::Connection, about| {
            let doubtful = suspicion.falls_on(about.idle_for);
            Box::pin(async move { Ok(!doubtful || connection.ping().await.is_ok()) })
        })
}

/// Waits for a server to be opened, but not for ever.
pub(crate) async fn in_time<T>(dialect: Dialect, opening: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(OPENING, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(Error::new(ErrorKind::Unavailable, "the server does not answer")
            .on(dialect.name())
            .during("open")),
    }
}

/// The options that PostgreSQL and MySQL have in common.
#[derive(Debug)]
pub(crate) struct ServerUrl {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub database: Option<String>,
    pub options: SqlOptions,
    pub max_connections: u32,
    pub tls: Tls,
}

/// How the connection is encrypted, in libpq's words for both servers.
#[derive(Debug)]
pub(crate) struct Tls {
    pub mode: TlsMode,
    pub root: Option<String>,
    pub certificate: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl ServerUrl {
    pub(crate) fn take(url: &mut StoreUrl) -> Result<Self> {
        let host = if url.hosts().is_empty() { None } else { Some(url.single_host()?) };
        let database = match url.split_path() {
            ("", "") => None,
            (database, "") => Some(database.to_owned()),
            _ => return Err(url.refuse("its path must be the name of a database: …@host/name")),
        };
        Ok(Self {
            host: host.map(|host| host.name().to_owned()),
            port: host.and_then(Host::port),
            database,
            options: take_options(url)?,
            max_connections: take_max_connections(url, 10)?,
            tls: Tls::take(url)?,
        })
    }
}

impl Tls {
    fn take(url: &mut StoreUrl) -> Result<Self> {
        let mode = url.take("sslmode");
        let root = url.take("sslrootcert");
        let certificate = match (url.take("sslcert"), url.take("sslkey")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(url.refuse("the options `sslcert` and `sslkey` go together")),
        };
        let mode = match mode.as_deref() {
            Some("disable") => TlsMode::Disable,
            Some("require") => TlsMode::Require,
            Some("verify-ca") => TlsMode::VerifyCa,
            Some("verify-full") => TlsMode::VerifyFull,
            // Whoever names a certificate authority wants the server checked against it.
            None if root.is_some() => TlsMode::VerifyFull,
            Some("prefer") | None => TlsMode::Prefer,
            Some(_) => {
                return Err(url
                    .refuse_option("sslmode", "must be disable, prefer, require, verify-ca or verify-full"));
            }
        };
        Ok(Self { mode, root, certificate })
    }
}
