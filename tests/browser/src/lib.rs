//! The example applications in a real browser: Chromium, over TLS, under the names of two sites.
//!
//! A [`Stage`](stage::Stage) is one application as a process of its own, the TLS in front of it,
//! and the browsers that a test opens. [`situations`] has what is shown, one function each;
//! [`scenario`] is a whole visit. They run over each framework.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "tests, and what they share"
)]

pub mod browser;
pub mod front;
pub mod scenario;
pub mod situations;
pub mod stage;
