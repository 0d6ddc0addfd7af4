//! What a figure depends on beside the code: the machine, the compiler, the versions of servers and
//! libraries.

use super::Result;
use super::subjects::{Engine, SERVERS};
use mocha_session_servers::command;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

const OURS: &str = "axum redis sqlx libsqlite3-sys";
/// Packages whose versions belong to the figures of the peers.
const PEERS: &str = "tower-sessions tower-sessions-redis-store tower-sessions-sqlx-store \
    axum_session axum_session_redispool actix-session actix-web";
const UNDER_PEERS: &str = "axum fred redis sqlx libsqlite3-sys";

/// Names and values, in the order in which they are shown.
pub(crate) fn facts(with_peers: bool, engines: &[Engine]) -> Vec<(&'static str, String)> {
    let unknown = |_| "unknown".to_owned();
    let mut facts = vec![
        ("machine", processor()),
        ("rustc", rustc().unwrap_or_else(unknown)),
        ("glibc", glibc().unwrap_or_else(unknown)),
    ];
    for (engine, program) in [("redis", "redis-server"), ("postgres", "postgres")] {
        let version = command::program(program).and_then(|mut it| command::version(&mut it));
        facts.extend(version.ok().filter(|_| engines.contains(&engine)).map(|it| (engine, it)));
    }
    if SERVERS.iter().any(|(engine, _)| engines.contains(engine)) {
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
