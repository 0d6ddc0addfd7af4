#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cluster;
mod connection;
mod dial;
mod error;
mod link;
mod session;
mod store;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod url;

pub use connection::Connection;
pub use redis;
pub use store::RedisStore;
pub use url::DRIVER;
