//! When and how a request's changes are committed, and what its response says.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::change;
use super::commit::{self, Committed, Job, Outcome};
use super::state::{Base, Inner, Line, Phase, gone};
use super::stored;
use crate::content::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::headers::HeaderChanges;
use crate::manager::{Backend, Shared};
use crate::registry::BoxFuture;

/// Commits for a response of this status, closes the session, and says what the response must tell the client.
pub(crate) async fn finish(inner: &Arc<Inner>, status: u16) -> Result<HeaderChanges> {
    if let Some(changes) = finish_now(inner, status) {
        return Ok(changes);
    }
    let _gate = inner.gate.lock().await;
    let commits = commits(&inner.shared, status);
    let (was, dirty) = {
        let mut state = inner.state();
        if state.phase == Phase::Loaded && commits {
            let read = state.flash.consumed(&state.view.flash);
            if !read.is_empty() && shows_messages(status) && !inner.speculative {
                state.change(change::Change::Drop(read))?;
            }
        }
        let was = std::mem::replace(&mut state.phase, Phase::Finished);
        (was, state.is_dirty())
    };
    if was == Phase::Loaded && commits {
        if dirty {
            let mut job = take_job(inner);
            if job.has_steps() {
                // Steps that must not be left half-way outlive a client that goes away.
                let inner = Arc::clone(inner);
                to_its_end(Box::pin(async move { settle(&inner, &mut job).await })).await?;
            } else {
                settle(inner, &mut job).await?;
            }
        } else {
            let moved = Box::pin(refresh(inner)).await;
            // A cached response is not the place for a mere refresh; an id that a commit made known is told even there.
            if moved.is_some() && status != 304 {
                inner.state().line = moved;
            }
        }
    }
    let line = inner.state().line.take();
    Ok(headers(&inner.shared, line))
}

/// As [`finish`], where nothing is to be written and nobody is to be waited for: most responses.
pub(crate) fn finish_now(inner: &Inner, status: u16) -> Option<HeaderChanges> {
    let shared = &inner.shared;
    let mut state = inner.state();
    if matches!(state.phase, Phase::Untouched | Phase::Finished) {
        state.phase = Phase::Finished;
        return Some(HeaderChanges::none());
    }
    if state.phase == Phase::Loaded && commits(shared, status) {
        let moves = || state.base.as_ref().is_some_and(|base| is_due(shared, base, &state.view));
        let has_read = || state.flash.has_read();
        if state.is_dirty() || state.stale_cookie || has_read() || moves() {
            return None;
        }
    }
    // Somebody who reloads or commits at this moment is to be waited for.
    drop(inner.gate.try_lock().ok()?);
    state.phase = Phase::Finished;
    let line = state.line.take();
    drop(state);
    Some(headers(shared, line))
}

/// What commits so far have made known, for a response that replaces one whose own commit failed.
pub(crate) fn told_so_far(inner: &Inner) -> HeaderChanges {
    let mut state = inner.state();
    match state.phase {
        Phase::Untouched => HeaderChanges::none(),
        _ => headers(&inner.shared, state.line.take()),
    }
}

/// Commits now. Runs to its end even when the caller goes away.
pub(crate) async fn commit_now(inner: &Arc<Inner>) -> Result<()> {
    let inner = Arc::clone(inner);
    to_its_end(Box::pin(async move {
        let _gate = inner.gate.lock().await;
        let dirty = {
            let state = inner.state();
            state.writable()?;
            state.is_dirty()
        };
        if dirty && !settle(&inner, &mut take_job(&inner)).await? {
            return Err(gone());
        }
        Ok(())
    }))
    .await
}

/// Whether the handler of a response with this status did its work: 408 and 5xx say that it did not.
fn commits(shared: &Shared, status: u16) -> bool {
    !matches!(status, 408 | 500..) || shared.policy.commit_on_server_error
}

/// Whether the page of a response with this status is shown: not where it is a redirect, has no content, or only says that
/// the handler did not finish.
fn shows_messages(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 205 | 300..=399 | 408 | 500..)
}

fn take_job(inner: &Inner) -> Box<Job> {
    let mut state = inner.state();
    let view = Arc::clone(&state.view);
    let loaded = state.original.take().unwrap_or_else(|| Arc::clone(&view));
    // Boxed, for it would be moved with every future that it is in.
    let job = Box::new(Job {
        doomed: state.doomed.take(),
        base: state.base.clone(),
        loaded,
        log: std::mem::take(&mut state.log),
        view: Some(view),
        rotate: std::mem::take(&mut state.rotate),
    });
    state.flash.pushed(change::pushed_ids(&job.log));
    job
}

