//! Chromium's driver, which starts a browser with a profile of its own for each test.

use super::certificates::Certificates;
use super::place::{Place, free_port};
use super::redis::expect;
use crate::Result;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The driver, and a certificate for the sites that the browsers visit.
pub(super) fn driver(place: &Place) -> Result<Vec<String>> {
    let certificates = Certificates::make(&place.folder)?.server;
    let port = free_port()?;
    let mut driver = place.program("chromedriver")?;
    driver.arg(format!("--port={port}"));
    // What browsers leave there goes when the folder goes. Relative to it, because the path of
    // their socket must be short.
    driver.env("TMPDIR", ".");
    place.spawn("chromedriver", driver)?.ready(|| expect(&status(port)?, "\"ready\":true"))?;
    let paths = [certificates.certificate, certificates.key];
    let paths = paths.map(|path| path.display().to_string());
    Ok([vec![format!("http://127.0.0.1:{port}")], paths.to_vec()].concat())
}

fn status(port: u16) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /status HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
    // The driver keeps the connection open, so its answer has no end to read to.
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer)?;
    let header = String::from_utf8_lossy(&answer[..length]).into_owned();
    let more = if header.contains("\r\n\r\n{") { 0 } else { stream.read(&mut answer)? };
    Ok(header + &String::from_utf8_lossy(&answer[..more]))
}
