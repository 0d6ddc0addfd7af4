//! The error that is a response, so that `?` works in handlers, and that the layer shapes.

use std::fmt;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use mocha_session_core as core;

use crate::layer::Shared;

/// A session error as a handler's error: it becomes the response that [`SessionLayer::on_error`] makes, or else plain text
/// of [`http_status`](core::Error::http_status).
///
/// The response never shows what went wrong, the log does: what becomes a response is traced as an error. The session is
/// not committed, because the handler did not finish.
///
/// ```
/// use mocha_session_tower::Error;
///
/// async fn handler(session: mocha_session_core::Session) -> Result<String, Error> {
///     Ok(session.get("name")?.unwrap_or_default())
/// }
/// ```
///
/// [`SessionLayer::on_error`]: crate::SessionLayer::on_error
pub struct Error {
    inner: core::Error,
    /// The layer whose session it is about, where that is known.
    layer: Option<Arc<Shared>>,
}

impl Error {
    #[cfg(feature = "axum")]
    pub(crate) fn of_layer(inner: core::Error, layer: Arc<Shared>) -> Self {
        Self { inner, layer: Some(layer) }
    }

    /// The core's error.
    pub fn into_inner(self) -> core::Error {
        self.inner
    }
}

impl From<core::Error> for Error {
    fn from(inner: core::Error) -> Self {
        Self { inner, layer: None }
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
        let mut response = plain(&self.inner);
        response.extensions_mut().insert(Failed { error: Arc::new(self.inner), layer: self.layer });
        response
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

/// In the extensions of a response that is an [`Error`]: what the layer shapes.
#[derive(Clone)]
pub(crate) struct Failed {
    pub(crate) error: Arc<core::Error>,
    layer: Option<Arc<Shared>>,
}

impl Failed {
    /// Whether this layer is to shape it: it is about the layer's own session, or nobody knows about whose.
    pub(crate) fn is_of(&self, layer: &Arc<Shared>) -> bool {
        self.layer.as_ref().is_none_or(|own| Arc::ptr_eq(own, layer))
    }
}

/// An error as plain text that names nothing but the status.
pub(crate) fn plain(error: &core::Error) -> Response {
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(Body::from(status.canonical_reason().unwrap_or("error")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
