//! The span of a commit.

use std::sync::Arc;

use super::{Committed, Edit, Outcome, Pending, in_place, run};
use crate::error::Result;
use crate::ledger::queue::Turn;
use crate::ledger::vault::Vault;
use crate::observe::spans;
use crate::record::content::Content;
use crate::session::base::{Base, Stored};
use crate::session::shared::Shared;
use crate::session::state::stored;

/// Runs a commit within a span.
pub(crate) async fn run_in_span(shared: &Shared, pending: &mut Pending) -> Result<Outcome> {
    let name = |base: Option<&Base>| stored(base).map(|known| known.id.fingerprint(&shared.scope));
    let from = name(pending.base.as_ref());
    let span = spans::commit(shared.capabilities.engine(), from.as_deref());
    let done = spans::within(span.clone(), Box::pin(run(shared, pending))).await?;
    match &done {
        Outcome::Gone => span.record("outcome", "gone"),
        Outcome::Committed(Committed { base, .. }) => {
            let to = name(base.as_ref()).filter(|to| Some(to) != from.as_ref());
            if let Some(to) = to {
                span.record("session.id", to).record("session.previous_id", from);
            }
            span.record("outcome", "committed")
        }
    };
    Ok(done)
}

/// Moves the idle deadline of a session in a store, within a span if a subscriber wants one. It
/// makes one attempt, because a later request does it as well.
pub(crate) async fn refresh(
    shared: &Shared,
    vault: &Vault,
    stored: &Stored,
    loaded: &Arc<Content>,
    tells: bool,
    renews: bool,
    turn: &mut Turn,
) -> Result<Outcome> {
    let (log, view) = (&[][..], None);
    let mut edit =
        Edit { shared, vault, stored, loaded, log, login: false, view, tells, renews, rounds: 1 };
    let mut doubt = None;
    let moving = in_place(&mut edit, turn, &mut doubt);
    if !spans::wanted() {
        return moving.await;
    }
    let span = spans::commit(vault.engine, Some(&stored.id.fingerprint(&shared.scope)));
    let moved = spans::within(span.clone(), Box::pin(moving)).await?;
    span.record("outcome", "refreshed");
    Ok(moved)
}
