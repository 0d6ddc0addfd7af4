//! What a commit tells the index of the session's owner, and in which order.

use crate::error::Result;
use crate::ledger::ending::{By, end};
use crate::ledger::owners::{Arrival, Entered, IndexView, Location};
use crate::ledger::vault::Vault;
use crate::mutant;
use crate::record::content::{Content, Owner};
use crate::session::doubt::NewSession;
use crate::session::shared::Shared;
use crate::session::state::Stored;
use crate::values::wire::Text;

/// The session that a new one goes on from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'o> {
    pub(crate) stored: &'o Stored,
    pub(crate) content: &'o Content,
}

/// A login under way: what its owner's index said before anything was written.
pub(crate) struct Login {
    owner: Text,
    view: IndexView,
}

impl Login {
    /// `None` where nobody logs in, or owners are not indexed.
    pub(crate) async fn prepare(
        shared: &Shared,
        vault: &Vault,
        content: &Content,
        login: bool,
    ) -> Result<Option<Box<Self>>> {
        let Some(owner) = content.owner.as_ref().filter(|owner| owner.handle != 0 && login) else {
            return Ok(None);
        };
        let view = Box::pin(shared.owners.find(vault, &owner.name)).await?;
        Ok(Some(Box::new(Self { owner: owner.name.clone(), view })))
    }
}

/// Lists an owned session under its new key before it can be reached.
pub(crate) async fn enter(
    shared: &Shared,
    vault: &Vault,
    new: &NewSession,
    old: Option<Origin<'_>>,
    login: Option<&Login>,
) -> Result<Entered> {
    match new.content.owner.as_ref().filter(|owner| owner.handle != 0) {
        Some(_) if mutant("a new id is not listed") => Ok(Entered::Listed),
        Some(owner) => enter_for(owner, shared, vault, new, old, login).await,
        None => Ok(Entered::Listed),
    }
}

pub(crate) async fn enter_for(
    owner: &Owner,
    shared: &Shared,
    vault: &Vault,
    NewSession { stored, content }: &NewSession,
    old: Option<Origin<'_>>,
    login: Option<&Login>,
) -> Result<Entered> {
    let (key, until) = (stored.place.key, stored.version.header.deadline);
    // The same owner goes on under the same handle; then the entry covers the old key as well.
    let from = old.filter(|old| old.content.owner.as_ref() == Some(owner));
    let Some(login) = login else {
        let (from, label) =
            from.map_or((key, None), |old| (old.stored.place.key, old.content.label.as_ref()));
        let to = Location { key, from: Some(from), until };
        let followed =
            shared.owners.follow(vault, &owner.name, owner.handle, from, to, label).await?;
        return Ok(if followed { Entered::Listed } else { Entered::Lost });
    };
    let arrival = Arrival {
        handle: owner.handle,
        key,
        until,
        at: content.created,
        label: content.label.clone(),
        from: from.map(|old| old.stored.place.key),
    };
    shared.owners.enter(vault, &login.owner, &login.view, &arrival).await
}

/// Tells the owner's index of a later deadline before the session has it; `false` when the session
/// was revoked.
pub(crate) async fn keep_listed(
    shared: &Shared,
    vault: &Vault,
    stored: &Stored,
    base: &Content,
    deadline: u64,
) -> Result<bool> {
    let Some(owner) = base.owner.as_ref().filter(|owner| owner.handle != 0) else {
        return Ok(true);
    };
    if mutant("a refresh is not listed") {
        return Ok(true);
    }
    let key = stored.place.key;
    let to = Location { key, from: None, until: deadline };
    let label = base.label.as_ref();
    Box::pin(shared.owners.follow(vault, &owner.name, owner.handle, key, to, label)).await
}

/// Tells the owner's index of another label, after the session has it. If that fails the next
/// refresh does it, so the failure is not the request's.
pub(crate) async fn relabel(shared: &Shared, vault: &Vault, base: &Content, next: &Content) {
    let Some(owner) = next.owner.as_ref().filter(|owner| owner.handle != 0) else { return };
    if next.label == base.label {
        return;
    }
    let told = shared.owners.relabel(vault, &owner.name, owner.handle, next.label.as_ref());
    if let Err(error) = Box::pin(told).await {
        tracing::warn!(%error, "a session's new label is not in its owner's list yet");
    }
}

/// What is left to do in the indexes when a session has its new id: another owner's entry goes,
/// another label is noted.
pub(crate) async fn moved_on(shared: &Shared, vault: &Vault, base: &Content, next: &Content) {
    match base.owner.as_ref().filter(|was| next.owner.as_ref() != Some(was)) {
        Some(was) => forget(shared, vault, was).await,
        None if base.owner.is_some() => relabel(shared, vault, base, next).await,
        None => {}
    }
}

/// Takes a session that is gone from its owner's index. A stale entry harms nobody, so a failure is
/// not the request's.
pub(crate) async fn forget(shared: &Shared, vault: &Vault, owner: &Owner) {
    if owner.handle == 0 {
        return;
    }
    if let Err(error) = Box::pin(shared.owners.forget(vault, &owner.name, &[owner.handle])).await {
        tracing::warn!(%error, "an ended session stays listed until it would have expired");
    }
}

/// Removes a record that no client knows of. If that fails it expires unseen, so the failure is not
/// the request's.
pub(crate) async fn discard(
    shared: &Shared,
    vault: &Vault,
    NewSession { stored, content }: &NewSession,
) {
    let known = Some(stored.version.clone());
    let ended = end(vault, stored.place.key, known, By::Others, shared.policy.tombstone).await;
    let dropped = match (ended, content.owner.as_ref().filter(|owner| owner.handle != 0)) {
        (Ok(_), Some(owner)) if mutant("a lost rotation drops its entry") => {
            forget(shared, vault, owner).await;
            Ok(())
        }
        (Ok(_), Some(owner)) => {
            Box::pin(shared.owners.drop_key(vault, &owner.name, stored.place.key)).await
        }
        (ended, _) => ended.map(drop),
    };
    if let Err(error) = dropped {
        tracing::warn!(%error, "a session record that no client knows of was left to expire");
    }
}
