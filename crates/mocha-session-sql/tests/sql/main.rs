//! What the conformance suite does not ask: opening, tables and schemas, isolation levels, full disks, other processes.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod opening;
mod refusals;
mod rows;
mod sweeping;
