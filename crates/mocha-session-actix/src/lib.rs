#![doc = include_str!("../README.md")]

mod cross_origin;
mod error;
mod extract;
mod future;
mod headers;
mod middleware;

pub use cross_origin::{CrossOriginMiddleware, CrossOriginService};
pub use error::Error;
pub use extract::{ExistingSession, Flash, LazySession, Session};
pub use future::ResponseFuture;
pub use middleware::{SessionMiddleware, SessionService};
pub use mocha_session_core::CrossOriginProtection;
/// The sessions of a request, in its extensions, for middleware without extractors.
///
/// ```
/// # use mocha_session_actix::Sessions;
/// use actix_web::{HttpMessage as _, dev::ServiceRequest};
///
/// async fn views(request: &ServiceRequest) -> mocha_session_core::Result<Option<u64>> {
///     // `()` is the scope of `SessionMiddleware::new`.
///     let lazy = request.extensions().get().and_then(Sessions::get::<()>).cloned();
///     let Some(lazy) = lazy else { return Ok(None) };
///     lazy.load().await?.get("views")
/// }
/// ```
pub use mocha_session_core::Sessions;
