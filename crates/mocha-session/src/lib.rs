#![doc = include_str!("../../../README.md")]

mod registry;

pub use mocha_session_core::{
    Capabilities, Clock, CookieHeaders, CookiePolicy, CrossOrigin, CrossOriginProtection, Detached,
    DetachedSession, Driver, Durability, Error, ErrorKind, FailurePolicy, HeaderChanges, HeaderSink, Host,
    Key, KeyFor, KeyName, Level, MAX_COOKIE_BYTES, ManualClock, Message, Migrating, OwnedSession,
    RequestInfo, Requirement, Result, SameSite, Secrets, SessionData, SessionHandle, SessionManager,
    SessionManagerBuilder, Storage, StoreUrl, SweepTotal, Sweeper, SystemClock, store,
};
pub use registry::{Registry, open, open_from_env, open_with};

/// The sessions themselves, for programs without a framework. Frameworks have extractors of the same names, which is why
/// these are not at the root.
pub mod core {
    pub use mocha_session_core::*;
}

/// Sessions in this process's memory.
#[cfg(feature = "memory")]
pub mod memory {
    pub use mocha_session_memory::*;
}

/// Sessions in Redis or Valkey.
#[cfg(feature = "redis")]
pub mod redis {
    pub use mocha_session_redis::*;
}

/// Sessions in memcached.
#[cfg(feature = "memcache")]
pub mod memcache {
    pub use mocha_session_memcache::*;
}

/// Sessions in Amazon S3 or a compatible store.
#[cfg(feature = "s3")]
pub mod s3 {
    pub use mocha_session_s3::*;
}

/// Sessions in Google Cloud Storage.
#[cfg(feature = "gcs")]
pub mod gcs {
    pub use mocha_session_gcs::*;
}

/// Sessions in PostgreSQL, MySQL/MariaDB or SQLite.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite", feature = "sqlite-unbundled"))]
pub mod sql {
    pub use mocha_session_sql::*;
}

/// Sessions for tower services.
#[cfg(feature = "tower")]
pub mod tower {
    pub use mocha_session_tower::*;
}

/// Sessions for axum handlers: the layer, the extractors, and an error that is a response.
#[cfg(feature = "axum")]
pub mod axum {
    pub use mocha_session_tower::{CrossOriginLayer, Error, Flash, LazySession, Session, SessionLayer};
}

/// Sessions for actix-web: the middleware, the extractors, and an error that is a response.
#[cfg(feature = "actix")]
pub mod actix {
    pub use mocha_session_actix::*;
}
