#![doc = include_str!("../README.md")]

mod error;
mod markup;
mod official;
mod signature;
mod store;
mod url;
mod xml;

pub use store::GcsStore;
pub use url::DRIVER;

/// The client library, in the version that [`GcsStore::new`] takes clients of.
pub use google_cloud_storage;

const ENGINE: &str = "gcs";
