//! Commits a client-side session. There is no store, so there are no conflicts and no tombstones.

use std::sync::Arc;

use crate::commit::{Committed, Outcome, Pending, begun};
use crate::error::Result;
use crate::observe::{Ending, Event};
use crate::record::client_side::ClientSide;
use crate::session::base::Base;
use crate::session::change;
use crate::session::shared::Shared;
use crate::session::state::Line;

/// Runs the commit, and encrypts the result into the cookie line.
pub(crate) fn run(shared: &Shared, client: &ClientSide, pending: &mut Pending) -> Result<Outcome> {
    let now = shared.now();
    if !std::mem::take(&mut pending.doomed).is_empty() {
        pending.line = Some(Line::Remove);
        shared.tell(None, None, |session| Event::Ended { session, how: Ending::Destroyed });
    }
    let deadline = match &pending.base {
        Some(Base::Client { deadline }) => Some(*deadline),
        _ => None,
    };
    let base = &pending.loaded;
    if deadline.is_some_and(|deadline| shared.policy.effective(base, deadline) <= now) {
        return Ok(Outcome::Gone);
    }
    let mut next = match pending.view.take() {
        Some(view) => view,
        None => {
            let mut next = change::replay(base, &pending.log)?;
            if deadline.is_none() {
                begun(shared, &mut next, pending.plan.logs_in(), now);
            }
            Arc::new(next)
        }
    };
    let unchanged = |base, content, line| {
        Ok(Outcome::Committed(Committed { base, content, line, superseded: false }))
    };
    if next.is_empty() {
        if deadline.is_some() {
            let owner = base.owner.as_ref();
            shared.tell(None, owner, |session| Event::Ended { session, how: Ending::Emptied });
        }
        let line = pending.line.take().or(deadline.map(|_| Line::Remove));
        return unchanged(None, next, line);
    }
    let refresh = deadline.is_none_or(|deadline| shared.policy.wants_refresh(base, deadline, now));
    if next.same(base) && !refresh && !pending.rotate {
        return unchanged(pending.base.clone(), next, pending.line.take());
    }
    if refresh && next.touched != now {
        Arc::make_mut(&mut next).touched = now;
    }
    let deadline = shared.policy.deadline(&next);
    let told = shared.policy.told(&next, deadline);
    let sealed = client.seal(&next, deadline, now)?;
    let (owner, bytes) = (next.owner.as_ref(), sealed.len());
    shared.tell(None, owner, |session| match (&pending.base, pending.log.is_empty()) {
        (None, _) => Event::Created { session },
        (Some(_), true) => Event::Refreshed { session },
        (Some(_), false) => Event::Committed { session, rounds: 1, bytes },
    });
    if pending.plan.logs_in() {
        shared.tell(None, owner, |session| Event::LoggedIn { session });
    }
    unchanged(Some(Base::Client { deadline }), next, Some(Line::Sealed(sealed, told)))
}
