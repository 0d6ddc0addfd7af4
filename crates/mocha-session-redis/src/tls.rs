//! TLS with rustls: which certificates to trust and to show. Without the cargo feature `tls`, nothing of it.

use mocha_session_core::{Error, ErrorKind, Result, StoreUrl};

/// The files that a URL names.
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "no URL gets that far"))]
pub(crate) struct Files {
    authority: Option<String>,
    client: Option<(String, String)>,
}

impl Files {
    /// Takes the options `ca`, `cert` and `key`.
    pub(crate) fn take(url: &mut StoreUrl) -> Result<Self> {
        if cfg!(not(feature = "tls")) {
            return Err(url.refuse("TLS needs the cargo feature `tls` of mocha-session-redis"));
        }
        let client = match (url.take("cert"), url.take("key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(url.refuse("the options `cert` and `key` come together")),
        };
        Ok(Self { authority: url.take("ca"), client })
    }
}

/// What to trust, and what to show to a server that asks.
#[derive(Clone)]
pub(crate) struct Certificates(#[cfg(feature = "tls")] redis::TlsCertificates);

#[cfg(feature = "tls")]
mod enabled {
    use redis::cluster::ClusterClientBuilder;
    use redis::{Client, ClientTlsConfig, ConnectionInfo, RedisResult, TlsCertificates, TlsMode};
    use rustls::crypto::{CryptoProvider, aws_lc_rs};

    use super::{Certificates, Error, ErrorKind, Files, Result};

    impl Files {
        pub(crate) async fn read(self) -> Result<Certificates> {
            let root_cert = match self.authority {
                Some(path) => Some(read("ca", path).await?),
                None => None,
            };
            let client_tls = match self.client {
                Some((certificate, key)) => Some(ClientTlsConfig {
                    client_cert: read("cert", certificate).await?,
                    client_key: read("key", key).await?,
                }),
                None => None,
            };
            Ok(Certificates(TlsCertificates { client_tls, root_cert }))
        }
    }

    async fn read(option: &str, path: String) -> Result<Vec<u8>> {
        let content = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        content.unwrap_or_else(|gone| Err(std::io::Error::other(gone))).map_err(|cause| {
            Error::new(
                ErrorKind::InvalidConfig,
                format!("the file of the option `{option}` cannot be read: {cause}"),
            )
            .with_source(cause)
        })
    }

    impl Certificates {
        pub(crate) fn secure_server(&self, server: ConnectionInfo) -> RedisResult<ConnectionInfo> {
            Ok(Client::build_with_tls(server, self.0.clone())?.get_connection_info().clone())
        }

        pub(crate) fn secure_cluster(self, builder: ClusterClientBuilder) -> ClusterClientBuilder {
            builder.tls(TlsMode::Secure).certs(self.0)
        }
    }

    /// The client asks rustls for the process's provider and panics where there is none, or two to choose from.
    pub(crate) fn provide() {
        if CryptoProvider::get_default().is_none() {
            // Somebody else may be faster: then there is one, and that is all that is wanted.
            drop(aws_lc_rs::default_provider().install_default());
        }
    }
}

#[cfg(not(feature = "tls"))]
mod disabled {
    use redis::cluster::ClusterClientBuilder;
    use redis::{ConnectionInfo, RedisResult};

    use super::{Certificates, Error, ErrorKind, Files, Result};

    impl Files {
        #[allow(clippy::unused_async, reason = "as with the feature")]
        pub(crate) async fn read(self) -> Result<Certificates> {
            Err(Error::new(
                ErrorKind::InvalidConfig,
                "TLS needs the cargo feature `tls` of mocha-session-redis",
            ))
        }
    }

    impl Certificates {
        #[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "as with the feature")]
        pub(crate) fn secure_server(&self, server: ConnectionInfo) -> RedisResult<ConnectionInfo> {
            Ok(server)
        }

        pub(crate) fn secure_cluster(self, builder: ClusterClientBuilder) -> ClusterClientBuilder {
            builder
        }
    }

    pub(crate) fn provide() {}
}

#[cfg(not(feature = "tls"))]
pub(crate) use disabled::provide;
#[cfg(feature = "tls")]
pub(crate) use enabled::provide;
