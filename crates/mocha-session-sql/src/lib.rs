#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// In every backend.
#[cfg(feature = "_engine")]
mod error;
#[cfg(feature = "_engine")]
mod store;
#[cfg(feature = "_engine")]
mod url;

// In this one.
#[cfg(feature = "_engine")]
mod connections;
mod dialect;
#[cfg(feature = "_engine")]
mod engine;
#[cfg(feature = "_engine")]
mod examine;
#[cfg(feature = "_engine")]
mod limits;
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

pub use dialect::{Dialect, Table, schema_sql};
#[cfg(feature = "_engine")]
pub use open::{SqlOptions, SqlPool};
#[cfg(feature = "_engine")]
pub use store::SqlStore;
#[cfg(feature = "_engine")]
pub use url::DRIVER;

/// The client library, in the version that a pool of your own must have.
pub use sqlx;
