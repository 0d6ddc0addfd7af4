//! What the fuzzer feeds: one function per target, which takes any bytes and panics when a promise
//! is broken.
//!
//! `tests/fuzz` runs them under libFuzzer (`cargo xtask fuzz`); the test of this crate runs every
//! file of `corpus/` through its target.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is how a target reports what it found"
)]

mod client;
mod cookies;
mod listings;
mod records;
mod sessions;
mod store;
mod tokens;
mod urls;
mod values;

use std::cell::OnceCell;

use tokio::runtime::{Builder, Runtime};

/// Takes any bytes; panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("client", client::run),
    ("cookies", cookies::run),
    ("listings", listings::run),
    ("records", records::run),
    ("sessions", sessions::run),
    ("tokens", tokens::run),
    ("urls", urls::run),
    ("values", values::run),
];

/// Runs one target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(own, _)| *own == name);
    target.expect("no target of this name").1(bytes);
}

/// Runs a future on this thread. Time is paused, so that what waits for a deadline does not wait.
fn block_on<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        let built =
            || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.get_or_init(built).block_on(future)
    })
}
