#![doc = include_str!("../README.md")]

mod budget;
mod builder;
mod driver;
mod shard;
mod store;

pub use builder::{MemoryStoreBuilder, WhenFull};
pub use driver::DRIVER;
pub use store::MemoryStore;
