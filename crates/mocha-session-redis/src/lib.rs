#![doc = include_str!("../README.md")]

mod cluster;
mod connect;
mod connection;
mod error;
mod link;
mod store;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;

pub use connect::DRIVER;
pub use connection::Connection;
pub use store::RedisStore;
