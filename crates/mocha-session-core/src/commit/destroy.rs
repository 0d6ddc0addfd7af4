//! Ending the session that a request destroyed.

use super::identity::forget;
use crate::error::Result;
use crate::ledger::ending::{By, End, end, end_all};
use crate::ledger::vault::Vault;
use crate::session::shared::Shared;
use crate::session::state::Doomed;

/// Ends a session for good, wherever a rotation may have taken it.
pub(crate) async fn destroy(shared: &Shared, vault: &Vault, doomed: &Doomed) -> Result<End> {
    let Doomed::Stored { key, version, owner } = doomed else { return Ok(End::Ours) };
    let (key, tombstone) = (*key, shared.policy.tombstone);
    let mut ended = {
        let mut turn = shared.turn(vault, &key).await?;
        let known = turn.latest().map(|(version, _)| version).or_else(|| version.clone());
        end(vault, key, known, By::Itself, tombstone).await?
    };
    let Some(owner) = owner.as_ref().filter(|owner| owner.handle != 0) else { return Ok(ended) };
    if let End::Nothing = ended {
        // It was rotated so long ago that the tombstone is gone. Its owner's index knows where it
        // went.
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
