//! When and how a request's changes are committed, and what its response says.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::answer::{headers, token_line};
use crate::commit::{self, Committed, Outcome, Pending, Plan};
use crate::error::{Error, Result};
use crate::future;
use crate::future::BoxFuture;
use crate::http::headers::{HeaderChanges, HeaderSink};
use crate::mutant;
use crate::observe::{Event, spans};
use crate::session::change;
use crate::session::shared::{Backend, Shared};
use crate::session::state::{Base, Inner, Phase, Standing, State, gone, rebase, stored};

/// The end of a request's session: a future that commits what the response confirms.
///
/// Most responses have nothing to write. Their `Finish` is ready at once and holds no allocation.
#[must_use = "a session that is not finished is not committed"]
pub struct Finish(Progress);

enum Progress {
    Ready(Option<Finished>),
    Running(BoxFuture<'static, Finished>),
}

impl Finish {
    /// Whether it will be ready when it is polled first: there is nothing to write and nobody to
    /// wait for.
    pub fn is_ready(&self) -> bool {
        matches!(self.0, Progress::Ready(_))
    }
}

impl Future for Finish {
    type Output = Finished;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        match &mut self.0 {
            // Polled again after it was ready: there is nothing more to say.
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

/// What a finished session means for the response: header lines, and an error where the response
/// must be replaced because its changes could not be committed.
///
/// ```
/// # use std::borrow::Cow;
/// use mocha_session_core::{Finished, HeaderSink};
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
    /// Why the response must be replaced, if it must: its status is [`Error::http_status`].
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// The `Set-Cookie` line, if there is one. It holds the session id: not for logs.
    pub fn set_cookie(&self) -> Option<&str> {
        self.headers.set_cookie()
    }

    /// The value of the header that carries a new token, if there is one: empty where the session
    /// has ended. Not for logs.
    pub fn session_token(&self) -> Option<&str> {
        self.headers.session_token()
    }

    /// Writes the header lines into the response, or into the one that replaces it.
    pub fn apply(self, headers: &mut impl HeaderSink) {
        self.headers.apply(headers);
    }

    /// The header lines and the error, for frameworks that build their responses elsewhere.
    pub fn into_parts(self) -> (HeaderChanges, Option<Error>) {
        (self.headers, self.error)
    }

    /// The header lines, for programs and tests without a response to replace.
    ///
    /// # Errors
    /// Why the changes could not be committed. The lines that go with the error are lost.
    pub fn into_result(self) -> Result<HeaderChanges> {
        self.error.map_or(Ok(self.headers), Err)
    }
}

/// Commits for a response of this status, closes the session, and says what the response must tell
/// the client.
pub(crate) fn finish(inner: &Arc<Inner>, status: u16) -> Finish {
    if let Some(headers) = at_once(inner, status) {
        return Finish(Progress::Ready(Some(Finished { headers, error: None })));
    }
    Finish(Progress::Running(Box::pin(commit_and_close(Arc::clone(inner), status))))
}

/// The future of a response that has something to write. It must stay below 1,032 bytes, the
/// largest block that glibc's allocator hands out from its per-thread cache.
#[allow(clippy::manual_async_fn, reason = "the future of a function keeps its arguments twice")]
fn commit_and_close(inner: Arc<Inner>, status: u16) -> impl Future<Output = Finished> + Send {
    async move {
        let error = commit_for(&inner, status).await.err();
        let (via, line) = inner.close();
        Finished { headers: headers(&inner.shared, via, line), error }
    }
}

/// What [`finish`] says, where nothing is to be written and nobody is to be waited for: most
/// responses.
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
    // A reload or a commit that is under way at this moment is to be waited for.
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
        // Steps that must not be left half-way outlive a client that goes away.
        let own = Arc::clone(inner);
        let settling = Box::pin(async move { settle(&own, &mut pending).await });
        future::to_its_end(&inner.shared.tasks, settling).await
    } else {
        settle(inner, &mut pending).await
    };
    match settled {
        // Messages that could not be consumed are shown once more: the page is no worse for it.
        Err(error) if only_shown => {
            tracing::debug!(%error, "shown flash messages were not consumed; they will be shown again");
            Ok(())
        }
        settled => settled.map(drop),
    }
}

/// Whether a response of this status says that its handler did its work. 408 is what a layer
/// answers that has cut the handler off.
fn commits(shared: &Shared, status: u16) -> bool {
    (status < 500 && (status != 408 || mutant("a response that timed out commits")))
        || shared.policy.commit_on_server_error
}

/// Whether the user who gets a response of this status sees what it says.
fn shows_messages(status: u16) -> bool {
    !(matches!(status, 204 | 205 | 408) || status < 200 || is_redirect(status) || status >= 500)
}

