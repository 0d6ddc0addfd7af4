//! The end of a request: decides whether to commit, commits, and returns the response's headers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::answer::headers;
use super::refresh::{is_due, refresh};
use super::settle::{settle, take_pending};
use crate::error::{Error, Result};
use crate::future;
use crate::future::BoxFuture;
use crate::http::headers::{HeaderChanges, HeaderSink};
use crate::mutant;
use crate::session::change;
use crate::session::shared::Shared;
use crate::session::state::{Inner, Phase, gone};

/// The end of a request's session: a future that commits the changes that the response confirms.
///
/// Most responses have nothing to write. Their `Finish` is ready at once and does not allocate.
#[must_use = "a session that is not finished is not committed"]
pub struct Finish(Progress);

enum Progress {
    Ready(Option<Finished>),
    Running(BoxFuture<'static, Finished>),
}

impl Finish {
    /// Returns whether the future is ready at its first poll, because there is nothing to write and
    /// nothing to wait for.
    pub fn is_ready(&self) -> bool {
        matches!(self.0, Progress::Ready(_))
    }
}

impl Future for Finish {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        match &mut self.0 {
            // Polled again after it was ready: there are no more changes.
            Progress::Ready(finished) => Poll::Ready(finished.take().unwrap_or_default()),
            Progress::Running(running) => running.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Finish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finish").field("ready", &self.is_ready()).finish()
    }
}

/// The effect of a finished session on the response: header lines, and an error if the response
/// must be replaced because its changes could not be committed.
///
/// ```
/// # mod mocha_session { pub use mocha_session_core::{self as core, *}; }
/// # use std::borrow::Cow;
/// use mocha_session::{HeaderSink, core::Finished};
///
/// # struct Response { status: u16 }
/// # impl HeaderSink for Response {
/// #     fn get_all(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}
/// #     fn append(&mut self, _: &str, _: Cow<'static, str>) {}
/// #     fn set(&mut self, _: &str, _: Cow<'static, str>) {}
/// # }
/// fn end(mut response: Response, finished: Finished) -> Response {
///     if let Some(error) = finished.error() {
///         response = Response { status: error.http_status() };
///     }
///     finished.apply(&mut response); // to the page of the error as well
///     response
/// }
/// # end(Response { status: 200 }, Finished::default());
/// ```
#[derive(Debug, Default)]
#[must_use = "its header lines belong to the response"]
pub struct Finished {
    headers: HeaderChanges,
    error: Option<Error>,
}

impl Finished {
    /// Returns the error because of which the response must be replaced, if any. The new response's
    /// status is [`Error::http_status`].
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Returns the `Set-Cookie` line, if there is one. It contains the session id: do not log it.
    pub fn set_cookie(&self) -> Option<&str> {
        self.headers.set_cookie()
    }

    /// Returns the value of the header that carries a new token, if there is one. It is empty if
    /// the session has ended. Do not log it.
    pub fn session_token(&self) -> Option<&str> {
        self.headers.session_token()
    }

    /// Writes the header lines into the response, or into the response that replaces it.
    pub fn apply(self, headers: &mut impl HeaderSink) {
        self.headers.apply(headers);
    }

    /// Returns the header lines and the error, for frameworks that build their responses elsewhere.
    pub fn into_parts(self) -> (HeaderChanges, Option<Error>) {
        (self.headers, self.error)
    }

