//! New ids and last words: beginning, rotating and destroying a session. Each step leaves a state that is safe to stop in.

use std::sync::Arc;

use super::change::{self, Change};
use super::commit::{Committed, Outcome, ROUNDS, begun, committed, contended};
use super::load::reopen;
use super::state::{Line, Stored};
use crate::content::{Content, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::manager::Shared;
use crate::owners::{self, Entry, Seen};
use crate::queue::Turn;
use crate::record::Kind;
use crate::store::StorageKey;
use crate::vault::{Attempt, Draft, Sealed, Vault, pause};
use crate::wire::Text;

/// Stores a new session, if there is anything to store. `view` is what the log makes of nothing, where that is known.
pub(super) async fn begin(
    shared: &Shared,
    vault: &Vault,
    log: &[Change],
    view: Option<Arc<Content>>,
) -> Result<Outcome> {
    let now = vault.now();
    let mut content = match view {
        Some(view) => view,
        None => Arc::new(change::replay(&Content::new(now), log)?),
    };
    begun(&mut content, log, now);
    if content.is_empty() {
        return Ok(Outcome::Committed(Committed { base: None, content, line: None }));
    }
    let login = Login::prepare(shared, vault, log).await?;
    let stored = create(shared, vault, &content, now).await?;
    match enter(shared, vault, &stored, None, &content, login.as_deref()).await {
        Ok(true) => Ok(Outcome::Committed(told(stored, content))),
        refused_or_failed => {
            Box::pin(discard(shared, vault, &stored)).await;
            refused_or_failed.map(|_| Outcome::Gone)
        }
    }
}

/// Gives the session a new id: the new record first, then a tombstone over the old one that names its successor.
///
/// A login is a rotation that restarts the session. A rotation that finds the old record gone has lost and leaves
/// nothing; a login that does starts fresh, from its own changes alone. `view` is what the log makes of what was loaded.
pub(super) async fn rotate(
    shared: &Shared,
    vault: &Vault,
    old: &Stored,
    was: (&Arc<Content>, &[Change]),
    view: Arc<Content>,
) -> Result<Outcome> {
    let mut new = None;
    match rotate_to(&mut new, shared, vault, old, was, view).await {
        Ok(true) => match new {
            Some((stored, content)) => Ok(Outcome::Committed(told(stored, content))),
            None => Err(contended()),
        },
        lost_or_failed => {
            if let Some((stored, _)) = new {
                Box::pin(discard(shared, vault, &stored)).await;
            }
            lost_or_failed.map(|_| Outcome::Gone)
        }
    }
}

/// The steps of a rotation; whether it won. What it leaves in `new` is the successor, to be discarded unless it did.
async fn rotate_to(
    new: &mut Option<(Stored, Arc<Content>)>,
    shared: &Shared,
    vault: &Vault,
    old: &Stored,
    (loaded, log): (&Arc<Content>, &[Change]),
    view: Arc<Content>,
) -> Result<bool> {
    let login = Login::prepare(shared, vault, log).await?;
    let mut turn = Some(shared.turn(&old.place.key).await);
    let mut version = Some(old.version.clone());
    let mut view = Some(view);
    let mut reloaded: Option<Arc<Content>> = None;
    let latest = turn.as_mut().and_then(Turn::latest);
    if let Some((latest, record)) = latest.filter(|(latest, _)| latest.revision != old.version.revision) {
        if latest.header.kind == Kind::Live {
            reloaded = Some(reopen(vault, &old.place, &record)?);
            version = Some(latest);
        } else {
            // Nothing will be written there any more.
            if let Some(turn) = turn.take() {
                turn.leave(&latest, Sealed::Found(record));
            }
            version = None;
        }
    }
    let commit = fastrand::u64(1..);
    for round in 0..ROUNDS {
        let now = vault.now();
        let base = reloaded.as_ref().unwrap_or(loaded);
        // Expired meanwhile is as good as gone.
        version = version.filter(|version| shared.policy.effective(base, version.header.deadline) > now);
        let fresh;
        let base = match (&version, &login) {
            (Some(_), _) => base,
            (None, Some(_)) => {
                fresh = Arc::new(Content::new(now));
                &fresh
            }
            (None, None) => return Ok(false),
        };
        let mut next = match view.take().filter(|_| Arc::ptr_eq(base, loaded)) {
            Some(view) => view,
            None => Arc::new(change::replay(base, log)?),
        };
        if next.touched != now {
            Arc::make_mut(&mut next).touched = now;
        }
        let Some((stored, content)) = write_new(shared, vault, new, next, now).await? else {
            return Ok(false);
        };
        if !enter(shared, vault, stored, Some((old, base)), content, login.as_deref()).await? {
            return Ok(false);
        }
        let Some(expected) = &version else { return Ok(true) };
        let draft = Draft::tombstone(Kind::Moved(stored.place.key), now, shared.policy.tombstone);
        match vault.replace(&old.place, expected, commit, draft).await? {
            Attempt::Done(done, record) => {
                if let Some(turn) = turn.take() {
                    turn.leave(&done, record);
                }
                if let Some(was) = base.owner.as_ref().filter(|was| content.owner.as_ref() != Some(was)) {
                    forget(shared, vault, was).await;
                }
                return Ok(true);
            }
            Attempt::Changed(found) => match found.live() {
                Some((changed, record)) => {
                    reloaded = Some(reopen(vault, &old.place, &record)?);
                    version = Some(changed);
                    pause(round).await;
                }
                None => version = None,
            },
        }
    }
    Err(contended())
}

/// Ends a session for good, wherever a rotation may have taken it; whether it was alive.
pub(super) async fn destroy(
    shared: &Shared,
    vault: &Vault,
    stored: &Stored,
    content: &Content,
) -> Result<bool> {
    let ended = {
        let mut turn = shared.turn(&stored.place.key).await;
        let known = turn.latest().map_or_else(|| stored.version.clone(), |(version, _)| version);
        owners::end(vault, stored.place.key, Some(known), shared.policy.tombstone).await?
    };
    if let Some(owner) = &content.owner {
        forget(shared, vault, owner).await;
    }
    Ok(ended)
}

/// A login under way: what its owner's index said before anything was written.
struct Login {
    owner: Text,
    handle: u64,
    /// `None` where owners are not indexed.
    seen: Option<Seen>,
}

impl Login {
    async fn prepare(shared: &Shared, vault: &Vault, log: &[Change]) -> Result<Option<Box<Self>>> {
        let Some((owner, handle)) = change::login_of(log) else { return Ok(None) };
        let seen = match handle {
            0 => None,
            _ => Some(Box::pin(shared.owners.find(vault, owner)).await?),
        };
        Ok(Some(Box::new(Self { owner: owner.clone(), handle, seen })))
    }
}

async fn create(shared: &Shared, vault: &Vault, content: &Content, now: u64) -> Result<Stored> {
    let deadline = shared.policy.deadline(content);
    // A second id is for the case that cannot happen: 256 random bits that exist already.
    for _ in 0..2 {
        let id = SessionId::mint()?;
        let place = id.place();
        let draft = Draft { kind: Kind::Live, now, deadline, payload: content };
        if let Attempt::Done(version, _) = vault.create(&place, draft).await? {
            return Ok(Stored { id, place, version });
        }
    }
    Err(Error::new(ErrorKind::Internal, "the store says that a key made of 256 random bits is taken")
        .during("create"))
}

/// Creates the successor, or writes over the one that was created in an earlier round; `None` when that was revoked.
async fn write_new<'n>(
    shared: &Shared,
    vault: &Vault,
    new: &'n mut Option<(Stored, Arc<Content>)>,
    next: Arc<Content>,
    now: u64,
) -> Result<Option<&'n (Stored, Arc<Content>)>> {
    let stored = match new.take() {
        None => create(shared, vault, &next, now).await?,
        Some((stored, _)) => {
            let deadline = shared.policy.deadline(&next);
            let draft = Draft { kind: Kind::Live, now, deadline, payload: &*next };
            let again = vault.replace(&stored.place, &stored.version, fastrand::u64(1..), draft);
            match Box::pin(again).await? {
                Attempt::Done(version, _) => Stored { version, ..stored },
                Attempt::Changed(_) => return Ok(None),
            }
        }
    };
    Ok(Some(new.insert((stored, next))))
}

