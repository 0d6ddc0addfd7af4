//! The options that the URLs of PostgreSQL and MySQL have in common.

use std::time::Duration;

use mocha_session_core::{Result, StoreUrl};

use super::{take_max_connections, take_options};
use crate::limits::Limits;
use crate::open::SqlOptions;

/// The options of both servers.
#[derive(Debug)]
pub(crate) struct ServerUrl {
    /// The names and ports that are given; at least one entry.
    pub hosts: Vec<(Option<String>, Option<u16>)>,
    pub database: Option<String>,
    pub options: SqlOptions,
    pub max_connections: usize,
    pub connect_timeout: Option<Duration>,
    pub tls: Tls,
}

/// The encryption of a connection, in libpq's terms for both servers.
#[derive(Debug)]
pub(crate) struct Tls {
    /// `None` if the URL does not say.
    pub mode: Option<TlsMode>,
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
        let mut hosts: Vec<_> =
            url.hosts().iter().map(|host| (Some(host.name().to_owned()), host.port())).collect();
        if hosts.is_empty() {
            hosts.push((None, None));
        }
        let database = match url.split_path() {
            ("", "") => None,
            (database, "") => Some(database.to_owned()),
            _ => return Err(url.refuse("its path must be the name of a database: …@host/name")),
        };
        // As to libpq, zero means no separate limit.
        let connect_timeout = match url.take("connect_timeout").as_deref() {
            None | Some("0") => None,
            Some(seconds) => match seconds.parse() {
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => {
                    return Err(url.refuse_option("connect_timeout", "must be a number of seconds"));
                }
            },
        };
        Ok(Self {
            hosts,
            database,
            options: take_options(url)?,
            max_connections: take_max_connections(url, 10)?.into(),
            connect_timeout,
            tls: Tls::take(url)?,
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::new(self.options.deadline);
        limits.connect = self.connect_timeout;
        limits
    }
}

impl Tls {
    fn take(url: &mut StoreUrl) -> Result<Self> {
        let mode = take_either(url, ["sslmode", "ssl-mode", "ssl_mode"])?;
        let mode = match mode {
            Some((name, value)) => Some(TlsMode::parse(&value).ok_or_else(|| {
                url.refuse_option(
                    name,
                    "must be disable, prefer, require, verify-ca or verify-full",
                )
            })?),
            None => None,
        };
        let file = |found: Option<(&str, String)>| found.map(|(_, file)| file);
        let root = file(take_either(url, ["sslrootcert", "ssl-ca", "ssl_ca"])?);
        let certificate = file(take_either(url, ["sslcert", "ssl-cert", "ssl_cert"])?);
        let certificate =
            match (certificate, file(take_either(url, ["sslkey", "ssl-key", "ssl_key"])?)) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                _ => {
                    return Err(
                        url.refuse("the options `sslcert` and `sslkey` must be given together")
                    );
                }
            };
        // A certificate authority in the URL means that the server is verified against it.
        let mode = mode.or_else(|| root.is_some().then_some(TlsMode::VerifyFull));
        Ok(Self { mode, root, certificate })
    }
}

impl TlsMode {
    /// Reads libpq's terms, and those of MySQL's tools.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().replace('_', "-").as_str() {
            "disable" | "disabled" => Self::Disable,
            // libpq's `allow` encrypts only if the server requires it; here it encrypts if it can.
            "prefer" | "preferred" | "allow" => Self::Prefer,
            "require" | "required" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" | "verify-identity" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// Takes an option that has several spellings.
fn take_either(
    url: &mut StoreUrl,
    names: [&'static str; 3],
) -> Result<Option<(&'static str, String)>> {
    let mut found = None;
    for name in names {
        if let Some(value) = url.take(name) {
            if found.is_some() {
                return Err(url.refuse_option(name, "is given in two spellings"));
            }
            found = Some((name, value));
        }
    }
    Ok(found)
}

/// Takes options of other clients that this store does not need, so that their URLs work here.
pub(crate) fn ignore(url: &mut StoreUrl, names: &[&'static str]) {
    for name in names {
        url.take(name);
    }
}
