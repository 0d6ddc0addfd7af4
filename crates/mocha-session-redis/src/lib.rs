#![doc = include_str!("../README.md")]

mod cluster;
mod connect;
mod connection;
mod error;
mod store;
mod tls;

pub use connect::DRIVER;
pub use connection::Connection;
pub use store::RedisStore;
