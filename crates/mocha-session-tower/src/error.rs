//! The error that is a response, so that `?` works in handlers.

use std::fmt;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use mocha_session_core as core;

use crate::layer::{Shared, plain};

/// A session error as a handler's error: it becomes the response that [`SessionLayer::on_error`] makes where the
/// extractor failed, and plain text of [`http_status`](core::Error::http_status) where `?` met it in a handler.
///
/// The response never shows what went wrong, the log does: what becomes a response is traced as an error.
///
/// ```
/// use mocha_session_tower::{Error, Session};
///
/// async fn handler(session: Session) -> Result<String, Error> {
///     Ok(session.get("name")?.unwrap_or_default())
/// }
/// ```
///
/// [`SessionLayer::on_error`]: crate::SessionLayer::on_error
pub struct Error {
    inner: core::Error,
    shared: Option<Arc<Shared>>,
}

impl Error {
    pub(crate) fn shaped(inner: core::Error, shared: Arc<Shared>) -> Self {
        Self { inner, shared: Some(shared) }
    }

    /// The core's error.
    pub fn into_inner(self) -> core::Error {
        self.inner
    }
}

impl From<core::Error> for Error {
    fn from(inner: core::Error) -> Self {
        Self { inner, shared: None }
    }
}

impl std::ops::Deref for Error {
    type Target = core::Error;

    fn deref(&self) -> &core::Error {
        &self.inner
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        tracing::error!(error = ?self.inner, "a request failed because of its session");
        match self.shared {
            Some(shared) => shared.respond::<Body>(&self.inner),
            None => plain(&self.inner).map(Body::from),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.inner)
    }
}
