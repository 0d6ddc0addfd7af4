#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// In every backend.
mod error;
mod examine;
mod store;
mod url;

// In this one.
mod cluster;
mod connection;
mod dial;
mod open_connection;
mod reconnecting;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod tracking;

pub use connection::Connection;
pub use store::RedisStore;
pub use url::DRIVER;

/// The client library, in the version that [`RedisStore::new`] takes clients and connections of.
pub use redis;
