//! `cargo xtask prove`: the simulator, built to be fast.

use crate::{Result, command};

const PACKAGE: &str = "mocha-session-simulator";

/// Builds the simulator and hands it the arguments; its exit code is 1 where a promise was broken.
pub(crate) fn run(args: &[&str]) -> Result {
    let build = ["run", "--quiet", "--release", "--package", PACKAGE, "--"];
    command::run(command::cargo(&build).args(args))
}
