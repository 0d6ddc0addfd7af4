//! Spans of `tracing`: one per store call, and one per load and commit of a session, in which the
//! store calls are.
//!
//! They have the level DEBUG, the target `mocha_session` and the names of OpenTelemetry. Without a
//! subscriber that wants them no span is built.

use tracing::field::Empty;
use tracing::{Instrument as _, Level, Span, debug_span, span_enabled};

use crate::error::{Error, Result};
use crate::future::BoxFuture;

const TARGET: &str = "mocha_session";

/// Whether a subscriber wants spans.
pub(crate) fn wanted() -> bool {
    span_enabled!(target: TARGET, Level::DEBUG)
}

/// The span of a store call.
pub(crate) fn call(engine: &'static str, operation: &'static str) -> Span {
    debug_span!(
        target: TARGET,
        "store call",
        otel.kind = "client",
        db.system.name = engine,
        db.operation.name = operation,
        outcome = Empty,
        error.type = Empty,
    )
}

/// The span of looking up the session that a request names.
pub(crate) fn load(engine: &'static str, fingerprint: &str) -> Span {
    debug_span!(
        target: TARGET,
        "load session",
        session.id = fingerprint,
        db.system.name = engine,
        outcome = Empty,
        error.type = Empty,
    )
}

/// The span of a commit. A session that begins has no fingerprint yet.
pub(crate) fn commit(engine: &'static str, fingerprint: Option<&str>) -> Span {
    debug_span!(
        target: TARGET,
        "commit session",
        session.id = fingerprint,
        session.previous_id = Empty,
        db.system.name = engine,
        rounds = Empty,
        outcome = Empty,
        error.type = Empty,
    )
}

/// Runs a load or a commit within its span, which tells of an error.
pub(crate) async fn within<T>(span: Span, work: BoxFuture<'_, Result<T>>) -> Result<T> {
    let done = work.instrument(span.clone()).await;
    if let Err(error) = &done {
        failed(&span, error);
    }
    done
}

/// Ends the span of a store call.
pub(crate) fn answered(span: &Span, error: Option<&Error>) {
    match error {
        Some(error) => failed(span, error),
        None => drop(span.record("outcome", "ok")),
    }
}

fn failed(span: &Span, error: &Error) {
    let kind = error.kind().as_str();
    span.record("outcome", kind).record("error.type", kind);
}

/// Sets a field of the load or commit that is being run.
pub(crate) fn note(field: &'static str, value: impl tracing::Value) {
    if wanted() {
        let span = Span::current();
        if span.metadata().is_some_and(|metadata| metadata.target() == TARGET) {
            span.record(field, value);
        }
    }
}
