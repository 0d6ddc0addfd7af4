//! The future of a response whose session is committed before it is sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::MessageBody;
use actix_web::dev::{RequestHead, ServiceResponse};
use actix_web::{HttpMessage as _, HttpResponse};
use mocha_session_core::{Finish, Finished, HeaderChanges, LazySession};
use pin_project_lite::pin_project;

use crate::error::{Error, Failed, Rejected};
use crate::headers::Sink;
use crate::middleware::Shared;

/// The status of a handler that failed because of its session. Nothing is committed, whatever the
/// status of its response.
const FAILED: u16 = 500;

/// The result of a service. Its error is a response too, because actix turns it into one.
type Outcome = Result<ServiceResponse, actix_web::Error>;

/// The session of a pending request.
pub(crate) struct Open {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lazy: LazySession,
    /// The request's head, if there is an `on_error`. It is not a clone of the request, because
    /// actix's router panics if there is one.
    pub(crate) head: Option<Box<RequestHead>>,
}

pin_project! {
    /// The response of a [`SessionService`](crate::SessionService).
    ///
    /// It boxes nothing for a request that does not touch its session.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        // `None` if another middleware commits.
        open: Option<Open>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Handling { #[pin] future: F },
        Finishing { finish: Finish, outcome: Option<Outcome> },
        Refused { response: Option<ServiceResponse> },
    }
}

impl<F> ResponseFuture<F> {
    pub(crate) fn new(future: F, open: Open) -> Self {
        Self { state: State::Handling { future }, open: Some(open) }
    }

    /// Creates the future of a response whose session another middleware commits.
    pub(crate) fn passing(future: F) -> Self {
        Self { state: State::Handling { future }, open: None }
    }

    /// Creates the future of a response without the inner service.
    pub(crate) fn refused(response: ServiceResponse) -> Self {
        Self { state: State::Refused { response: Some(response) }, open: None }
    }
}

impl<F, B> Future for ResponseFuture<F>
where
    F: Future<Output = Result<ServiceResponse<B>, actix_web::Error>>,
    B: MessageBody + 'static,
{
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut this = self.project();
        match this.state.as_mut().project() {
            StateProj::Handling { future } => {
                let outcome = ready!(future.poll(cx)).map(ServiceResponse::map_into_boxed_body);
                let Some(open) = this.open else { return Poll::Ready(outcome) };
                let outcome = outcome.map(heed_rejection);
                let mut finish = open.shared.manager.finish(&open.lazy, status(&outcome));
                if let Poll::Ready(finished) = Pin::new(&mut finish).poll(cx) {
                    return Poll::Ready(open.respond(outcome, finished));
                }
                this.state.set(State::Finishing { finish, outcome: Some(outcome) });
                Poll::Pending
            }
            StateProj::Finishing { finish, outcome } => {
                let finished = ready!(Pin::new(finish).poll(cx));
                // A future that is polled after it was ready may behave in any safe way.
                let (Some(open), Some(outcome)) = (this.open, outcome.take()) else {
                    return Poll::Pending;
                };
                Poll::Ready(open.respond(outcome, finished))
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
        self.lazy.close();
    }
}

impl Open {
    /// Returns the response, or the one that replaces it, with the session's headers.
    fn respond(&mut self, outcome: Outcome, finished: Finished) -> Outcome {
        let (headers, error) = finished.into_parts();
        let outcome = match (outcome, error.map(Error::from)) {
            (Ok(response), Some(error)) => Ok(response.error_response(error)),
            (Err(_), Some(error)) => Err(error.into()),
            (outcome, None) => outcome,
        };
        let (shared, head) = (Arc::clone(&self.shared), self.head.take());
        let shape = move |response: HttpResponse, headers: HeaderChanges| {
            let mut response = shared.shape(response, head.as_deref());
            headers.apply(&mut Sink(response.headers_mut()));
            response
        };
        match outcome {
            Ok(response) => {
                let (request, response) = response.into_parts();
                Ok(ServiceResponse::new(request, shape(response, headers)))
            }
            Err(mut error) => {
                error.add_response_mapper(move |response| shape(response, headers.clone()));
                Err(error)
            }
        }
    }
}

/// Returns the response, or that of a failed extractor. actix's `Option<T>` and `Result<T, E>` hide
/// the failure from the handler, which could then treat an unknown session as an absent one.
fn heed_rejection(response: ServiceResponse) -> ServiceResponse {
    if is_failed(&response) || response.status().is_server_error() {
        return response;
    }
    let rejected = response.request().extensions_mut().remove();
    match rejected {
        Some(Rejected(error)) => response.error_response(error),
        None => response,
    }
}

/// Returns the status that decides whether the session is committed.
fn status(outcome: &Outcome) -> u16 {
    match outcome {
        Ok(response) if is_failed(response) => FAILED,
        Ok(response) => response.status().as_u16(),
        Err(error) if error.as_error::<Error>().is_some() => FAILED,
        Err(error) => error.as_response_error().status_code().as_u16(),
    }
}

fn is_failed(response: &ServiceResponse) -> bool {
    response.response().extensions().contains::<Failed>()
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
