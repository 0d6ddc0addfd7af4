//! A certificate authority for one run, with a certificate for servers and one for clients.

use crate::{Result, command};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the PEM files are.
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) server: Pair,
    pub(crate) client: Pair,
}

pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes all of them in a folder. Servers are 127.0.0.1, `::1` and localhost.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let authority = pair(folder, "authority");
        openssl(
            &authority,
            "mocha-session test authority",
            &["-x509", "-days", "7"],
            "basicConstraints=critical,CA:TRUE",
        )?;
        let names = "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost";
        let server = signed(
            folder,
            "server",
            &authority,
            &format!("extendedKeyUsage=serverAuth\n{names}\n"),
        )?;
        let client = signed(
            folder,
            "client",
            &authority,
            "extendedKeyUsage=clientAuth\nsubjectAltName=DNS:client\n",
        )?;
        Ok(Self { authority: authority.certificate, server, client })
    }
}

fn signed(folder: &Path, name: &str, authority: &Pair, extensions: &str) -> Result<Pair> {
    let made = pair(folder, name);
    let request =
        Pair { certificate: folder.join(format!("{name}.request")), key: made.key.clone() };
    openssl(&request, &format!("mocha-session test {name}"), &[], "keyUsage=digitalSignature")?;
    let extension_file = folder.join(format!("{name}.extensions"));
    fs::write(&extension_file, format!("basicConstraints=critical,CA:FALSE\n{extensions}"))?;
    let mut sign = command::program("openssl")?;
    sign.args(["x509", "-req", "-days", "7", "-CAcreateserial"]);
    for (option, file) in [
        ("-in", &request.certificate),
        ("-CA", &authority.certificate),
        ("-CAkey", &authority.key),
        ("-extfile", &extension_file),
        ("-out", &made.certificate),
    ] {
        sign.arg(option).arg(file);
    }
    command::read(&mut sign)?;
    Ok(made)
}

/// A new key, and a request (or with `-x509` a certificate of its own making) for it.
fn openssl(made: &Pair, name: &str, kind: &[&str], extension: &str) -> Result {
    let mut request = command::program("openssl")?;
    request.args([
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]);
    request.args(kind).args(["-subj", &format!("/CN={name}"), "-addext", extension]);
    request.arg("-keyout").arg(&made.key).arg("-out").arg(&made.certificate);
    command::read(&mut request)?;
    Ok(())
}

fn pair(folder: &Path, name: &str) -> Pair {
    Pair {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    }
}
