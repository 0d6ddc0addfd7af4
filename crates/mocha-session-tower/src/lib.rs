#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
mod axum;
mod cross_origin;
mod error;
mod future;
mod headers;
mod layer;

#[cfg(feature = "axum")]
pub use self::axum::{Flash, LazySession, Session};
/// The body of the layer's responses.
pub use axum_core::body::Body;
pub use cross_origin::{CrossOriginLayer, CrossOriginService};
pub use error::Error;
pub use future::ResponseFuture;
pub use layer::{SessionLayer, SessionService};
pub use mocha_session_core::CrossOriginProtection;
/// The sessions of a request, in its extensions, for services without extractors.
///
/// ```
/// # use mocha_session_tower::Sessions;
/// async fn service(request: http::Request<()>) -> mocha_session_core::Result<Option<u64>> {
///     let sessions = request.extensions().get::<Sessions>();
///     // `()` is the scope of `SessionLayer::new`.
///     let Some(lazy) = sessions.and_then(|sessions| sessions.get::<()>()) else { return Ok(None) };
///     lazy.load().await?.get("views")
/// }
/// ```
pub use mocha_session_core::Sessions;
