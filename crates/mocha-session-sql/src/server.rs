//! What the two servers share: how long opening may take, and the options of their URLs.

use std::time::Duration;

use mocha_session_core::{Error, ErrorKind, Host, Result, StoreUrl};

use crate::dialect::Dialect;
use crate::options::{take_max_connections, take_options};
use crate::store::SqlOptions;

/// How long opening a store waits for the server.
const OPENING: Duration = Duration::from_secs(10);

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
    pub max_connections: usize,
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
            max_connections: take_max_connections(url, 10)?.into(),
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
