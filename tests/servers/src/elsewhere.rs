//! What stands in for the servers on systems other than Linux: the sentence that there are none.

use crate::Result;

const SAYS: &str = "servers for tests are started on Linux only, where /proc names their \
    processes. Run this in a Debian container, or set the variables of \
    tests/servers/src/linux/table.rs to servers of your own";

/// No servers.
#[derive(Debug)]
pub struct Servers(());

/// Nothing is ever started here, so nothing has to be guarded.
pub fn guard() -> Option<Result> {
    None
}

/// Says that it cannot be done.
pub fn services(_: &str) -> Result {
    Err(SAYS.into())
}

impl Servers {
    /// None, and a sentence that says so; an error in CI.
    pub fn for_tests() -> Result<Self> {
        if crate::in_ci() {
            return Err(SAYS.into());
        }
        eprintln!("NOT RUN: tests that need a server: {SAYS}");
        Ok(Self(()))
    }

    /// No variables.
    pub fn variables(&self) -> &[(String, String)] {
        &[]
    }

    /// Nothing to stop.
    pub fn stop(self) -> Result {
        Ok(())
    }
}
