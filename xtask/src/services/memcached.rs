//! memcached, one and three of them.

use super::place::{Place, Server, free_port};
use super::wire;
use crate::{Result, command};

pub(crate) fn one(place: &Place) -> Result<Vec<String>> {
    Ok(vec![format!("memcache://{}", start(place, 1)?)])
}

pub(crate) fn three(place: &Place) -> Result<Vec<String>> {
    Ok(vec![format!("memcache://{}", start(place, 3)?)])
}

/// Starts so many and answers their addresses.
fn start(place: &Place, count: usize) -> Result<String> {
    let mut addresses = Vec::new();
    let mut servers: Vec<(u16, Server)> = Vec::new();
    for number in 1..=count {
        let port = free_port()?;
        let mut memcached = command::program("memcached")?;
        memcached.args(["-l", "127.0.0.1", "-U", "0", "-m", "64", "-p", &port.to_string()]);
        if place.root {
            memcached.args(["-u", "nobody"]);
        }
        servers.push((port, place.spawn(&format!("memcached-{number}"), &memcached)?));
        addresses.push(format!("127.0.0.1:{port}"));
    }
    for (port, server) in &mut servers {
        server.ready(|| match wire::ask(*port, "version")? {
            version if version.starts_with("VERSION ") => Ok(()),
            other => Err(format!("it answers {other}").into()),
        })?;
    }
    Ok(addresses.join(","))
}