fn is_redirect(status: u16) -> bool {
    (300..400).contains(&status) && !mutant("a redirect shows")
}

/// Commits now. Runs to its end even when the caller goes away.
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

fn take_pending(inner: &Inner) -> Box<Pending> {
    let mut state = inner.state();
    let state = &mut *state;
    let plan = Plan::of(state.base.is_some(), state.rotate, &state.log);
    if let Plan::Begin { login } = plan {
        let (view, now) = (Arc::make_mut(&mut state.view), inner.shared.now());
        commit::begun(&inner.shared, view, login, now);
    }
    let tells = inner.tells && state.tells_deadline();
    let view = Arc::clone(&state.view);
    let loaded = state.original.take().unwrap_or_else(|| Arc::clone(&view));
    // Boxed, because it would be moved with every future that it is in.
    let pending = Box::new(Pending {
        plan,
        doomed: std::mem::take(&mut state.doomed),
        base: state.base.clone(),
        loaded,
        log: std::mem::take(&mut state.log),
        view: Some(view).filter(|_| state.doubt.is_none()),
        rotate: std::mem::take(&mut state.rotate),
        superseded: !matches!(state.standing, Standing::Ordinary),
        tells,
        renews: state.stale_cookie && inner.tells,
        doubt: state.doubt.take(),
        line: None,
        starts: state.starts,
    });
    state.edits += 1;
    state.flash.pushed(change::pushed_ids(&pending.log));
    pending
}

/// What is to be put back unless it was committed, also when a closure of an update panics.
struct Unsettled<'j> {
    inner: &'j Inner,
    pending: &'j mut Pending,
    settled: bool,
    /// A login was refused, so the session is to be as it was loaded.
    refused: bool,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (mut guard, pending) = (self.inner.state(), &mut *self.pending);
        let state = &mut *guard;
        note_steps(state, pending);
        state.doomed.splice(0..0, pending.doomed.drain(..));
        if state.starts != pending.starts {
            // Destroyed meanwhile by another handle: what may have been begun is to be ended.
            if let Some(begun) = pending.doubt.take().and_then(|doubt| doubt.successor) {
                state.doomed.push(begun.doomed());
            }
            return;
        }
        if self.refused {
            state.base.clone_from(&pending.base);
            let undone = state.undo(Arc::clone(&pending.loaded), self.inner.shared.now());
            drop(guard);
            drop(undone);
            return;
        }
        // In front of what was changed meanwhile, so that another commit may try again.
        let meanwhile = std::mem::replace(&mut state.log, std::mem::take(&mut pending.log));
        state.log.extend(meanwhile);
        state.edits += 1;
        state.original = Some(Arc::clone(&pending.loaded));
        state.base.clone_from(&pending.base);
        state.rotate |= pending.rotate;
        state.doubt = pending.doubt.take();
    }
}

/// Takes over what the steps of a pending that are done have made known.
fn note_steps(state: &mut State, pending: &mut Pending) {
    if pending.superseded && matches!(state.standing, Standing::Ordinary) {
        state.standing = Standing::Superseded;
    }
    if let Some(line) = pending.line.take() {
        state.line = Some(line);
    }
}

/// Runs a pending and takes its outcome over; whether the session is still there. What could not be
/// committed is as it was.
async fn settle(inner: &Inner, pending: &mut Pending) -> Result<bool> {
    let silent = inner.tells && !pending.tells;
    let before = stored(pending.base.as_ref().filter(|_| silent));
    let before = before.map(|stored| stored.version.revision.clone());
    let mut unsettled = Unsettled { inner, pending, settled: false, refused: false };
    let outcome = run_fitting(inner, unsettled.pending).await.inspect_err(|error| {
        unsettled.refused = error.is_too_many_sessions();
        commit::tell_failure(&inner.shared, unsettled.pending, error);
    })?;
    unsettled.settled = true;
    let pending = &mut *unsettled.pending;
    match outcome {
        Outcome::Committed(Committed { base, content, line, superseded }) => {
            {
                let mut state = inner.state();
                let line = line.or_else(|| {
                    let base = base.as_ref().filter(|_| silent);
                    token_line(base, before.as_ref(), &content, state.stale_cookie)
                });
                if line.is_some() {
                    state.line = line;
                }
                state.standing = Standing::Ordinary;
                state.stale_cookie &= state.line.is_none();
                if superseded {
                    state.phase =
                        if state.phase == Phase::Loaded { Phase::Gone } else { state.phase };
                    state.line = None;
                }
            }
            if !rebase(inner, pending.starts, base.as_ref(), &content)? {
                // Destroyed meanwhile by another handle: what was committed is ended too.
                inner.state().doomed.extend(base.map(|base| base.doomed(&content)));
            }
            Ok(true)
        }
        Outcome::Gone => {
            let fingerprint = stored(pending.base.as_ref())
                .map(|stored| stored.id.fingerprint(&inner.shared.scope));
            tracing::debug!(
                session = fingerprint.as_deref().unwrap_or("new"),
                changes = pending.log.len(),
                "changes were dropped: the session was moved, ended or revoked meanwhile"
            );
            let id = stored(pending.base.as_ref()).map(|stored| &stored.id);
            let (owner, changes) = (pending.loaded.owner.as_ref(), pending.log.len());
            inner.shared.tell(id, owner, |session| Event::Dropped { session, changes });
            let must_happen = change::must_happen(&pending.log);
            let mut state = inner.state();
            if state.phase == Phase::Loaded {
                state.phase = Phase::Gone;
            }
            state.line = None;
            state.stale_cookie = false;
            state.start_over(inner.shared.now());
            drop(state);
            if must_happen { Err(gone()) } else { Ok(false) }
        }
    }
}

