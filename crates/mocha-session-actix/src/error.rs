//! The error of handlers, which becomes a response that the middleware shapes.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, ResponseError};
use mocha_session_core as core;

/// A session error as a handler's error, so that `?` works. It becomes the response that
/// [`SessionMiddleware::on_error`] makes. Without an `on_error`, it becomes plain text with the
/// status [`http_status`](core::Error::http_status).
///
/// The default response names only the status, and the error is traced. The session is not
/// committed, because the handler did not finish.
///
/// ```
/// use mocha_session_actix::{Error, Session};
///
/// async fn handler(session: Session) -> Result<String, Error> {
///     Ok(session.get("name")?.unwrap_or_default())
/// }
/// # let _ = actix_web::web::get().to(handler);
/// ```
///
/// [`SessionMiddleware::on_error`]: crate::SessionMiddleware::on_error
#[derive(Clone)]
pub struct Error(Arc<core::Error>);

impl Error {
    /// Returns the core's error. The middleware may hold it as well.
    pub fn into_inner(self) -> Arc<core::Error> {
        self.0
    }

    /// Creates the error of an extractor, and stores it in the request. actix's `Option<T>` and
    /// `Result<T, E>` hide it from the handler, and an unknown session is not an absent one.
    pub(crate) fn rejecting(request: &HttpRequest, error: core::Error) -> Self {
        let error = Self::from(error);
        request.extensions_mut().insert(Rejected(error.clone()));
        error
    }
}

core::__handler_error!(Error);

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns a response in plain text that names only the status.
    fn error_response(&self) -> HttpResponse {
        tracing::error!(error = ?self.0, "a request failed because of its session");
        let mut response = plain(self.status_code());
        response.extensions_mut().insert(Failed { error: self.clone(), shaped: false });
        response
    }
}

/// Returns a response in plain text that names only the status.
pub(crate) fn plain(status: StatusCode) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(status.canonical_reason().unwrap_or("error"))
}

/// The error of a failed extractor, in the extensions of the request.
pub(crate) struct Rejected(pub(crate) Error);

/// Marks the response of an [`Error`], in its extensions. Its handler did not finish, and the
/// innermost middleware with an `on_error` shapes it.
#[derive(Clone)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    pub(crate) shaped: bool,
}
