//! The servers that tests and the benchmark run on, as private processes on free ports of the
//! loopback. Nothing of them is left behind, however their owner ends.
//!
//! A *guard*, this program started once more, leads the process group that all servers are in. It
//! waits until its owner ends or says so, then stops the group and removes its data. A record under
//! `target/services` names the group, so that `services down` and the next run can stop what even
//! a killed guard has left. `linux/table.rs` lists the servers.
//!
//! Beside them is what `cargo xtask` and the benchmark need as well: running programs
//! ([`command`]) and installing them ([`install`]).
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to whoever runs it"
)]
#![cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "what only servers need"))]
#![allow(clippy::missing_errors_doc, reason = "an error is the sentence that it says")]

pub mod command;
pub mod install;

/// On other systems nothing can be started, and the tests that need a server do not run.
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;

pub use system::{Servers, guard, services};

/// The result of what fails with a sentence, which a person reads.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Whether this is a run that nobody watches: what cannot run is an error there.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty())
}
