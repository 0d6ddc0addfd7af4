#![doc = include_str!("../README.md")]

mod dialect;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod driver;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod error;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod lane;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod loan;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod opening;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod options;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod pool;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod store;

/// The client library, so that a pool of your own is of the version this crate was built with.
pub use sqlx;

pub use dialect::{Dialect, Table, schema_sql};
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use driver::DRIVER;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use store::{SqlOptions, SqlStore};
