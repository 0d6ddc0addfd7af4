//! `cargo deny`: licences, sources and advisories of the dependencies (rules in deny.toml).

use crate::install::CARGO_DENY;
use crate::{Result, command};
use std::process::Command;

/// Checks what needs no network, then advisories where their database can be fetched.
pub(crate) fn run() -> Result {
    let tool = command::find("cargo-deny").map_or_else(|| CARGO_DENY.program(), Ok)?;
    let deny = |words: &[&str]| {
        let mut command = Command::new(&tool);
        command.arg("--workspace").args(words).current_dir(command::root());
        command
    };
    command::run(&mut deny(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    // The database is a git repository, which a closed network doesn't reach; what was fetched once
    // still serves.
    match command::read(&mut deny(&["fetch", "db"])) {
        Ok(_) => command::run(&mut deny(&["check", "advisories"])),
        Err(error) => {
            let text = error.to_string();
            let why = text.lines().rev().find(|line| line.starts_with("fatal:")).unwrap_or(&text);
            println!("NOT CHECKED: advisories, for their database could not be fetched: {why}");
            Ok(())
        }
    }
}
