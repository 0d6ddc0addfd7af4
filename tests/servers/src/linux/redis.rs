//! Redis: alone, with TLS and an ACL, as a cluster, under sentinels.

use super::certificates::Certificates;
use super::place::{Place, Server, free_port};
use crate::{Result, command};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

const MASTER: &str = "mymaster";
const PASSWORD: &str = "s3cret";
const SLOTS: usize = 16_384;
const PATIENCE: Duration = Duration::from_secs(5);

/// A node that does not answer within the cluster's timeout while it joins another is forgotten for
/// good. That happens on a busy machine.
const PATIENCE_OF_MEETING: Duration = Duration::from_secs(60);

/// One server over TCP and a Unix socket, without a password.
pub(super) fn plain(place: &Place) -> Result<Vec<String>> {
    let socket = place.folder.join("redis.sock");
    let mut redis = server(place, "redis-server", "redis")?;
    redis.arg("--unixsocket").arg(&socket).args(["--unixsocketperm", "700"]);
    let (port, _) = start(place, "redis", redis)?;
    Ok(vec![format!("redis://127.0.0.1:{port}"), socket.display().to_string()])
}

/// Valkey, over TCP without a password.
pub(super) fn valkey(place: &Place) -> Result<Vec<String>> {
    let (port, _) = start(place, "valkey", server(place, "valkey-server", "valkey")?)?;
    Ok(vec![format!("valkey://127.0.0.1:{port}")])
}

/// Starts TLS with our own certificate authority and one user, `app`, and a second server that
/// requires a client certificate.
pub(super) fn tls(place: &Place) -> Result<Vec<String>> {
    let Certificates { authority, server: own, client } = Certificates::make(&place.folder)?;
    let mut values = Vec::new();
    // "optional": a client may connect without a certificate, but not with a wrong one.
    for (name, clients) in [("redis-tls", "optional"), ("redis-mtls", "yes")] {
        let port = free_port()?;
        let mut redis = server(place, "redis-server", name)?;
        let options = format!(
            "--port 0 --tls-port {port} --tls-auth-clients {clients} \
             --user default off --user app on >{PASSWORD} ~* &* +@all"
        );
        redis.args(options.split_whitespace());
        redis.arg("--tls-ca-cert-file").arg(&authority.certificate);
        redis.arg("--tls-cert-file").arg(&own.certificate).arg("--tls-key-file").arg(&own.key);
        place.spawn(name, redis)?.ready(|| {
            let mut ping = command::program(&format!(
                "redis-cli --tls -h 127.0.0.1 -p {port} --user app --pass {PASSWORD}"
            ))?;
            ping.arg("--cacert").arg(&authority.certificate).arg("--cert").arg(&client.certificate);
            ping.arg("--key").arg(&client.key).args(["--no-auth-warning", "ping"]);
            expect(&command::read(&mut ping)?, "PONG")
        })?;
        values.push(format!("rediss://app:{PASSWORD}@127.0.0.1:{port}"));
    }
    let files = [&authority.certificate, &client.certificate, &client.key];
    values.extend(files.map(|file| file.display().to_string()));
    Ok(values)
}

/// Three masters that share the slots.
pub(super) fn cluster(place: &Place) -> Result<Vec<String>> {
    let mut nodes: Vec<(u16, u16, Server)> = Vec::new();
    for number in 1..=3 {
        let (name, bus) = (format!("node-{number}"), free_port()?);
        let mut redis = server(place, "redis-server", &name)?;
        let options = format!(
            "--cluster-enabled yes --cluster-config-file nodes.conf \
             --cluster-node-timeout {} --cluster-port {bus}",
            PATIENCE_OF_MEETING.as_millis()
        );
        redis.args(options.split_whitespace());
        let (port, node) = start(place, &name, redis)?;
        nodes.push((port, bus, node));
    }
    for (index, (port, _, _)) in nodes.iter().enumerate() {
        let (first, end) = (SLOTS * index / 3, SLOTS * (index + 1) / 3);
        ask(*port, &format!("CLUSTER ADDSLOTSRANGE {first} {}", end - 1))?;
        // Without their own epochs, the nodes would have to agree on which of them is newer.
        ask(*port, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1))?;
    }
    let ports: Vec<u16> = nodes.iter().map(|(port, _, _)| *port).collect();
    for (port, bus, _) in &nodes[1..] {
        ask(ports[0], &format!("CLUSTER MEET 127.0.0.1 {port} {bus}"))?;
    }
    for (port, _, node) in &mut nodes {
        node.ready(|| {
            expect(&ask(*port, "CLUSTER INFO")?, "cluster_state:ok")?;
            // Each node knows all others, and learns its own address from them.
            let known = ask(*port, "CLUSTER NODES")?;
            ports.iter().try_for_each(|port| expect(&known, &format!(" 127.0.0.1:{port}@")))
        })?;
        ask(*port, "CONFIG SET cluster-node-timeout 2000")?;
    }
    Ok(vec![format!("redis+cluster://{}", addresses(&ports))])
}

