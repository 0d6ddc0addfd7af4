//! Servers newer than the machine's: packages of another suite of Debian, unpacked into a folder.
//! Their programs run with that folder as their root, so nothing of the machine changes.

use crate::{Result, command, install};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The one user in a tree, by number: no tree has a list of users that the machine shares.
pub(super) const USER: &str = "65534";

/// Packages of a suite, and one program of each server among them.
pub(super) struct Tree {
    suite: &'static str,
    packages: &'static [&'static str],
    programs: &'static [&'static str],
}

/// Debian's stable suite of 2025.
pub(super) const TRIXIE: Tree = Tree {
    suite: "trixie",
    // PostgreSQL's initdb needs a shell; base-files has the links that lead to the loader.
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
    /// Whether it is in the cache.
    pub(super) fn is_there(&self) -> bool {
        install::in_cache(&self.name(), self.programs)
    }

    /// The tree's folder, after unpacking it where it is not in the cache yet.
    pub(super) fn install(&self) -> Result<PathBuf> {
        if !install::can_install() {
            return Err("root on Debian".into());
        }
        install::cached(&self.name(), self.programs, |folder| {
            // Unpacked and not configured: no script of a package runs. An unstable suite's list
            // may be past its date.
            let mut unpack = command::program("mmdebstrap --quiet --variant=extract")?;
            unpack.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
            unpack.arg(format!("--include={}", self.packages.join(","))).arg(self.suite);
            command::read(unpack.arg(folder).arg(install::archive()?))?;
            // Servers ask who they are.
            let users = format!("nobody:x:{USER}:{USER}::/tmp:/bin/sh\n");
            Ok(fs::write(folder.join("etc/passwd"), users)?)
        })
    }

    fn name(&self) -> String {
        format!("debian-{}-{}", self.suite, self.packages.join("-"))
    }
}

/// A command, its words separated by spaces, for a program in a tree.
pub(super) fn program(tree: &Path, words: &str) -> Result<Command> {
    let mut words = words.split_whitespace();
    let name = words.next().unwrap_or_default();
    let found = command::find_under(tree, name)
        .ok_or_else(|| format!("{name} is not in {}", tree.display()))?;
    let mut enter = command::program(&format!("chroot --userspec=+{USER}:+{USER} --groups="))?;
    enter.arg(tree).arg(Path::new("/").join(found.strip_prefix(tree)?)).args(words);
    Ok(enter)
}
