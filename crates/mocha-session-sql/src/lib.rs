#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "_engine")]
mod clocks;
#[cfg(feature = "_engine")]
mod connections;
mod dialect;
#[cfg(feature = "_engine")]
mod engine;
#[cfg(feature = "_engine")]
mod error;
#[cfg(feature = "_engine")]
mod loan;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "_engine")]
mod open;
#[cfg(feature = "_engine")]
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "_sqlite")]
mod sqlite;
#[cfg(feature = "_engine")]
mod store;
#[cfg(feature = "_engine")]
mod url;

/// The client library, so that a pool of your own is of the version this crate was built with.
pub use sqlx;

pub use dialect::{Dialect, Table, schema_sql};
#[cfg(feature = "_engine")]
pub use open::{SqlOptions, SqlPool};
#[cfg(feature = "_engine")]
pub use store::SqlStore;
#[cfg(feature = "_engine")]
pub use url::DRIVER;
