//! When and how a request's changes are committed, and what its response says.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::change;
use super::commit::{self, Committed, Job, Outcome};
use super::state::{Base, Inner, Line, Phase, gone};
use super::stored;
use crate::content::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::headers::HeaderChanges;
use crate::manager::{Backend, Shared};

/// Commits for a response of this status, closes the session, and says what the response must tell the client.
pub(crate) async fn finish(inner: &Arc<Inner>, status: u16) -> Result<HeaderChanges> {
    if close_untouched(inner) {
        return Ok(HeaderChanges::none());
    }
    let _gate = inner.gate.lock().await;
    let commits = status < 500 || inner.shared.policy.commit_on_server_error;
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
            let job = take_job(inner);
            if job.has_steps() {
                // Steps that must not be left half-way outlive a client that goes away.
                let inner = Arc::clone(inner);
                detached(async move { settle(&inner, job).await }).await??;
            } else {
                settle(inner, job).await?;
            }
        } else {
            let moved = refresh(inner).await;
            // A cached response is not the place for a mere refresh; an id that a commit made known is told even there.
            if moved.is_some() && status != 304 {
                inner.state().line = moved;
            }
        }
    }
    let line = inner.state().line.take();
    Ok(headers(&inner.shared, line))
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
    detached(async move {
        let _gate = inner.gate.lock().await;
        let dirty = {
            let state = inner.state();
            state.writable()?;
            state.is_dirty()
        };
        if dirty && !settle(&inner, take_job(&inner)).await? {
            return Err(gone());
        }
        Ok(())
    })
    .await?
}

fn close_untouched(inner: &Inner) -> bool {
    let mut state = inner.state();
    let untouched = matches!(state.phase, Phase::Untouched | Phase::Finished);
    if untouched {
        state.phase = Phase::Finished;
    }
    untouched
}

/// Whether whoever gets a response of this status sees what it says.
fn shows_messages(status: u16) -> bool {
    !(matches!(status, 204 | 304) || (300..400).contains(&status) || status >= 500)
}

fn take_job(inner: &Inner) -> Job {
    let mut state = inner.state();
    let view = state.view.clone();
    let loaded = state.original.take().unwrap_or_else(|| view.clone());
    let job = Job {
        doomed: state.doomed.take(),
        base: state.base.clone(),
        loaded,
        log: std::mem::take(&mut state.log),
        view: Some(view),
        rotate: std::mem::take(&mut state.rotate),
    };
    state.flash.pushed(change::pushed_ids(&job.log));
    job
}

/// Runs a job and takes its outcome over; whether the session is still there. What could not be committed is as it was.
async fn settle(inner: &Inner, mut job: Job) -> Result<bool> {
    let outcome = commit::run(&inner.shared, &mut job).await;
    let mut state = inner.state();
    match outcome {
        Ok(Outcome::Committed(Committed { base, content, line })) => {
            if line.is_some() {
                state.line = line;
            }
            state.stale_cookie &= state.line.is_none();
            match base {
                Some(base) => state.rebase(base, content)?,
                None => {
                    state.base = None;
                    state.rebase_view(content)?;
                }
            }
            Ok(true)
        }
        Ok(Outcome::Gone) => {
            if state.phase == Phase::Loaded {
                state.phase = Phase::Gone;
            }
            state.line = None;
            state.stale_cookie = false;
            state.start_over(inner.shared.now());
            Ok(false)
        }
        Err(error) => {
            // Put back in front of what was changed meanwhile, so that another commit may try again.
            let meanwhile = std::mem::replace(&mut state.log, job.log);
            state.log.extend(meanwhile);
            state.original = Some(job.loaded);
            state.rotate |= job.rotate;
            state.doomed = job.doomed.or(state.doomed.take());
            Err(error)
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
        (base, state.view.clone(), state.stale_cookie)
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
                .map(|stored| Line::Set(shared.signer.write(&stored.id), stored.version.header.deadline));
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
    let cookie = line.map(|line| match line {
        Line::Set(value, deadline) => {
            let left = deadline.saturating_sub(shared.now()).div_ceil(1_000);
            shared.cookie.set(&value, Duration::from_secs(left))
        }
        Line::Remove => shared.cookie.remove(),
    });
    HeaderChanges { cookie, consulted: true }
}

/// Runs a future as a task of its own, so that it ends even when whoever waits for it does not.
async fn detached<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T> {
    tokio::spawn(future.in_current_span()).await.map_err(|_| {
        Error::new(
            ErrorKind::Internal,
            "the commit was stopped: an update closure panicked, or the runtime shut down",
        )
    })
}
