#![doc = include_str!("../README.md")]

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "axum")]
mod error;
mod future;
mod headers;
mod layer;

#[cfg(feature = "axum")]
pub use self::axum::{Flash, LazySession, Session};
#[cfg(feature = "axum")]
pub use error::Error;
pub use future::ResponseFuture;
pub use layer::{Scoped, SessionLayer, SessionService};
