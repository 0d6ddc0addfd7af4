//! `cargo xtask bench`: what a session costs, in this library and beside others.
//!
//! Subjects run in processes of their own, the workers of this crate and of tests/bench-peers; see
//! there for what they do. This program starts servers and workers, has subjects measured in turn,
//! and shows what came of it.
//!
//! Tools that count instructions (`gungraun`) compare a run with an earlier one under target/,
//! which a fresh machine has not, and measure a function that is linked into them; here the figures
//! are in a file of the repository, and the same workers are counted that times are taken of. Tools
//! that take times (`criterion`, `divan`) measure one function in one process after the other; here
//! the rounds of several libraries, which cannot share a process, are taken in turn, so that their
//! ratio does not depend on what else the machine does.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to whoever runs it"
)]

#[cfg(target_os = "linux")]
mod linux;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let done = mocha_session_servers::guard().unwrap_or_else(linux::run);
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("error: the benchmark needs Linux: it reads processor times from /proc");
    ExitCode::FAILURE
}