/// A master, its replica and three sentinels, which detect within a second that the master is gone.
pub(super) fn sentinel(place: &Place) -> Result<Vec<String>> {
    let mut master = server(place, "redis-server", "master")?;
    // A replica that requests a copy is served at once, without waiting for others.
    master.args(["--repl-diskless-sync-delay", "0"]);
    let (master, _) = start(place, "master", master)?;
    let mut replica = server(place, "redis-server", "replica")?;
    let options = format!("--replicaof 127.0.0.1 {master} --repl-diskless-sync-delay 0");
    replica.args(options.split_whitespace());
    let (replica, mut process) = start(place, "replica", replica)?;
    // A sentinel that checks before the replica is connected checks again ten seconds later.
    process.ready(|| expect(&ask(replica, "INFO replication")?, "master_link_status:up"))?;

    let mut sentinels = Vec::new();
    for number in 1..=3 {
        let (name, port) = (format!("sentinel-{number}"), free_port()?);
        let folder = place.subfolder(&name)?;
        let file = folder.join("sentinel.conf");
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {MASTER} 1000\n\
             sentinel failover-timeout {MASTER} 3000\n",
            folder.display()
        );
        fs::write(&file, config)?;
        let mut redis = place.program("redis-server")?;
        redis.arg(&file).arg("--sentinel");
        sentinels.push((port, place.spawn(&name, redis)?));
    }
    for (port, process) in &mut sentinels {
        process.ready(|| {
            let known = ask(*port, "INFO sentinel")?;
            expect(&known, "status=ok")?;
            expect(&known, "slaves=1,sentinels=3")
        })?;
    }
    let ports: Vec<u16> = sentinels.iter().map(|(port, _)| *port).collect();
    Ok(vec![format!("redis+sentinel://{}/{MASTER}", addresses(&ports))])
}

/// Creates a server with its own folder that writes nothing to disk. The caller sets the port.
fn server(place: &Place, program: &str, name: &str) -> Result<Command> {
    let folder = place.subfolder(name)?;
    // Tests use DEBUG SLEEP to make a server hang.
    let words = format!("{program} --bind 127.0.0.1 --appendonly no --enable-debug-command local");
    let mut redis = place.program(&words)?;
    redis.args(["--save", "", "--dir"]).arg(place.seen(&folder));
    Ok(redis)
}

/// Starts it on a free port and waits until it answers.
fn start(place: &Place, name: &str, mut redis: Command) -> Result<(u16, Server)> {
    let port = free_port()?;
    redis.args(["--port", &port.to_string()]);
    let mut process = place.spawn(name, redis)?;
    process.ready(|| expect(&ask(port, "PING")?, "PONG"))?;
    Ok((port, process))
}

/// Sends one line to a server of this machine and returns the reply: an inline command of Redis, or
/// memcached's text protocol.
pub(super) fn ask(port: u16, line: &str) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    reply(&mut BufReader::new(stream)).map_err(|error| format!("`{line}`: {error}").into())
}

/// Reads a line, or the text whose length a line announces.
fn reply(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end().to_owned();
    if let Some(length) = line.strip_prefix('$') {
        let mut text = vec![0; length.parse()?];
        stream.read_exact(&mut text)?;
        return Ok(String::from_utf8_lossy(&text).into_owned());
    }
    if line.is_empty() || line.starts_with('-') {
        return Err(if line.is_empty() { "no answer".into() } else { line.into() });
    }
    Ok(line)
}

pub(super) fn expect(answer: &str, part: &str) -> Result {
    if answer.contains(part) {
        return Ok(());
    }
    Err(format!("no `{part}` in its answer `{}`", answer.trim()).into())
}

fn addresses(ports: &[u16]) -> String {
    ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn replies_are_read() {
        let read = |text: &str| reply(&mut text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(read("+PONG\r\n").unwrap(), "+PONG");
        assert_eq!(read("VERSION 1.6.18\r\n").unwrap(), "VERSION 1.6.18");
        assert_eq!(read("$5\r\na\r\nb!\r\n").unwrap(), "a\r\nb!");
        assert_eq!(read("-LOADING wait\r\n").unwrap_err(), "-LOADING wait");
        assert_eq!(read("").unwrap_err(), "no answer");
        assert!(read("$9\r\nshort").is_err());
    }
}
