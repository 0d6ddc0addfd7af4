//! What crosses crates: every engine under every framework.
//!
//! [`engines`] says which engines there are and how to open them, [`frameworks`] serves one
//! application under each web framework, [`http`] holds what every pair of them must do,
//! [`sessions`] what every engine must do without a framework, [`faults`] how a session fares when
//! its engine fails, [`secrecy`] what operators are told. The tables in `tests/` multiply them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    clippy::print_stderr,
    reason = "tests, kept in a library so that each table can use them"
)]

pub mod browser;
pub mod engines;
pub mod faults;
pub mod frameworks;
pub mod http;
pub mod secrecy;
pub mod sessions;
