//! The future of a response whose session is committed before it is sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use axum_core::body::Body;
use axum_core::response::IntoResponse as _;
use bytes::Bytes;
use http::Response;
use http::request::Parts;
use mocha_session_core::{Finish, Finished, LazySession};
use pin_project_lite::pin_project;

use crate::error::{Error, Failed};
use crate::headers::Sink;
use crate::layer::Shared;

/// The status of a handler that failed because of its session. Nothing is committed, whatever the
/// status of its response.
const FAILED: u16 = 500;

/// The session of a pending request.
pub(crate) struct Open {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lazy: LazySession,
    /// The request's head, if there is an `on_error`.
    pub(crate) request: Option<Box<Parts>>,
    /// Whether the session is finished.
    pub(crate) done: bool,
}

pin_project! {
    /// The response of a [`SessionService`](crate::SessionService).
    ///
    /// It boxes nothing for a request that does not touch its session, or only reads it.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        // `None` if another layer commits.
        open: Option<Open>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Handling { #[pin] future: F },
        Finishing { finish: Finish, response: Option<Response<Body>> },
        Refused { response: Option<Response<Body>> },
    }
}

impl<F> ResponseFuture<F> {
    pub(crate) fn new(future: F, open: Open) -> Self {
        Self { state: State::Handling { future }, open: Some(open) }
    }

    /// Creates the future of a response whose session another layer commits.
    pub(crate) fn passing(future: F) -> Self {
        Self { state: State::Handling { future }, open: None }
    }

    /// Creates the future of a response without the inner service.
    pub(crate) fn refused(response: Response<Body>) -> Self {
        Self { state: State::Refused { response: Some(response) }, open: None }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.state.as_mut().project() {
            StateProj::Handling { future } => {
                let response = ready!(future.poll(cx))?.map(Body::new);
                let Some(open) = this.open.as_mut() else { return Poll::Ready(Ok(response)) };
                let failed = response.extensions().get::<Failed>().is_some();
                let status = if failed { FAILED } else { response.status().as_u16() };
                let mut finish = open.shared.manager.finish(&open.lazy, status);
                if let Poll::Ready(finished) = Pin::new(&mut finish).poll(cx) {
                    return Poll::Ready(Ok(open.respond(response, finished)));
                }
                this.state.set(State::Finishing { finish, response: Some(response) });
                Poll::Pending
            }
            StateProj::Finishing { finish, response } => {
                let finished = ready!(Pin::new(finish).poll(cx));
                // A future that is polled after it was ready may behave in any safe way.
                let (Some(open), Some(response)) = (this.open.as_mut(), response.take()) else {
                    return Poll::Pending;
                };
                Poll::Ready(Ok(open.respond(response, finished)))
            }
            StateProj::Refused { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
        }
    }
}

/// Drops the changes of a handler that was cancelled, because their closures may hold the session.
impl Drop for Open {
    fn drop(&mut self) {
        if !self.done {
            self.lazy.close();
        }
    }
}

impl Open {
    /// Returns the response, or the one that replaces it, with the session's headers.
    fn respond(&mut self, response: Response<Body>, finished: Finished) -> Response<Body> {
        self.done = true;
        let (headers, error) = finished.into_parts();
        let response = error.map_or(response, |error| Error::from(error).into_response());
        let mut response = self.shared.shape(response, self.request.as_deref());
        headers.apply(&mut Sink(response.headers_mut()));
        response
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
