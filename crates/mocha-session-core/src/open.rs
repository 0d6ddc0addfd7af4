//! From a URL to a store: the URL and its options, credentials, drivers, the registry, storage.
//!
//! Each backend interprets its own options. Nothing in this folder opens a connection.

pub(crate) mod credentials;
mod host;
mod near;
pub(crate) mod registry;
pub(crate) mod settings;
pub(crate) mod storage;
pub(crate) mod url;

pub use credentials::{CredentialSource, Credentials};
pub use near::NearPolicy;
pub use registry::{Driver, Examining, Opening, Registry};
pub use storage::Storage;
pub use url::{Host, StoreUrl};
