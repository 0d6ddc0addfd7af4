//! The servers for tests and the benchmark, as private processes on free ports of the loopback.
//! They are always stopped, however their owner ends.
//!
//! A *guard*, a second process of this program, leads the process group of all servers. It waits
//! until its owner ends or requests the stop. Then it stops the group and removes its data. A
//! record under `target/services` names the group, so that `services down` and the next run can
//! stop the servers even if the guard was killed. `linux/table.rs` lists the servers.
//!
//! The crate also contains code that `cargo xtask` and the benchmark share: running programs
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

/// Other systems cannot start servers, and the tests that need one do not run.
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;

pub use system::{Servers, guard, services};

/// A result whose error is a sentence for a person.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Returns whether this is an unattended run, in which a test that cannot run is an error.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty())
}