/// Lists an owned session under its new key before it can be reached; `false` when it, or all its owner's, were revoked.
async fn enter(
    shared: &Shared,
    vault: &Vault,
    new: &Stored,
    old: Option<(&Stored, &Content)>,
    content: &Content,
    login: Option<&Login>,
) -> Result<bool> {
    match content.owner.as_ref().filter(|owner| owner.handle != 0) {
        Some(owner) => Box::pin(enter_for(owner, shared, vault, new, old, content, login)).await,
        None => Ok(true),
    }
}

async fn enter_for(
    owner: &Owner,
    shared: &Shared,
    vault: &Vault,
    new: &Stored,
    old: Option<(&Stored, &Content)>,
    content: &Content,
    login: Option<&Login>,
) -> Result<bool> {
    let (key, until) = (new.place.key, new.version.header.deadline);
    let Some(login) = login else {
        let from = old.map_or(key, |(old, _)| old.place.key);
        return shared.owners.follow(vault, owner, content.label.as_ref(), (from, key), until).await;
    };
    // A login of the same owner goes on under the same handle; then the entry must cover the old record as well.
    let same = old.filter(|(_, base)| base.owner.as_ref() == Some(owner)).map(|(old, _)| old.place.key);
    let entry = Entry {
        handle: login.handle,
        keys: std::iter::once(key).chain(same).collect(),
        moved: content.touched,
        created: content.created,
        until,
        label: content.label.clone(),
        revoked: false,
    };
    let Some(seen) = &login.seen else { return Ok(true) };
    let Some(room) = shared.owners.enter(vault, &login.owner, seen, &entry).await? else {
        return Ok(false);
    };
    let mut gone = Vec::new();
    for (handle, keys) in room {
        end_all(shared, vault, &keys).await?;
        gone.push(handle);
    }
    if !gone.is_empty() {
        shared.owners.forget(vault, &login.owner, &gone).await?;
    }
    Ok(true)
}