/// What is to be put back unless it was committed, also when a closure of an update panics.
struct Unsettled<'j> {
    inner: &'j Inner,
    job: &'j mut Job,
    settled: bool,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (mut state, job) = (self.inner.state(), &mut *self.job);
        // In front of what was changed meanwhile, so that another commit may try again.
        let meanwhile = std::mem::replace(&mut state.log, std::mem::take(&mut job.log));
        state.log.extend(meanwhile);
        state.original = Some(Arc::clone(&job.loaded));
        state.rotate |= job.rotate;
        state.doomed = job.doomed.take().or(state.doomed.take());
    }
}

/// Runs a job and takes its outcome over; whether the session is still there. What could not be committed is as it was.
async fn settle(inner: &Inner, job: &mut Job) -> Result<bool> {
    let mut unsettled = Unsettled { inner, job, settled: false };
    let outcome = commit::run(&inner.shared, unsettled.job).await?;
    unsettled.settled = true;
    let mut state = inner.state();
    match outcome {
        Outcome::Committed(Committed { base, content, line }) => {
            if line.is_some() {
                state.line = line;
            }
            state.stale_cookie &= state.line.is_none();
            // Destroyed meanwhile by another handle: what was committed is not to be seen again.
            if state.doomed.is_some() {
                return Ok(true);
            }
            match base {
                Some(base) => state.rebase(base, content)?,
                None => {
                    state.base = None;
                    state.rebase_view(content)?;
                }
            }
            Ok(true)
        }
        Outcome::Gone => {
            if state.phase == Phase::Loaded {
                state.phase = Phase::Gone;
            }
            state.line = None;
            state.stale_cookie = false;
            state.start_over(inner.shared.now());
            Ok(false)
        }
    }
}

/// Moves the idle deadline of a session that was only read, if that is due, and says what the client is to be told of it.
/// It never turns a good response into an error.
async fn refresh(inner: &Inner) -> Option<Line> {
    let shared = &inner.shared;
    let (base, content, stale) = {
        let state = inner.state();
        let base = state.base.clone()?;
        if !is_due(shared, &base, &state.view) && !state.stale_cookie {
            return None;
        }
        (base, Arc::clone(&state.view), state.stale_cookie)
    };
    let outcome = match (&shared.backend, &base) {
        (Backend::Store { vault, .. }, Base::Stored(stored)) => {
            commit::in_place(shared, vault, stored, (&content, &[]), None, 1).await
        }
        _ => {
            let (base, log) = (Some(base.clone()), Vec::new());
            let mut job = Job { doomed: None, base, loaded: content, log, view: None, rotate: stale };
            commit::run(shared, &mut job).await
        }
    };
    match outcome {
        Ok(Outcome::Committed(Committed { base, line, .. })) => {
            let resigned = stored(base.as_ref())
                .filter(|_| stale)
                .map(|stored| Line::Id(stored.id.clone(), stored.version.header.deadline));
            line.or(resigned)
        }
        Ok(Outcome::Gone) => None,
        Err(error) => {
            tracing::debug!(%error, "a session's idle deadline was not moved; a later request does it");
            None
        }
    }
}

fn is_due(shared: &Shared, base: &Base, content: &Content) -> bool {
    let written = match base {
        Base::Stored(stored) => stored.version.header.deadline,
        Base::Client { deadline } => *deadline,
    };
    !content.is_empty() && shared.policy.wants_refresh(content, written, shared.now())
}

fn headers(shared: &Shared, line: Option<Line>) -> HeaderChanges {
    let left = |deadline: u64| Duration::from_secs(deadline.saturating_sub(shared.now()).div_ceil(1_000));
    let cookie = line.map(|line| match line {
        Line::Id(id, deadline) => {
            let signer = &shared.signer;
            shared.cookie.set(signer.length(), |line| signer.write(&id, line), left(deadline))
        }
        Line::Sealed(value, deadline) => {
            shared.cookie.set(value.len(), |line| line.push_str(&value), left(deadline))
        }
        Line::Remove => shared.cookie.remove(),
    });
    HeaderChanges { cookie, consulted: true }
}

/// Runs a future to its end, whatever becomes of whoever waits for it: at once if it never waits, as with an engine in
/// this process; else as a task of its own, which holds nobody up when its caller stops looking.
async fn to_its_end<T: Send + 'static>(mut future: BoxFuture<'static, Result<T>>) -> Result<T> {
    let runtime = Handle::try_current().map_err(|_| {
        Error::new(ErrorKind::Internal, "a session can only be committed within a tokio runtime")
    })?;
    let at_once = std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        })
    });
    if let Some(result) = at_once.await {
        return result;
    }
    runtime.spawn(future.in_current_span()).await.map_err(|_| {
        Error::new(
            ErrorKind::Internal,
            "the commit was stopped: an update closure panicked, or the runtime shut down",
        )
    })?
}
