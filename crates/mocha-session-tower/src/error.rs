//! The error of handlers, which becomes a response that the layer shapes.

use std::sync::Arc;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use mocha_session_core as core;

/// A session error as a handler's error, so that `?` works. It becomes the response that
/// [`SessionLayer::on_error`] makes. Without an `on_error`, it becomes plain text with the status
/// [`http_status`](core::Error::http_status).
///
/// The default response names only the status, and the error is traced. The session is not
/// committed, because the handler did not finish.
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
pub struct Error(core::Error);

impl Error {
    /// Returns the core's error.
    pub fn into_inner(self) -> core::Error {
        self.0
    }
}

core::__handler_error!(Error);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        tracing::error!(error = ?self.0, "a request failed because of its session");
        let status =
            StatusCode::from_u16(self.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = plain(status);
        let failed = Failed { error: Arc::new(self.0), shaped: false };
        response.extensions_mut().insert(failed);
        response
    }
}

/// Marks the response of an [`Error`], in its extensions. Its handler did not finish, and the
/// innermost layer with an `on_error` shapes it.
#[derive(Clone)]
pub(crate) struct Failed {
    pub(crate) error: Arc<core::Error>,
    pub(crate) shaped: bool,
}

/// Returns a response in plain text that names only the status.
pub(crate) fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::from(status.canonical_reason().unwrap_or("error")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