/// Ends every session under these keys.
pub(crate) async fn end_all(shared: &Shared, vault: &Vault, keys: &[StorageKey]) -> Result<()> {
    for key in keys {
        owners::end(vault, *key, None, shared.policy.tombstone).await?;
    }
    Ok(())
}

/// Removes a record that no client knows of. If that fails it expires unseen, so the failure is not the request's.
async fn discard(shared: &Shared, vault: &Vault, stored: &Stored) {
    if let Err(error) =
        owners::end(vault, stored.place.key, Some(stored.version.clone()), shared.policy.tombstone).await
    {
        tracing::warn!(%error, "a session record that no client knows of was left to expire");
    }
}

/// Takes a session that is gone from its owner's index. A stale entry harms nobody, so a failure is not the request's.
async fn forget(shared: &Shared, vault: &Vault, owner: &Owner) {
    if owner.handle == 0 {
        return;
    }
    if let Err(error) = Box::pin(shared.owners.forget(vault, &owner.name, &[owner.handle])).await {
        tracing::warn!(%error, "an ended session stays listed until it would have expired");
    }
}

fn told(stored: Stored, content: Arc<Content>) -> Committed {
    let line = Line::Id(stored.id.clone(), stored.version.header.deadline);
    let version = stored.version.clone();
    committed(&stored, version, content, Some(line))
}
