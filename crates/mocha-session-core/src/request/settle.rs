//! A request's commit: takes the changes, runs them, and applies the outcome. Changes that could
//! not be committed are put back.

use std::sync::Arc;

use super::answer::token_line;
use crate::commit::{self, Committed, Outcome, Pending, Plan};
use crate::error::Result;
use crate::observe::{Event, spans};
use crate::session::change;
use crate::session::state::{Inner, Phase, Standing, State, gone, rebase, stored};

pub(super) fn take_pending(inner: &Inner) -> Box<Pending> {
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
    // Boxed, because otherwise it would be moved with every future that contains it.
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

/// The changes that are put back unless they were committed, even if an update's closure panics.
struct Unsettled<'j> {
    inner: &'j Inner,
    pending: &'j mut Pending,
    settled: bool,
    /// Whether a login was refused. The session is then as it was loaded.
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
            // Another handle destroyed the session in the meantime, so a successor that may exist
            // must be ended.
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
        // Put before the changes that were made in the meantime, so that another commit can try
        // again.
        let meanwhile = std::mem::replace(&mut state.log, std::mem::take(&mut pending.log));
        state.log.extend(meanwhile);
        state.edits += 1;
        state.original = Some(Arc::clone(&pending.loaded));
        state.base.clone_from(&pending.base);
        state.rotate |= pending.rotate;
        state.doubt = pending.doubt.take();
    }
}

/// Applies the results of the completed steps of a pending commit.
fn note_steps(state: &mut State, pending: &mut Pending) {
    if pending.superseded && matches!(state.standing, Standing::Ordinary) {
        state.standing = Standing::Superseded;
    }
    if let Some(line) = pending.line.take() {
        state.line = Some(line);
    }
}

/// Runs a pending commit and applies its outcome. Returns whether the session still exists. Changes
/// that could not be committed are put back.
pub(super) async fn settle(inner: &Inner, pending: &mut Pending) -> Result<bool> {
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
                // Another handle destroyed the session in the meantime, so the committed session is
                // ended too.
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

/// Runs a pending commit. If the session would be too large, drops the oldest flash until it fits,
/// because otherwise a visitor who never opens a page that shows it would be locked out.
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
        // Nothing was written, so nothing must be dropped either.
        pending.log.truncate(changes);
    }
    done
}
