//! The bare handler without sessions, which is the baseline of every other figure.

use std::task::{Context, Poll};

use axum::Router;
use axum::routing::get;
use tower_layer::layer_fn;
use tower_service::Service;

use crate::axum_client::AxumClient;
use crate::worker::AxumSubject;

pub fn bare() -> AxumSubject {
    subject(router())
}

/// Returns it with a layer that does nothing, which shows the cost of any middleware.
pub fn with_empty_layer() -> AxumSubject {
    subject(router().layer(layer_fn(Empty)))
}

fn router() -> Router {
    Router::new().route("/untouched", get(async || "ok"))
}

fn subject(router: Router) -> AxumSubject {
    AxumSubject { client: AxumClient::new(router), login: false, sessions: false }
}

#[derive(Clone)]
struct Empty<S>(S);

impl<S: Service<R>, R> Service<R> for Empty<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}
