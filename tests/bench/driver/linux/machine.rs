//! What a figure depends on beside the code: the machine, the compiler, the versions of servers and
//! libraries.

use crate::{Result, command};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// Packages whose versions belong to the figures of the peers.
const PEERS: &[&str] = &[
    "tower-sessions",
    "tower-sessions-redis-store",
    "tower-sessions-sqlx-store",
    "axum_session",
    "axum_session_redispool",
    "actix-session",
    "actix-web",
];

/// Names and values, in the order in which they are shown.
pub(crate) fn facts(with_peers: bool, servers: &[&'static str]) -> Vec<(String, String)> {
    let mut facts = vec![
        ("machine".to_owned(), processor()),
        ("rustc".to_owned(), rustc().unwrap_or_else(|_| "unknown".to_owned())),
        ("glibc".to_owned(), glibc().unwrap_or_else(|_| "unknown".to_owned())),
    ];
    for (server, program) in [("redis", "redis-server"), ("postgres", "postgres")] {
        if servers.contains(&server)
            && let Ok(version) =
                command::program(program).and_then(|mut program| command::version(&mut program))
        {
            facts.push((server.to_owned(), version));
        }
    }
    if !servers.is_empty() {
        let how =
            "on the same cores as their clients; PostgreSQL does not wait for the disk (fsync=off)";
        facts.push(("servers run".to_owned(), how.to_owned()));
    }
    let under_ours = locked("Cargo.lock", &["axum", "redis", "sqlx", "libsqlite3-sys"]);
    facts.push(("ours with".to_owned(), under_ours));
    if with_peers {
        facts.push(("peers".to_owned(), locked("tests/bench-peers/Cargo.lock", PEERS)));
        let under = ["axum", "fred", "redis", "sqlx", "libsqlite3-sys"];
        facts.push(("peers with".to_owned(), locked("tests/bench-peers/Cargo.lock", &under)));
    }
    facts
}

/// What the counts depend on: another of these may count differently.
pub(crate) fn tools() -> Result<BTreeMap<String, String>> {
    Ok(BTreeMap::from([
        ("rustc".to_owned(), rustc()?),
        ("glibc".to_owned(), glibc()?),
        ("valgrind".to_owned(), command::version(&mut command::program("valgrind")?)?),
    ]))
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
fn locked(file: &str, names: &[&str]) -> String {
    let lock = fs::read_to_string(command::root().join(file)).unwrap_or_default();
    let found = names.iter().filter_map(|name| {
        let versions = versions(&lock, name);
        (!versions.is_empty()).then(|| format!("{name} {}", versions.join(" and ")))
    });
    found.collect::<Vec<_>>().join(", ")
}

/// The versions of a package in the text of a lock file.
fn versions<'a>(lock: &'a str, name: &str) -> Vec<&'a str> {
    let wanted = format!("name = \"{name}\"");
    let mut lines = lock.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line == wanted {
            let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
            found.extend(version.map(|version| version.trim_end_matches('"')));
        }
    }
    found
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
