//! S3, by moto: one server that accepts every key, and one that verifies signatures.

use super::place::{Place, free_port};
use crate::{Result, install};
use std::fs;
use std::net::TcpStream;
use std::process::Command;

/// Starts a server that accepts any key and secret.
pub(super) fn open(place: &Place) -> Result<Vec<String>> {
    start(place, "s3", "open")
}

/// Starts a server that verifies signatures.
pub(super) fn signed(place: &Place) -> Result<Vec<String>> {
    start(place, "s3-signed", "signed")
}

fn start(place: &Place, name: &str, kind: &str) -> Result<Vec<String>> {
    let (port, url) = (free_port()?, place.folder.join("url"));
    // It does not start bin/moto_server, which contains its folder's path. It also makes moto
    // atomic, as S3 is.
    let mut moto = Command::new(install::MOTO.program()?);
    moto.args(["-c", include_str!("moto.py"), &port.to_string(), kind]).arg(&url);
    let mut moto = place.spawn(name, moto)?;
    // It writes the file shortly before it listens.
    moto.ready(|| {
        fs::metadata(&url)?;
        Ok(TcpStream::connect(("127.0.0.1", port)).map(drop)?)
    })?;
    Ok(vec![fs::read_to_string(url)?])
}
