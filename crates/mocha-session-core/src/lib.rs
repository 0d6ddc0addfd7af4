#![doc = include_str!("../README.md")]

mod cookie;
mod crypto;
mod error;
mod registry;
mod secret;
mod storage;
pub mod store;
mod time;
mod url;

pub use error::{Error, ErrorKind, Result};
pub use registry::{BoxFuture, Driver, Opening, Registry};
pub use secret::Secrets;
pub use storage::Storage;
pub use time::{Clock, ManualClock, SystemClock};
pub use url::{Host, StoreUrl};
