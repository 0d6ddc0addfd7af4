//! Servers newer than the machine's: packages of another Debian suite, unpacked into a folder.
//! Their programs run with that folder as their root, so the machine is not changed.

use crate::{Result, command, install};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The only user in a tree, by number, because a tree and the machine share no list of users.
pub(super) const USER: &str = "65534";

/// Packages of a suite, with one program of each server.
pub(super) struct Tree {
    suite: &'static str,
    packages: &'static [&'static str],
    programs: &'static [&'static str],
}

/// Debian's stable suite of 2025.
pub(super) const TRIXIE: Tree = Tree {
    suite: "trixie",
    // PostgreSQL's initdb needs a shell. base-files has the links to the loader.
    packages: &["base-files", "dash", "pgbouncer", "postgresql-17", "valkey-server"],
    programs: &[
        "usr/bin/sh",
        "usr/bin/valkey-server",
        "usr/lib/postgresql/17/bin/psql",
        "usr/sbin/pgbouncer",
    ],
};

/// Debian's unstable suite, the only one with MySQL.
pub(super) const SID: Tree = Tree {
    suite: "sid",
    packages: &["base-files", "mysql-client-core", "mysql-server-core"],
    programs: &["usr/bin/mysql", "usr/sbin/mysqld"],
};

impl Tree {
    /// Returns whether it is in the cache.
    pub(super) fn is_there(&self) -> bool {
        install::in_cache(&self.name(), self.programs)
    }

    /// Returns the tree's folder. Unpacks it first if it is not in the cache yet.
    pub(super) fn install(&self) -> Result<PathBuf> {
        if !install::can_install() {
            return Err("root on Debian".into());
        }
        install::cached(&self.name(), self.programs, |folder| {
            // The packages are unpacked but not configured, so none of their scripts runs. An
            // unstable suite's list may have expired.
            let mut unpack = command::program("mmdebstrap --quiet --variant=extract")?;
            unpack.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
            unpack.arg(format!("--include={}", self.packages.join(","))).arg(self.suite);
            command::read(unpack.arg(folder).arg(install::archive()?))?;
            // Servers look up their own user.
            let users = format!("nobody:x:{USER}:{USER}::/tmp:/bin/sh\n");
            Ok(fs::write(folder.join("etc/passwd"), users)?)
        })
    }

    fn name(&self) -> String {
        format!("debian-{}-{}", self.suite, self.packages.join("-"))
    }
}

/// Creates a command for a program in a tree, from words separated by spaces.
pub(super) fn program(tree: &Path, words: &str) -> Result<Command> {
    let mut words = words.split_whitespace();
    let name = words.next().unwrap_or_default();
    let found = command::find_under(tree, name)
        .ok_or_else(|| format!("{name} is not in {}", tree.display()))?;
    let mut enter = command::program(&format!("chroot --userspec=+{USER}:+{USER} --groups="))?;
    enter.arg(tree).arg(Path::new("/").join(found.strip_prefix(tree)?)).args(words);
    Ok(enter)
}
