#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// In every backend.
mod error;
mod examine;
mod store;
mod url;

// In this one.
mod bucket;

pub use store::S3Store;
pub use url::DRIVER;

/// The client library, in the version that [`S3Store::new`] takes a client of.
pub use aws_sdk_s3;
