#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "metrics")]
pub mod metrics;
mod registry;

pub use mocha_session_core::{
    Capabilities, Clock, CookiePolicy, CrossOrigin, CrossOriginProtection, Detached,
    DetachedSession, Driver, Durability, Environment, Error, ErrorKind, FailurePolicy,
    HeaderChanges, HeaderLines, HeaderSink, Host, Key, KeyFor, KeyName, Level, MAX_COOKIE_BYTES,
    ManualClock, Message, Migrating, MoveOutcome, MovedPage, NearPolicy, OldSessions, OwnedSession,
    RecordInfo, RecordKind, RequestHeaders, RequestInfo, Requirement, Result, SameSite, Secrets,
    SessionData, SessionHandle, SessionManager, SessionManagerBuilder, SessionToken, Storage,
    StoreUrl, SweepTotal, Sweeper, SystemClock, Transport, WhenFull, backend, observe, store,
};
pub use registry::{Registry, builder_from_env, open, open_from_env, open_with};

// Each crate as a module, with its README and its documentation.

/// The session itself, for programs without a framework.
///
/// The types that handlers use (`Session`, `LazySession`, `Flash`) are not at the root of this
/// crate, because each framework has types of its own with these names: see the module `axum`.
#[doc(inline)]
pub use mocha_session_core as core;
#[cfg(feature = "gcs")]
#[doc(inline)]
pub use mocha_session_gcs as gcs;
#[cfg(feature = "memcache")]
#[doc(inline)]
pub use mocha_session_memcache as memcache;
#[cfg(feature = "memory")]
#[doc(inline)]
pub use mocha_session_memory as memory;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use mocha_session_redis as redis;
#[cfg(feature = "s3")]
#[doc(inline)]
pub use mocha_session_s3 as s3;
#[cfg(any(
    feature = "postgres",
    feature = "mysql",
    feature = "sqlite",
    feature = "sqlite-unbundled"
))]
#[doc(inline)]
pub use mocha_session_sql as sql;
#[cfg(feature = "tower")]
#[doc(inline)]
pub use mocha_session_tower as tower;

/// The types for an axum application: the layer, the extractors, and an error that is a response.
///
/// | type | as an argument or result of a handler |
/// |---|---|
/// | [`Session`](axum::Session) | the session, loaded; `Option<Session>` is `None` if the client has no live session |
/// | [`LazySession`](axum::LazySession) | the session, not loaded yet: it costs nothing until it is loaded |
/// | [`Flash`](axum::Flash) | flash messages and data |
/// | [`Error`](axum::Error) | the error of a handler: `?` converts this crate's [`Error`] to it |
/// | [`SessionLayer`](axum::SessionLayer) | the layer, for `Router::layer` |
///
/// A handler that returns this crate's [`Error`] does not compile as an axum handler ("`Handler` is
/// not satisfied"). Return [`axum::Error`].
///
/// ```
/// use axum::{Router, routing::get};
/// use mocha_session::axum::{Error, Session, SessionLayer};
/// use mocha_session::SessionManager;
///
/// async fn visits(session: Session) -> Result<String, Error> {
///     let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
///     Ok(format!("{visits} visits"))
/// }
///
/// let manager = SessionManager::in_memory()?;
/// let app: Router = Router::new().route("/", get(visits)).layer(SessionLayer::new(manager));
/// # Ok::<(), mocha_session::Error>(())
/// ```
#[cfg(feature = "axum")]
pub mod axum {
    pub use mocha_session_tower::{
        CrossOriginLayer, Error, Flash, LazySession, Session, SessionLayer,
    };
}

/// Sessions for actix-web: the middleware, the extractors, and an error that is a response.
#[cfg(feature = "actix")]
#[doc(inline)]
pub use mocha_session_actix as actix;
