#![doc = include_str!("../README.md")]

// In every backend.
mod error;
mod store;
mod url;

// In this one.
mod bucket;
mod examine;
mod markup;
mod official_api;
mod signature;
mod xml_api;

pub use store::GcsStore;
pub use url::DRIVER;

/// The client library, in the version that [`GcsStore::new`] takes clients of.
pub use google_cloud_storage;
