//! From a URL to a store: the URL and its options, credentials, drivers, the registry, storage.
//!
//! What an engine does with its options is its backend's; nothing here opens a connection.

pub(crate) mod credentials;
pub(crate) mod registry;
pub(crate) mod settings;
pub(crate) mod storage;
pub(crate) mod url;

pub use credentials::{CredentialSource, Credentials};
pub use registry::{Driver, Opening, Registry};
pub use storage::Storage;
pub use url::{Host, StoreUrl};
