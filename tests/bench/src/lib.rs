//! The harness of `cargo xtask bench`: the same requests, the same data and the same measurements
//! for every library.
//!
//! A *subject* is an application over one library and one engine. Its *visitors* send requests
//! directly to it, without a socket. A worker process holds one subject and reads its orders from
//! standard input, so that rounds of several subjects can be interleaved; see [`worker`]. The
//! program in `driver/` sends the orders.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    reason = "a program that nobody else uses, that had better stop than measure nonsense, and that counts below 2⁵²"
)]

#[cfg(feature = "actix")]
pub mod actix_client;
pub mod axum_client;
pub mod data;
pub mod measure;
pub mod visitor;
pub mod worker;

#[cfg(feature = "ours")]
pub mod ideal;
#[cfg(feature = "ours")]
pub mod ours;
#[cfg(feature = "engines")]
pub mod ours_actix;
#[cfg(feature = "ours")]
pub mod scale;
