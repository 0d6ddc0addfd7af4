//! The replacement on systems other than Linux: a message that there are no servers.

use crate::Result;

const SAYS: &str = "servers for tests are started on Linux only, where /proc names their \
    processes. Run this in a Debian container, or set the variables of \
    tests/servers/src/linux/table.rs to servers of your own";

/// No servers.
#[derive(Debug)]
pub struct Servers(());

/// Returns `None`, because no server is started here and so there is nothing to guard.
pub fn guard() -> Option<Result> {
    None
}

/// Reports that it is not supported.
pub fn services(_: &str) -> Result {
    Err(SAYS.into())
}

impl Servers {
    /// Returns no servers, and prints a message. In CI it is an error.
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

    /// Does nothing.
    pub fn stop(self) -> Result {
        Ok(())
    }
}
