//! The future of a response whose session is committed before it goes out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use mocha_session_core::{BoxFuture, HeaderChanges, LazySession, Result};
use pin_project_lite::pin_project;

use crate::headers::Sink;
use crate::layer::Shared;

pin_project! {
    /// The response of a [`SessionService`](crate::SessionService).
    ///
    /// Nothing is boxed on the way of a request that does not touch its session, or only reads it.
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
        shared: Arc<Shared>,
        lazy: LazySession,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        Handling { #[pin] future: F },
        Finishing { finish: BoxFuture<'static, Result<HeaderChanges>>, response: Option<Response<B>> },
    }
}

impl<F, B> ResponseFuture<F, B> {
    pub(crate) fn new(future: F, shared: Arc<Shared>, lazy: LazySession) -> Self {
        Self { state: State::Handling { future }, shared, lazy }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: From<String>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Handling { future } => {
                    let response = ready!(future.poll(cx))?;
                    if let Some(changes) =
                        this.shared.manager.finish_now(this.lazy, response.status().as_u16())
                    {
                        return Poll::Ready(Ok(apply(changes, response)));
                    }
                    let (shared, lazy) = (Arc::clone(this.shared), this.lazy.clone());
                    let status = response.status().as_u16();
                    let finish = Box::pin(async move { shared.manager.finish(&lazy, status).await });
                    this.state.set(State::Finishing { finish, response: Some(response) });
                }
                StateProj::Finishing { finish, response } => {
                    let finished = ready!(finish.as_mut().poll(cx));
                    let (response, changes) = match (finished, response.take()) {
                        (Ok(changes), Some(response)) => (response, changes),
                        (Err(error), _) => {
                            tracing::error!(
                                ?error,
                                "a response was replaced because its session could not be committed"
                            );
                            (this.shared.respond(&error), this.shared.manager.after_failure(this.lazy))
                        }
                        // Polled again after it was ready: futures may do anything then but must not be unsound.
                        (Ok(_), None) => return Poll::Pending,
                    };
                    return Poll::Ready(Ok(apply(changes, response)));
                }
            }
        }
    }
}

fn apply<B>(changes: HeaderChanges, mut response: Response<B>) -> Response<B> {
    if !changes.is_none() {
        changes.apply(&mut Sink(response.headers_mut()));
    }
    response
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
