//! Ends the sessions that a request destroyed.

use super::Pending;
use super::listing::forget;
use crate::error::Result;
use crate::ledger::ending::{By, End, end, end_all};
use crate::ledger::vault::Vault;
use crate::observe::{Ending, Event};
use crate::session::base::Doomed;
use crate::session::shared::Shared;
use crate::session::state::Line;

/// Ends the sessions that the request destroyed. If another request of the browser has already
/// ended or rotated one, the response does not remove the cookie.
pub(crate) async fn end_doomed(
    shared: &Shared,
    vault: &Vault,
    pending: &mut Pending,
) -> Result<()> {
    while let Some(doomed) = pending.doomed.last() {
        let ended = destroy(shared, vault, doomed).await?;
        if let (End::Ours, Doomed::Stored { id, owner, .. }) = (&ended, doomed) {
            shared.tell(Some(id), owner.as_ref(), |session| Event::Ended {
                session,
                how: Ending::Destroyed,
            });
        }
        match ended {
            End::ByItself => pending.superseded |= pending.line.is_none(),
            End::Deleted(error) => return Err(error),
            End::Ours | End::ByOthers | End::Nothing => {
                (pending.line, pending.superseded) = (Some(Line::Remove), false);
            }
        }
        pending.doomed.pop();
    }
    Ok(())
}

/// Ends a session, or its successor if it was rotated.
async fn destroy(shared: &Shared, vault: &Vault, doomed: &Doomed) -> Result<End> {
    let Doomed::Stored { key, version, owner, .. } = doomed else { return Ok(End::Ours) };
    let (key, tombstone) = (*key, shared.policy.tombstone);
    let mut ended = {
        let mut turn = vault.turn(&key).await?;
        let known = turn.latest().map(|(version, _)| version).or_else(|| version.clone());
        end(vault, key, known, By::Itself, tombstone).await?
    };
    let Some(owner) = owner.as_ref().filter(|owner| owner.handle != 0) else { return Ok(ended) };
    if let End::Nothing = ended {
        // It was rotated so long ago that its tombstone has expired. The owner index has its
        // current key.
        let marked =
            shared.owners.mark(vault, &owner.name, false, |entry| entry.handle == owner.handle);
        for entry in Box::pin(marked).await?.iter().filter(|entry| entry.handle == owner.handle) {
            let keys: Vec<_> = entry.locations.iter().map(|location| location.key).collect();
            end_all(vault, &keys, tombstone).await?;
            ended = End::Ours;
        }
    }
    forget(shared, vault, owner).await;
    Ok(ended)
}
