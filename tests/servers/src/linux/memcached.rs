//! memcached: one server, and three.

use super::place::{Place, free_port};
use super::redis::{ask, expect};
use crate::Result;

pub(super) fn one(place: &Place) -> Result<Vec<String>> {
    start(place, 1)
}

pub(super) fn three(place: &Place) -> Result<Vec<String>> {
    start(place, 3)
}

/// Starts `count` servers and returns their URL.
fn start(place: &Place, count: usize) -> Result<Vec<String>> {
    let mut servers = Vec::new();
    for number in 1..=count {
        let port = free_port()?;
        let mut memcached = place.program("memcached -l 127.0.0.1 -U 0 -m 64")?;
        memcached.arg("-p").arg(port.to_string());
        if place.root {
            memcached.args(["-u", "nobody"]);
        }
        servers.push((port, place.spawn(&format!("memcached-{number}"), memcached)?));
    }
    for (port, server) in &mut servers {
        server.ready(|| expect(&ask(*port, "version")?, "VERSION "))?;
    }
    let addresses: Vec<_> = servers.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
    Ok(vec![format!("memcache://{}", addresses.join(","))])
}
