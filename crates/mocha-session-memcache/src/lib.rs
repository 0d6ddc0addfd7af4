#![doc = include_str!("../README.md")]

mod address;
mod error;
mod peer;
mod server;
mod store;
mod url;

#[cfg(test)]
extern crate self as mocha_session_memcache;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use store::MemcacheStore;
pub use url::DRIVER;
