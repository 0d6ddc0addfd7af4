//! A certificate authority for one run, with a certificate for servers and one for clients.

use crate::{Result, command};
use std::path::{Path, PathBuf};

/// The paths of the PEM files.
pub(super) struct Certificates {
    pub(super) authority: Pair,
    pub(super) server: Pair,
    pub(super) client: Pair,
}

pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificates {
    /// Creates all of them in a folder. The servers' names are 127.0.0.1, `::1` and localhost.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let authority = pair(folder, "authority", None, &["basicConstraints=critical,CA:TRUE"])?;
        let made = |name, uses, names| {
            let is = ["basicConstraints=critical,CA:FALSE", "keyUsage=digitalSignature"];
            pair(folder, name, Some(&authority), &[is[0], is[1], uses, names])
        };
        let server = made(
            "server",
            "extendedKeyUsage=serverAuth",
            "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost",
        )?;
        let client = made("client", "extendedKeyUsage=clientAuth", "subjectAltName=DNS:client")?;
        Ok(Self { authority, server, client })
    }
}

/// Creates a new key and a certificate for it, signed by this authority or by itself.
fn pair(folder: &Path, name: &str, by: Option<&Pair>, extensions: &[&str]) -> Result<Pair> {
    let file = |kind: &str| folder.join(format!("{name}.{kind}"));
    let made = Pair { certificate: file("pem"), key: file("key") };
    let mut openssl = command::program(
        "openssl req -x509 -days 7 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1",
    )?;
    openssl.arg("-subj").arg(format!("/CN=mocha-session test {name}"));
    openssl.arg("-keyout").arg(&made.key).arg("-out").arg(&made.certificate);
    openssl.args(extensions.iter().flat_map(|extension| ["-addext", extension]));
    if let Some(by) = by {
        openssl.arg("-CA").arg(&by.certificate).arg("-CAkey").arg(&by.key);
    }
    command::read(&mut openssl)?;
    Ok(made)
}
