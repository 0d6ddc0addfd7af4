#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bucket;
mod error;
mod store;
mod url;

pub use store::S3Store;
pub use url::DRIVER;

/// The client library, in the version that [`S3Store::new`] takes a client of.
pub use aws_sdk_s3;

const ENGINE: &str = "s3";
