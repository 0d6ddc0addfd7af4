//! SQL's own: opening, tables and schemas, logins, deadlines, isolation levels, full disks, other
//! processes.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod clocks;
#[path = "../common/mod.rs"]
mod common;
mod logins;
mod opening;
mod refusals;
mod rows;
mod sweeping;
mod tables;
