//! TLS with rustls: the certificates to trust and the client's own.

use mocha_session_core::{Error, ErrorKind, Result, StoreUrl};
use redis::cluster::ClusterClientBuilder;
use redis::{Client, ClientTlsConfig, ConnectionInfo, RedisResult, TlsCertificates, TlsMode};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The files that a URL names.
pub(crate) struct Files {
    authority: Option<String>,
    client: Option<(String, String)>,
}

impl Files {
    /// Takes the options `ca`, `cert` and `key`.
    pub(crate) fn take(url: &mut StoreUrl) -> Result<Self> {
        let client = match (url.take("cert"), url.take("key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(url.refuse("the options `cert` and `key` must be given together")),
        };
        Ok(Self { authority: url.take("ca"), client })
    }

    pub(crate) async fn read(&self) -> Result<Certificates> {
        let root_cert = match self.authority.clone() {
            Some(path) => Some(read("ca", path).await?),
            None => None,
        };
        let client_tls = match self.client.clone() {
            Some((certificate, key)) => Some(ClientTlsConfig {
                client_cert: read("cert", certificate).await?,
                client_key: read("key", key).await?,
            }),
            None => None,
        };
        let certificates = TlsCertificates { client_tls, root_cert };
        // Tried on any address, so that a file that is not a certificate is reported as such.
        match Client::build_with_tls("rediss://localhost", certificates.clone()) {
            Ok(_) => Ok(Certificates(certificates)),
            Err(cause) => {
                let why = "the files of the options `ca`, `cert` and `key` must be certificates \
                           and a key in PEM form";
                Err(Error::new(ErrorKind::InvalidConfig, why).with_source(cause))
            }
        }
    }
}

async fn read(option: &str, path: String) -> Result<Vec<u8>> {
    let content = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    content.unwrap_or_else(|gone| Err(std::io::Error::other(gone))).map_err(|cause| {
        let why = format!("the file of the option `{option}` cannot be read: {cause}");
        Error::new(ErrorKind::InvalidConfig, why).with_source(cause)
    })
}

/// The authorities to trust, and the client's certificate.
#[derive(Clone)]
pub(crate) struct Certificates(TlsCertificates);

impl Certificates {
    pub(crate) fn secure_server(&self, server: ConnectionInfo) -> RedisResult<ConnectionInfo> {
        Ok(Client::build_with_tls(server, self.0.clone())?.get_connection_info().clone())
    }

    pub(crate) fn secure_cluster(self, builder: ClusterClientBuilder) -> ClusterClientBuilder {
        builder.tls(TlsMode::Secure).certs(self.0)
    }
}

/// Installs a crypto provider for the process if there is none: without one, or with several to
/// choose from, rustls panics.
pub(crate) fn provide() {
    if CryptoProvider::get_default().is_none() {
        // This fails only if another thread has installed one meanwhile.
        drop(aws_lc_rs::default_provider().install_default());
    }
}