    /// Returns the header lines, for programs and tests that have no response to replace.
    ///
    /// # Errors
    /// The reason for which the changes could not be committed. The header lines are lost then.
    pub fn into_result(self) -> Result<HeaderChanges> {
        self.error.map_or(Ok(self.headers), Err)
    }
}

/// Commits for a response of this status, closes the session, and returns the changes to the
/// response.
pub(crate) fn finish(inner: &Arc<Inner>, status: u16) -> Finish {
    if let Some(headers) = at_once(inner, status) {
        return Finish(Progress::Ready(Some(Finished { headers, error: None })));
    }
    Finish(Progress::Running(Box::pin(commit_and_close(Arc::clone(inner), status))))
}

/// Returns the future of a response that has something to write. It must stay below 1,032 bytes,
/// the largest block that glibc's allocator serves from its per-thread cache.
#[allow(clippy::manual_async_fn, reason = "the future of a function keeps its arguments twice")]
fn commit_and_close(inner: Arc<Inner>, status: u16) -> impl Future<Output = Finished> + Send {
    async move {
        let error = commit_for(&inner, status).await.err();
        let (via, line) = inner.close();
        Finished { headers: headers(&inner.shared, via, line), error }
    }
}

/// Returns the result of [`finish`] if there is nothing to write and nothing to wait for. That is
/// the case for most responses.
fn at_once(inner: &Inner, status: u16) -> Option<HeaderChanges> {
    let shared = &inner.shared;
    let mut state = inner.state();
    if matches!(state.phase, Phase::Untouched | Phase::Finished) {
        state.phase = Phase::Finished;
        return Some(HeaderChanges::none());
    }
    if state.phase == Phase::Loaded && commits(shared, status) {
        let due = || is_due(shared, &state, status);
        if state.is_dirty() || state.stale_cookie || state.flash.has_read() || due() {
            return None;
        }
    }
    // A reload or a commit that is running must be waited for.
    drop(inner.gate.try_lock().ok()?);
    drop(state);
    let (via, line) = inner.close();
    Some(headers(shared, via, line))
}

async fn commit_for(inner: &Arc<Inner>, status: u16) -> Result<()> {
    let _gate = inner.gate.lock().await;
    let (dirty, only_shown) = {
        let mut state = inner.state();
        if state.phase != Phase::Loaded || !commits(&inner.shared, status) {
            return Ok(());
        }
        let only_shown = !state.is_dirty();
        let read = state.flash.consumed(&state.view.flash);
        if !read.is_empty() && shows_messages(status) && !inner.speculative {
            state.change(change::Change::Drop(read))?;
        }
        state.phase = Phase::Finished;
        (state.is_dirty(), only_shown)
    };
    if !dirty {
        return Box::pin(refresh(inner, status)).await;
    }
    let mut pending = take_pending(inner);
    let settled = if pending.has_steps() {
        // These steps must complete even if the client disconnects.
        let own = Arc::clone(inner);
        let settling = Box::pin(async move { settle(&own, &mut pending).await });
        future::to_its_end(&inner.shared.tasks, settling).await
    } else {
        settle(inner, &mut pending).await
    };
    match settled {
        // Messages that could not be consumed are shown again. The response is still correct.
        Err(error) if only_shown => {
            tracing::debug!(%error, "shown flash messages were not consumed; they will be shown again");
            Ok(())
        }
        settled => settled.map(drop),
    }
}

/// Returns whether a response of this status means that its handler succeeded. A layer responds
/// with 408 after it has cancelled the handler.
fn commits(shared: &Shared, status: u16) -> bool {
    (status < 500 && (status != 408 || mutant("a response that timed out commits")))
        || shared.policy.commit_on_server_error
}

/// Returns whether the user sees the body of a response of this status.
fn shows_messages(status: u16) -> bool {
    !(matches!(status, 204 | 205 | 408) || status < 200 || is_redirect(status) || status >= 500)
}

fn is_redirect(status: u16) -> bool {
    (300..400).contains(&status) && !mutant("a redirect shows")
}

/// Commits now. Runs to its end even if the caller is cancelled.
pub(crate) async fn commit_now(inner: &Arc<Inner>) -> Result<()> {
    let tasks = &inner.shared.tasks;
    let inner = Arc::clone(inner);
    let committing = Box::pin(async move {
        let _gate = inner.gate.lock().await;
        let dirty = {
            let state = inner.state();
            state.writable()?;
            state.is_dirty()
        };
        if dirty && !settle(&inner, &mut take_pending(&inner)).await? {
            return Err(gone());
        }
        Ok(())
    });
    future::to_its_end(tasks, committing).await
}

/// Moves the idle deadline of a session outside a request, if that is due.
pub(crate) async fn touch(inner: &Arc<Inner>) -> Result<()> {
    let _gate = inner.gate.lock().await;
    refresh(inner, 200).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::http::RequestInfo;

    #[test]
    fn the_future_of_a_response_fits_into_the_allocators_cache() {
        let shared = crate::SessionManager::in_memory().unwrap().shared;
        let inner: Arc<Inner> = Arc::new(Inner::new(shared, RequestInfo::new(()), true));
        let size = std::mem::size_of_val(&commit_and_close(inner, 200));
        assert!(size <= 1_032, "{size}");
    }
}
