#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum")]
mod axum;
mod error;
mod future;
mod headers;
mod layer;
mod sessions;

#[cfg(feature = "axum")]
pub use self::axum::{Flash, LazySession, Session};
/// The body of the layer's responses.
pub use axum_core::body::Body;
pub use error::Error;
pub use future::ResponseFuture;
pub use layer::{SessionLayer, SessionService};
pub use sessions::Sessions;
