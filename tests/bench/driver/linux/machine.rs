//! What a figure depends on beside the code: the machine, the compiler, the versions of servers and
//! libraries.

use super::Result;
use super::lab::Lab;
use super::subjects::{Engine, FAR, SERVERS};
use mocha_session_servers::command;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

const OURS: &str = "axum actix-web redis sqlx libsqlite3-sys";
/// Packages whose versions belong to the figures of the peers.
const PEERS: &str = "tower-sessions tower-sessions-redis-store tower-sessions-sqlx-store \
    axum_session axum_session_redispool actix-session actix-web";
const UNDER_PEERS: &str = "axum fred redis sqlx libsqlite3-sys";

/// Names and values, in the order in which they are shown.
pub(crate) fn facts(with_peers: bool, lab: &Lab) -> Vec<(&'static str, String)> {
    let unknown = |_| "unknown".to_owned();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut facts = vec![
        ("command", format!("cargo xtask bench {}", words.join(" "))),
        ("time", time().unwrap_or_else(unknown)),
        ("machine", processor()),
        ("rustc", rustc().unwrap_or_else(unknown)),
        ("glibc", glibc().unwrap_or_else(unknown)),
    ];
    for (engine, _) in SERVERS {
        let version = lab.server(engine).map(|server| server_version(engine, server.port));
        facts.extend(version.map(|version| (engine, version.unwrap_or_else(unknown))));
    }
    if facts.iter().any(|(name, _)| SERVERS.iter().any(|(engine, _)| engine == name)) {
        let how =
            "on the same cores as their clients; PostgreSQL does not wait for the disk (fsync=off)";
        facts.push(("servers run", how.to_owned()));
    }
    facts.push(("ours with", locked("Cargo.lock", OURS)));
    if with_peers {
        facts.push(("peers", locked("tests/bench-peers/Cargo.lock", PEERS)));
        facts.push(("peers with", locked("tests/bench-peers/Cargo.lock", UNDER_PEERS)));
    }
    facts
}

/// The version of a server that was started. Redis and Valkey say it themselves, because Valkey's
/// program is not on the path.
fn server_version(engine: Engine, port: u16) -> Result<String> {
    match engine {
        FAR => Ok("moto, a test double; its answers come 20 ms later".to_owned()),
        "postgres" => command::version(&mut command::program("postgres")?),
        _ => {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.write_all(b"INFO server\r\nQUIT\r\n")?;
            let mut says = String::new();
            stream.read_to_string(&mut says)?;
            let line = says.lines().find_map(|it| it.strip_prefix(&format!("{engine}_version:")));
            Ok(line.ok_or("a server without a version")?.to_owned())
        }
    }
}

fn time() -> Result<String> {
    let now = command::read(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?;
    Ok(now.trim().to_owned())
}

/// What the counts depend on: another of these may count differently.
pub(crate) fn tools() -> Result<BTreeMap<String, String>> {
    let valgrind = command::version(&mut command::program("valgrind")?)?;
    let tools = [("rustc", rustc()?), ("glibc", glibc()?), ("valgrind", valgrind)];
    Ok(tools.map(|(name, version)| (name.to_owned(), version)).into())
}

fn rustc() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let says = command::read(Command::new(rustc).arg("--version").current_dir(command::root()))?;
    Ok(says.trim().trim_start_matches("rustc ").to_owned())
}

fn glibc() -> Result<String> {
    let says = command::read(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    Ok(says.trim().trim_start_matches("glibc ").to_owned())
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let name = model.map_or("an unknown processor", |(_, name)| name.trim());
    format!("{name}, {cores} cores")
}

/// Names and versions of these packages in a lock file.
fn locked(file: &str, names: &str) -> String {
    let lock = fs::read_to_string(command::root().join(file)).unwrap_or_default();
    let found = names.split(' ').filter_map(|name| {
        let versions = versions(&lock, name).join(" and ");
        (!versions.is_empty()).then(|| format!("{name} {versions}"))
    });
    found.collect::<Vec<_>>().join(", ")
}

/// The versions of a package in the text of a lock file.
fn versions<'a>(lock: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("name = \"{name}\"\nversion = \"");
    let entries = lock.split(begin.as_str()).skip(1);
    entries.filter_map(|rest| rest.split('"').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_a_lock_file() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n\n[[package]]\nname = \"a-b\"\nversion = \"4.0.0\"\n\n\
                    [[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
        assert_eq!(versions(lock, "a"), ["1.2.3", "2.0.0"]);
        assert_eq!(versions(lock, "b"), Vec::<&str>::new());
    }
}
