//! Redis: alone, with TLS and an ACL, as a cluster, under sentinels.

use super::certificates::Certificates;
use super::place::{Place, Server, free_port};
use super::wire::ask;
use crate::{Result, command};
use std::fs;
use std::process::Command;

const MASTER: &str = "mymaster";
const PASSWORD: &str = "s3cret";
const SLOTS: usize = 16_384;

/// One server over TCP and a Unix socket, without a password.
pub(crate) fn plain(place: &Place) -> Result<Vec<String>> {
    let socket = place.folder.join("redis.sock");
    let mut redis = server(place, "redis-server", "redis")?;
    redis.arg("--unixsocket").arg(&socket).args(["--unixsocketperm", "700"]);
    let (port, _) = start(place, "redis", redis)?;
    Ok(vec![format!("redis://127.0.0.1:{port}"), socket.display().to_string()])
}

/// Valkey, over TCP without a password.
pub(crate) fn valkey(place: &Place) -> Result<Vec<String>> {
    let (port, _) = start(place, "valkey", server(place, "valkey-server", "valkey")?)?;
    Ok(vec![format!("valkey://127.0.0.1:{port}")])
}

/// TLS with a certificate authority of our own and one user, `app`; a second server that insists on
/// a client certificate.
pub(crate) fn tls(place: &Place) -> Result<Vec<String>> {
    let certificates = Certificates::make(&place.folder)?;
    let mut values = Vec::new();
    // "optional": a client may come without a certificate, but not with a wrong one.
    for (name, clients) in [("redis-tls", "optional"), ("redis-mtls", "yes")] {
        let port = free_port()?;
        let mut redis = server(place, "redis-server", name)?;
        redis.args(["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", clients]);
        redis.arg("--tls-ca-cert-file").arg(&certificates.authority);
        redis.arg("--tls-cert-file").arg(&certificates.server.certificate);
        redis.arg("--tls-key-file").arg(&certificates.server.key);
        redis.args([
            "--user",
            "default",
            "off",
            "--user",
            "app",
            "on",
            &format!(">{PASSWORD}"),
            "~*",
            "&*",
            "+@all",
        ]);
        place.spawn(name, &redis)?.ready(|| {
            let mut client = command::program("redis-cli")?;
            client.args([
                "--tls",
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "--user",
                "app",
                "--pass",
                PASSWORD,
            ]);
            client
                .arg("--cacert")
                .arg(&certificates.authority)
                .arg("--cert")
                .arg(&certificates.client.certificate);
            client.arg("--key").arg(&certificates.client.key).args(["--no-auth-warning", "ping"]);
            expect(&command::read(&mut client)?, "PONG")
        })?;
        values.push(format!("rediss://app:{PASSWORD}@127.0.0.1:{port}"));
    }
    let files =
        [&certificates.authority, &certificates.client.certificate, &certificates.client.key];
    values.extend(files.map(|file| file.display().to_string()));
    Ok(values)
}

/// Three masters that share the slots.
pub(crate) fn cluster(place: &Place) -> Result<Vec<String>> {
    let mut nodes: Vec<(u16, u16, Server)> = Vec::new();
    for number in 1..=3 {
        let name = format!("node-{number}");
        let bus = free_port()?;
        let mut redis = server(place, "redis-server", &name)?;
        redis.args(["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]);
        redis.args(["--cluster-node-timeout", "2000", "--cluster-port", &bus.to_string()]);
        let (port, node) = start(place, &name, redis)?;
        nodes.push((port, bus, node));
    }
    for (index, (port, _, _)) in nodes.iter().enumerate() {
        let (first, end) = (SLOTS * index / 3, SLOTS * (index + 1) / 3);
        ask(*port, &format!("CLUSTER ADDSLOTSRANGE {first} {}", end - 1))?;
        // Without epochs of their own the nodes would have to settle who is newer.
        ask(*port, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1))?;
    }
    let ports: Vec<u16> = nodes.iter().map(|(port, _, _)| *port).collect();
    for (port, bus, _) in &nodes[1..] {
        ask(ports[0], &format!("CLUSTER MEET 127.0.0.1 {port} {bus}"))?;
    }
    for (port, _, node) in &mut nodes {
        node.ready(|| {
            expect(&ask(*port, "CLUSTER INFO")?, "cluster_state:ok")?;
            // Each node knows all others and, from them, its own address.
            let known = ask(*port, "CLUSTER NODES")?;
            ports.iter().try_for_each(|port| expect(&known, &format!(" 127.0.0.1:{port}@")))
        })?;
    }
    Ok(vec![format!("redis+cluster://{}", addresses(&ports))])
}

/// A master, its replica and three sentinels who notice within a second that the master is gone.
pub(crate) fn sentinel(place: &Place) -> Result<Vec<String>> {
    let mut master = server(place, "redis-server", "master")?;
    // A replica that asks for a copy is served at once, not after waiting for others.
    master.args(["--repl-diskless-sync-delay", "0"]);
    let (master, _) = start(place, "master", master)?;
    let mut replica = server(place, "redis-server", "replica")?;
    replica.args([
        "--replicaof",
        "127.0.0.1",
        &master.to_string(),
        "--repl-diskless-sync-delay",
        "0",
    ]);
    let (replica, mut process) = start(place, "replica", replica)?;
    // A sentinel that looks before the replica is there looks again ten seconds later.
    process.ready(|| expect(&ask(replica, "INFO replication")?, "master_link_status:up"))?;

    let mut sentinels = Vec::new();
    for number in 1..=3 {
        let (name, port) = (format!("sentinel-{number}"), free_port()?);
        let folder = place.subfolder(&name)?;
        let file = folder.join("sentinel.conf");
        fs::write(
            &file,
            format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 3000\n",
                folder.display()
            ),
        )?;
        let mut redis = command::program("redis-server")?;
        redis.arg(&file).arg("--sentinel");
        sentinels.push((port, place.spawn(&name, &redis)?));
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

/// A server with a folder of its own that keeps nothing on disk; the port is the caller's business.
fn server(place: &Place, program: &str, name: &str) -> Result<Command> {
    let folder = place.subfolder(name)?;
    let mut redis = place.program(program)?;
    redis.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    // DEBUG SLEEP is how a test makes a server hang.
    redis.args(["--enable-debug-command", "local", "--dir"]).arg(place.seen(&folder));
    Ok(redis)
}

/// Starts it on a free port and waits until it answers.
fn start(place: &Place, name: &str, mut redis: Command) -> Result<(u16, Server)> {
    let port = free_port()?;
    redis.args(["--port", &port.to_string()]);
    let mut process = place.spawn(name, &redis)?;
    process.ready(|| expect(&ask(port, "PING")?, "PONG"))?;
    Ok((port, process))
}

fn expect(answer: &str, part: &str) -> Result {
    if answer.contains(part) {
        Ok(())
    } else {
        Err(format!("no `{part}` in its answer `{}`", answer.trim()).into())
    }
}

fn addresses(ports: &[u16]) -> String {
    ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
}
