//! The commit of a session that the client keeps: no store, so no conflict and nothing to end.

use std::sync::Arc;

use crate::commit::{Committed, Job, Outcome, begun};
use crate::error::Result;
use crate::record::client_side::ClientSide;
use crate::session::change;
use crate::session::shared::Shared;
use crate::session::state::{Base, Line};

/// Does the job: what it leaves is sealed into the cookie line.
pub(crate) fn run(shared: &Shared, client: &ClientSide, job: &mut Job) -> Result<Outcome> {
    let now = shared.now();
    if !std::mem::take(&mut job.doomed).is_empty() {
        job.line = Some(Line::Remove);
    }
    let deadline = match &job.base {
        Some(Base::Client { deadline }) => Some(*deadline),
        _ => None,
    };
    let base = &job.loaded;
    if deadline.is_some_and(|deadline| shared.policy.effective(base, deadline) <= now) {
        return Ok(Outcome::Gone);
    }
    let mut next = match job.view.take() {
        Some(view) => view,
        None => {
            let mut next = change::replay(base, &job.log)?;
            if deadline.is_none() {
                begun(shared, &mut next, &job.log, now);
            }
            Arc::new(next)
        }
    };
    let unchanged = |base, content, line| {
        Ok(Outcome::Committed(Committed { base, content, line, superseded: false }))
    };
    if next.is_empty() {
        let line = job.line.take().or(deadline.map(|_| Line::Remove));
        return unchanged(None, next, line);
    }
    let refresh = deadline.is_none_or(|deadline| shared.policy.wants_refresh(base, deadline, now));
    if next.same(base) && !refresh && !job.rotate {
        return unchanged(job.base.clone(), next, job.line.take());
    }
    if refresh && next.touched != now {
        Arc::make_mut(&mut next).touched = now;
    }
    let deadline = shared.policy.deadline(&next);
    let told = shared.policy.told(&next, deadline);
    let line = Line::Sealed(client.seal(&next, deadline, now)?, told);
    unchanged(Some(Base::Client { deadline }), next, Some(line))
}
