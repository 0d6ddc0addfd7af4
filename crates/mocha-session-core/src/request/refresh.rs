//! The refresh of a session that was only read: moves its idle deadline if that is due.

use std::sync::Arc;

use super::answer::token_line;
use crate::commit::{self, Committed, Outcome, Pending};
use crate::error::Result;
use crate::mutant;
use crate::session::base::Base;
use crate::session::shared::{Backend, Shared};
use crate::session::state::{Inner, State, stored};

/// Moves the idle deadline of a session that was only read, if that is due, and stores the line for
/// the client. It never turns a good response into an error, and never waits for a running commit.
pub(super) async fn refresh(inner: &Inner, status: u16) -> Result<()> {
    let shared = &inner.shared;
    let (base, content, stale, dated) = {
        let state = inner.state();
        let Some(base) = state.base.clone() else { return Ok(()) };
        if !is_due(shared, &state, status) && !state.stale_cookie {
            return Ok(());
        }
        (base, Arc::clone(&state.view), state.stale_cookie, state.tells_deadline())
    };
    // A refresh does not change the headers of a cached response. Another response will carry them.
    let answers = inner.tells && (status != 304 || mutant("a 304 tells"));
    let tells = answers && dated;
    let before = stored(Some(&base)).filter(|_| !dated);
    let before = before.map(|stored| stored.version.revision.clone());
    let outcome = match (&shared.backend, &base) {
        (Backend::Store(vault), Base::Stored(stored)) => {
            let Some(mut turn) = vault.turn_now(&stored.place.key) else { return Ok(()) };
            // A cookie is written again only with a write, because a write shows that the session
            // still has this id.
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

/// Returns whether the idle deadline must be moved, or the client must receive one that was moved.
pub(super) fn is_due(shared: &Shared, state: &State, status: u16) -> bool {
    let (Some(base), content) = (&state.base, &*state.view) else { return false };
    let (written, told) = match base {
        Base::Stored(stored) => (stored.version.header.deadline, content.told),
        // The client knows only the deadline that it was sent.
        Base::Client { deadline } => (*deadline, shared.policy.told(content, *deadline)),
    };
    let untold =
        status != 304 && state.via.cookie() && told != shared.policy.told(content, written);
    !content.is_empty() && (untold || shared.policy.wants_refresh(content, written, shared.now()))
}
