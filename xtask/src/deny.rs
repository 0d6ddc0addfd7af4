//! `cargo deny`: licences, sources and advisories of the dependencies (rules in deny.toml).

use crate::metadata::Workspace;
use crate::{Result, command};
use std::path::PathBuf;
use std::process::Command;

/// What we install when no cargo-deny is on the path.
const VERSION: &str = "0.20.2";

/// Checks what needs no network, then advisories where their database can be fetched.
pub(crate) fn run() -> Result {
    let tool = tool()?;
    let deny = |words: &[&str]| {
        let mut command = Command::new(&tool);
        command.arg("--workspace").args(words).current_dir(command::root());
        command
    };
    command::run(&mut deny(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    // The database is a git repository, which a closed network doesn't reach; what was fetched once still serves.
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

/// cargo-deny from the path, or our own copy under target/, built once.
fn tool() -> Result<PathBuf> {
    if let Some(found) = command::find("cargo-deny") {
        return Ok(found);
    }
    let folder = Workspace::read()?.target.join("tools");
    let installed = folder.join("bin/cargo-deny");
    if !installed.is_file() {
        println!("cargo-deny is not on the path: building {VERSION} into {}", folder.display());
        // Without optimisation it builds in a third of the time and checks this workspace in seconds all the same.
        let args =
            ["install", "cargo-deny", "--locked", "--debug", "--quiet", "--version", VERSION, "--root"];
        command::run(command::cargo(&args).arg(&folder))?;
    }
    Ok(installed)
}
