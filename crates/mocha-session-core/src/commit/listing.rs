//! The updates of the owner index that a commit makes.

use crate::error::Result;
use crate::ledger::ending::{By, end};
use crate::ledger::owners::{Arrival, Entered, IndexView, Location};
use crate::ledger::vault::Vault;
use crate::mutant;
use crate::record::content::{Content, Owner};
use crate::session::base::Stored;
use crate::session::doubt::NewSession;
use crate::session::shared::Shared;
use crate::values::wire::Text;

/// The session that a rotation starts from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'o> {
    pub(crate) stored: &'o Stored,
    pub(crate) content: &'o Content,
}

/// A login in progress, with the owner index as it was before anything was written.
pub(crate) struct Login {
    owner: Text,
    view: IndexView,
}

impl Login {
    /// Reads the owner index. Returns `None` if this is not a login, or owners are not indexed.
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

/// Adds an owned session's new key to the index, before the session can be reached under it.
pub(crate) async fn enter(
    shared: &Shared,
    vault: &Vault,
    new: &NewSession,
    old: Option<Origin<'_>>,
    login: Option<&Login>,
) -> Result<Entered> {
    match new.content.owner.as_ref().filter(|owner| owner.handle != 0) {
        Some(_) if mutant("a new id is not listed") => Ok(Entered::Listed),
        // Boxed, as all rare steps are, so that the futures of common commits stay small.
        Some(owner) => Box::pin(enter_for(owner, shared, vault, new, old, login)).await,
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
    // With the same owner, the handle stays the same and the entry covers the old key too.
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

/// Writes a later deadline to the owner index, before it is written to the session. Returns `false`
/// if the session was revoked.
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

/// Writes a changed label to the owner index, after it was written to the session. An error is only
/// traced, because the next refresh writes the label again.
pub(crate) async fn relabel(shared: &Shared, vault: &Vault, base: &Content, next: &Content) {
    let Some(owner) = next.owner.as_ref().filter(|owner| owner.handle != 0) else { return };
    if next.label == base.label {
        return;
    }
    let told = shared.owners.relabel(vault, &owner.name, owner.handle, next.label.as_ref());
    if let Err(error) = Box::pin(told).await {
        tracing::warn!(%error, "a session's new label is not in its owner index yet");
    }
}

/// Updates the indexes after a session got its new id: removes the entry of a previous owner, or
/// writes a changed label.
pub(crate) async fn moved_on(shared: &Shared, vault: &Vault, base: &Content, next: &Content) {
    match base.owner.as_ref().filter(|was| next.owner.as_ref() != Some(was)) {
        Some(was) => forget(shared, vault, was).await,
        None if base.owner.is_some() => relabel(shared, vault, base, next).await,
        None => {}
    }
}

/// Removes a session that has ended from its owner's index. An error is only traced, because a
/// stale entry does no harm.
pub(crate) async fn forget(shared: &Shared, vault: &Vault, owner: &Owner) {
    if owner.handle == 0 {
        return;
    }
    if let Err(error) = Box::pin(shared.owners.forget(vault, &owner.name, &[owner.handle])).await {
        tracing::warn!(%error, "an ended session stays listed until it would have expired");
    }
}

/// Ends a session that no client knows of. An error is only traced, because the session expires.
pub(crate) async fn discard(
    shared: &Shared,
    vault: &Vault,
    NewSession { stored, content }: &NewSession,
) {
    let known = Some(stored.version.clone());
    let ended =
        Box::pin(end(vault, stored.place.key, known, By::Others, shared.policy.tombstone)).await;
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
