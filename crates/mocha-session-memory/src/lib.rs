#![doc = include_str!("../README.md")]

// In every backend.
mod error;
mod store;
mod url;

// In this one.
mod budget;
mod builder;
mod shard;

pub use builder::{MemoryStoreBuilder, WhenFull};
pub use store::MemoryStore;
pub use url::DRIVER;
