#![doc = include_str!("../README.md")]

// In every backend.
mod error;
mod examine;
mod store;
mod url;

// In this one.
mod address;
mod handshake;
mod server;

#[cfg(test)]
extern crate self as mocha_session_memcache;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use store::MemcacheStore;
pub use url::DRIVER;