/// Runs a pending. Where its session would be too large, the oldest flash is left out until it fits: a
/// visitor who never sees a page that shows it must not be locked out by it.
async fn run_fitting(inner: &Inner, pending: &mut Pending) -> Result<Outcome> {
    let changes = pending.log.len();
    let done = loop {
        let ran = if spans::wanted() {
            Box::pin(commit::run_in_span(&inner.shared, pending)).await
        } else {
            commit::run(&inner.shared, pending).await
        };
        match ran {
            Err(error) if error.is_too_large() && pending.drop_oldest_flash() => {}
            done => break done,
        }
    };
    let dropped = pending.log.len().saturating_sub(changes);
    if dropped > 0 && done.is_ok() {
        inner.state().flash.dropped(dropped);
        tracing::warn!(
            dropped,
            "a session has no room for all flash that waits; the oldest was dropped"
        );
    } else if pending.doubt.as_ref().is_none_or(|doubt| doubt.changes <= changes) {
        // Nothing was written, so that nothing is to be dropped either.
        pending.log.truncate(changes);
    }
    done
}

/// Moves the idle deadline of a session that was only read, if that is due, and leaves what the
/// client is to be told of it. It never turns a good response into an error, and never waits for a
/// commit that is under way.
async fn refresh(inner: &Inner, status: u16) -> Result<()> {
    let shared = &inner.shared;
    let (base, content, stale, dated) = {
        let state = inner.state();
        let Some(base) = state.base.clone() else { return Ok(()) };
        if !is_due(shared, &state, status) && !state.stale_cookie {
            return Ok(());
        }
        (base, Arc::clone(&state.view), state.stale_cookie, state.tells_deadline())
    };
    // A cached response is not the place for a mere refresh: its client is told by another one.
    let answers = inner.tells && (status != 304 || mutant("a 304 tells"));
    let tells = answers && dated;
    let before = stored(Some(&base)).filter(|_| !dated);
    let before = before.map(|stored| stored.version.revision.clone());
    let outcome = match (&shared.backend, &base) {
        (Backend::Store(vault), Base::Stored(stored)) => {
            let Some(mut turn) = vault.turn_now(&stored.place.key) else { return Ok(()) };
            // A cookie is written anew only with a write, which tells that the session is still
            // under its id.
            let renews = stale && answers;
            commit::refresh(shared, vault, stored, &content, tells, renews, &mut turn).await
        }
        _ => {
            let mut pending = Pending::refresh(base, content, stale);
            commit::run(shared, &mut pending).await
        }
    };
    match outcome {
        Ok(Outcome::Committed(Committed { base, content, line, .. })) => {
            let mut state = inner.state();
            let line = line.or_else(|| {
                token_line(base.as_ref().filter(|_| !dated), before.as_ref(), &content, stale)
            });
            if let Some(line) = line.filter(|_| answers) {
                state.line = Some(line);
            }
            if let Some(base) = base.filter(|_| state.base.is_some()) {
                state.base = Some(base);
            }
            Ok(())
        }
        Ok(Outcome::Gone) => Ok(()),
        Err(error) => {
            tracing::debug!(%error, "a session's idle deadline was not moved; a later request does it");
            Ok(())
        }
    }
}

/// Whether the idle deadline is to be moved, or the client is to be told of one that was.
fn is_due(shared: &Shared, state: &State, status: u16) -> bool {
    let (Some(base), content) = (&state.base, &*state.view) else { return false };
    let (written, told) = match base {
        Base::Stored(stored) => (stored.version.header.deadline, content.told),
        // What the client has is what it was told.
        Base::Client { deadline } => (*deadline, shared.policy.told(content, *deadline)),
    };
    let untold =
        status != 304 && state.via.cookie() && told != shared.policy.told(content, written);
    !content.is_empty() && (untold || shared.policy.wants_refresh(content, written, shared.now()))
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
