//! What stands in for the servers on systems other than Linux: the sentence that there are none.

use crate::Result;

const SAYS: &str = "servers for tests are started on Linux only: their processes are found in \
    /proc. Run this in a Debian container, or set the variables of tests/servers/src/linux/table.rs \
    to servers of your own";

/// No servers.
#[derive(Debug)]
pub struct Servers(());

/// Nothing is ever started here, so nothing has to be guarded.
pub fn guard() -> Option<Result> {
    None
}

/// Says that it cannot be done.
pub fn up() -> Result {
    Err(SAYS.into())
}

/// Says that it cannot be done.
pub fn down() -> Result {
    Err(SAYS.into())
}

/// Says that it cannot be done.
pub fn env() -> Result {
    Err(SAYS.into())
}

/// Says that it cannot be done.
pub fn status() -> Result {
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

    /// Says that it cannot be done.
    pub fn only(_: &[&str]) -> Result<Self> {
        Err(SAYS.into())
    }

    /// No variables.
    pub fn variables(&self) -> &[(String, String)] {
        &[]
    }

    /// No variable.
    pub fn variable(&self, _: &str) -> Option<&str> {
        None
    }

    /// No process.
    pub fn pid(&self, _: &str) -> Result<Option<u32>> {
        Ok(None)
    }

    /// Nothing to stop.
    pub fn stop(self) -> Result {
        Ok(())
    }
}
