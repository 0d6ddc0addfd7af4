//! New ids and last words: beginning, rotating and destroying a session. Each step leaves a state
//! that is safe to stop in.

use std::sync::Arc;

use crate::commit::{
    Committed, Edit, Outcome, ROUNDS, Snapshot, begun, committed, contended, relabel,
};
use crate::crypto::id::SessionId;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::ending::{By, end};
use crate::ledger::owners::{Arrival, Entered, Location, Seen};
use crate::ledger::queue::Turn;
use crate::ledger::vault::{Attempt, Draft, Found, Sealed, Vault, Version, doubtful, pause};
use crate::mutant;
use crate::record::content::{Content, Owner};
use crate::record::{CommitId, Header, Kind};
use crate::session::change::{self, Change};
use crate::session::doubt::Doubt;
use crate::session::shared::Shared;
use crate::session::shared::reopen;
use crate::session::state::{Line, Stored};
use crate::store::Revision;
use crate::values::wire::Text;

/// How many times a successor is written over while a migration moves it.
const MOVES: u32 = 8;

/// A new record of a session, and its content.
type New = (Stored, Arc<Content>);

/// Stores a new session, if there is anything to store. `view` is what the log makes of nothing,
/// where that is known.
pub(crate) async fn begin(
    shared: &Shared,
    vault: &Vault,
    log: &[Change],
    view: Option<Arc<Content>>,
    doubt: &mut Option<Box<Doubt>>,
) -> Result<Outcome> {
    let content = match view {
        Some(view) => view,
        None => {
            let now = vault.now();
            let mut content = change::replay(&Content::new(now), log)?;
            begun(shared, &mut content, log, now);
            Arc::new(content)
        }
    };
    if content.is_empty() {
        return Ok(Outcome::Committed(Committed {
            base: None,
            content,
            line: None,
            superseded: false,
        }));
    }
    let login = Login::prepare(shared, vault, &content, log).await?;
    let new = match doubt.take() {
        None => create(shared, vault, content, log.len(), doubt).await?,
        Some(open) => Box::pin(create_again(shared, vault, *open, doubt)).await?,
    };
    if new.1.owner.is_none() {
        return Ok(Outcome::Committed(told(new)));
    }
    Box::pin(list(shared, vault, new, login)).await
}

/// Lists a session that begins with a login; one that is refused is discarded.
async fn list(
    shared: &Shared,
    vault: &Vault,
    new: New,
    login: Option<Box<Login>>,
) -> Result<Outcome> {
    match enter(shared, vault, &new, None, login.as_deref()).await {
        Ok(Entered::Listed) => Ok(Outcome::Committed(told(new))),
        refused_or_failed => {
            discard(shared, vault, &new).await;
            refused_or_failed.map(|_| Outcome::Gone)
        }
    }
}

/// How a rotation ended.
enum Rotated {
    /// The session has its new id.
    Won,
    /// There was nothing left to give a new id to: the old one is ended.
    Retired(Arc<Content>),
    /// Another request moved or ended the session first.
    Lost,
}

/// Gives the session a new id: the new record first, then a tombstone over the old one that names
/// its successor.
///
/// A login is a rotation that restarts the session. A rotation that finds the old record gone has
/// lost and leaves nothing; a login that does starts fresh, from its own changes alone.
pub(crate) async fn rotate(edit: &mut Edit<'_>, doubt: &mut Option<Box<Doubt>>) -> Result<Outcome> {
    let Edit { shared, vault, stored: old, .. } = *edit;
    let mut new = None;
    let mut commit = fastrand::u64(1..);
    if let Some(known) = doubt.as_deref() {
        let attempt = vault.resolve(&old.place, &known.version, known.commit).await?;
        let known = doubt.take().map(|known| (known.commit, known.base, known.successor));
        match (attempt, known) {
            (Attempt::Done(..), Some((_, base, Some(won)))) => {
                moved_on(shared, vault, &base, &won.1).await;
                return Ok(Outcome::Committed(told(won)));
            }
            // What may still arrive names this successor, and is recognised by this commit id.
            (Attempt::Open, Some((known, _, successor))) => (commit, new) = (known, successor),
            (_, Some((.., Some(lost)))) => discard(shared, vault, &lost).await,
            _ => {}
        }
    }
    let changes = edit.log.len();
    let mut open = None;
    let done = rotate_to(&mut new, edit, commit, &mut open).await;
    match (done, new) {
        (Ok(Rotated::Won), Some(won)) => Ok(Outcome::Committed(told(won))),
        (Ok(Rotated::Won), None) => Err(contended()),
        (Ok(Rotated::Retired(content)), new) => {
            if let Some(new) = new {
                Box::pin(discard(shared, vault, &new)).await;
            }
            let line = Some(Line::Remove);
            Ok(Outcome::Committed(Committed { base: None, content, line, superseded: false }))
        }
        (Err(error), Some(new)) if open.is_some() => {
            // The last step may have been done: the successor may be the session.
            if let Some(open) = open {
                let Snapshot { version, content: base } = *open;
                let successor = Some(new);
                *doubt = Some(Box::new(Doubt { commit, changes, version, base, successor }));
            }
            Err(doubtful(true, error))
        }
        (lost_or_failed, new) => {
            if let Some(new) = new {
                Box::pin(discard(shared, vault, &new)).await;
            }
            lost_or_failed.map(|_| Outcome::Gone)
        }
    }
}

/// The steps of a rotation. What it leaves in `new` is the successor, to be discarded unless it
/// won.
#[allow(
    clippy::too_many_lines,
    reason = "the order of the steps is the protocol: it is read in one piece"
)]
async fn rotate_to(
    new: &mut Option<New>,
    edit: &mut Edit<'_>,
    commit: CommitId,
    open: &mut Option<Box<Snapshot>>,
) -> Result<Rotated> {
    let Edit { shared, vault, stored: old, .. } = *edit;
    let login = change::logs_in(edit.log);
    let mut prepared: Option<Box<Login>> = None;
    let mut turn = Some(shared.turn(vault, &old.place.key).await?);
    let mut version = Some(old.version.clone());
    let mut reloaded: Option<Arc<Content>> = None;
    // Whether a login starts fresh although the old record is alive: its owner's index says that it
    // is over.
    let mut disowned = false;
    let latest = turn.as_mut().and_then(Turn::latest);
    if let Some((latest, record)) =
        latest.filter(|(latest, _)| latest.revision != old.version.revision)
    {
        if latest.header.kind == Kind::Live {
            reloaded = Some(reopen(vault, &old.place, &record)?);
            version = Some(latest);
        } else {
            // Nothing will be written there any more.
            if let Some(mut turn) = turn.take() {
                turn.leave(&latest, Sealed::Found(record));
            }
            version = None;
        }
    }
    for round in 0..ROUNDS {
        let now = vault.now();
        let base = reloaded.as_ref().unwrap_or(edit.loaded);
        let expired =
            |known: &&Version| shared.policy.effective(base, known.header.deadline) <= now;
        if let Some(known) = version.as_ref().filter(expired) {
            let again = vault.look_again(&old.place, known, commit, open.is_some());
            let found = match Box::pin(again).await? {
                Attempt::Done(done, record) => {
                    if let Some(mut turn) = turn.take() {
                        turn.leave(&done, record);
                    }
                    let Some((_, content)) = new.as_ref() else {
                        return Ok(Rotated::Retired(Arc::new(Content::new(now))));
                    };
                    moved_on(shared, vault, base, content).await;
                    return Ok(Rotated::Won);
                }
                Attempt::Open => return Err(contended()),
                Attempt::Changed(found) => found,
            };
            *open = None;
            // Expired meanwhile is as good as gone, unless another request has kept it alive.
            match found.live()? {
                Some((later, record)) if later.revision != known.revision => {
                    reloaded = Some(reopen(vault, &old.place, &record)?);
                    version = Some(later);
                    continue;
                }
                _ => version = None,
            }
        }
        let base = reloaded.as_ref().unwrap_or(edit.loaded);
        let fresh;
        let base = match (version.as_ref().filter(|_| !disowned), login) {
            (Some(_), _) => base,
            (None, true) => {
                fresh = Arc::new(Content::new(now));
                &fresh
            }
            (None, false) => return Ok(Rotated::Lost),
        };
        let mut next = match edit.view.take().filter(|_| Arc::ptr_eq(base, edit.loaded)) {
            Some(view) => view,
            None => Arc::new(change::replay(base, edit.log)?),
        };
        let tombstone = shared.policy.tombstone;
        let draft = if next.is_empty() {
            Draft::tombstone(Kind::Ended, now, tombstone)
        } else {
            if prepared.is_none() {
                prepared = Login::prepare(shared, vault, &next, edit.log).await?;
            }
            if next.touched != now {
                Arc::make_mut(&mut next).touched = now;
            }
            let told = shared.policy.told(&next, shared.policy.deadline(&next));
            if next.told != told {
                Arc::make_mut(&mut next).told = told;
            }
            // What is entered under the handle of a session that is over would be listed twice.
            if let Some(lost) = new.take_if(|(_, written)| written.owner != next.owner) {
                Box::pin(discard(shared, vault, &lost)).await;
            }
            if !write_new(shared, vault, new, &next).await? {
                return Ok(Rotated::Lost);
            }
            let Some(written) = new.as_ref() else { return Ok(Rotated::Lost) };
            let from = version.as_ref().filter(|_| !disowned).map(|_| (old, base));
            match enter(shared, vault, written, from, prepared.as_deref()).await? {
                Entered::Listed => {}
                Entered::Lost if login => {
                    disowned = true;
                    continue;
                }
                Entered::Refused | Entered::Lost => return Ok(Rotated::Lost),
            }
            Draft::tombstone(Kind::Moved(written.0.place.key), now, tombstone)
        };
        let Some(expected) = version.as_ref().filter(|_| !mutant("the old id stays")) else {
            return Ok(Rotated::Won);
        };
        match vault.replace(&old.place, expected, commit, &draft).await {
            Ok(Attempt::Done(done, record)) => {
                *open = None;
                if let Some(mut turn) = turn.take() {
                    turn.leave(&done, record);
                }
                if next.is_empty() {
                    return Ok(Rotated::Retired(next));
                }
                moved_on(shared, vault, base, &next).await;
                return Ok(Rotated::Won);
            }
            Ok(Attempt::Open) if open.is_some() => return Err(contended()),
            Ok(Attempt::Open) => *open = Some(Box::new(Snapshot::of(expected, base))),
            Ok(Attempt::Changed(found)) => {
                *open = None;
                match found.live()? {
                    Some((changed, record)) => {
                        reloaded = Some(reopen(vault, &old.place, &record)?);
                        version = Some(changed);
                        pause(round).await;
                    }
                    None => version = None,
                }
            }
            Err(error) => {
                if error.is_ambiguous() {
                    *open = Some(Box::new(Snapshot::of(expected, base)));
                }
                return Err(error);
            }
        }
    }
    Err(contended())
}

/// A login under way: what its owner's index said before anything was written.
struct Login {
    owner: Text,
    seen: Seen,
}

impl Login {
    /// `None` where nobody logs in, or owners are not indexed.
    async fn prepare(
        shared: &Shared,
        vault: &Vault,
        content: &Content,
        log: &[Change],
    ) -> Result<Option<Box<Self>>> {
        let Some(owner) =
            content.owner.as_ref().filter(|owner| owner.handle != 0 && change::logs_in(log))
        else {
            return Ok(None);
        };
        let seen = Box::pin(shared.owners.find(vault, &owner.name)).await?;
        Ok(Some(Box::new(Self { owner: owner.name.clone(), seen })))
    }
}

/// Creates a record under a new id, of content that says what its client will be told. An outcome
/// that stays unknown is left in `doubt`.
async fn create(
    shared: &Shared,
    vault: &Vault,
    content: Arc<Content>,
    changes: usize,
    doubt: &mut Option<Box<Doubt>>,
) -> Result<New> {
    let deadline = shared.policy.deadline(&content);
    // A second id is for the case that cannot happen: 256 random bits that exist already.
    for _ in 0..2 {
        let id = SessionId::mint()?;
        let place = id.place(&shared.scope);
        let commit = fastrand::u64(1..);
        let draft = Draft { kind: Kind::Live, now: vault.now(), deadline, payload: &*content };
        match vault.create(&place, commit, &draft).await {
            Ok(Attempt::Done(version, _)) => return Ok((Stored { id, place, version }, content)),
            Ok(_) => {}
            Err(error) => {
                if error.is_ambiguous() {
                    let header = Header { kind: Kind::Live, deadline, commits: [commit, 0, 0, 0] };
                    let version = Version { header, revision: Revision::random() };
                    let base = Arc::clone(&content);
                    let successor = Some((Stored { id, place, version: version.clone() }, content));
                    *doubt = Some(Box::new(Doubt { commit, changes, version, base, successor }));
                }
                return Err(error);
            }
        }
    }
    Err(Error::new(
        ErrorKind::Internal,
        "the store says that a key made of 256 random bits is taken",
    )
    .during("create"))
}

/// Creates the record of an earlier try that was neither done nor refused, under the same id.
async fn create_again(
    shared: &Shared,
    vault: &Vault,
    open: Doubt,
    doubt: &mut Option<Box<Doubt>>,
) -> Result<New> {
    let Some((stored, content)) = &open.successor else {
        return Err(Error::new(ErrorKind::Internal, "a session that was to begin has no id"));
    };
    let deadline = shared.policy.deadline(content);
    let draft = Draft { kind: Kind::Live, now: vault.now(), deadline, payload: &**content };
    match vault.create(&stored.place, open.commit, &draft).await {
        Ok(Attempt::Done(version, Sealed::Found(record))) => {
            Ok((Stored { version, ..stored.clone() }, reopen(vault, &stored.place, &record)?))
        }
        Ok(Attempt::Done(version, Sealed::Written(_))) => {
            Ok((Stored { version, ..stored.clone() }, Arc::clone(content)))
        }
        Ok(_) => {
            Err(Error::new(ErrorKind::Gone, "the session that began was ended before it was used"))
        }
        Err(error) => {
            *doubt = Some(Box::new(open));
            Err(doubtful(true, error))
        }
    }
}

/// Creates the successor, or writes over the one that was created in an earlier round; `false` when
/// that was revoked.
async fn write_new(
    shared: &Shared,
    vault: &Vault,
    new: &mut Option<New>,
    next: &Arc<Content>,
) -> Result<bool> {
    let Some((stored, _)) = new.as_ref() else {
        *new = Some(create(shared, vault, Arc::clone(next), 0, &mut None).await?);
        return Ok(true);
    };
    let deadline = shared.policy.deadline(next);
    let commit = fastrand::u64(1..);
    let mut known = stored.version.clone();
    let mut lost = false;
    for _ in 0..MOVES {
        let draft = Draft { kind: Kind::Live, now: vault.now(), deadline, payload: &**next };
        match Box::pin(vault.replace(&stored.place, &known, commit, &draft)).await? {
            Attempt::Done(version, _) => {
                *new = Some((Stored { version, ..stored.clone() }, Arc::clone(next)));
                return Ok(true);
            }
            // Nobody else knows this key to write to it, so it is as it was, unless a migration has
            // moved it.
            Attempt::Open if lost => break, // the engine has had its time
            Attempt::Open => lost = true,
            Attempt::Changed(Found::Record(moved, _))
                if moved.header.commits == known.header.commits =>
            {
                known = moved;
            }
            Attempt::Changed(_) => return Ok(false),
        }
    }
    Err(doubtful(true, contended()))
}

/// Lists an owned session under its new key before it can be reached.
async fn enter(
    shared: &Shared,
    vault: &Vault,
    new: &New,
    old: Option<(&Stored, &Arc<Content>)>,
    login: Option<&Login>,
) -> Result<Entered> {
    match new.1.owner.as_ref().filter(|owner| owner.handle != 0) {
        Some(_) if mutant("a new id is not listed") => Ok(Entered::Listed),
        Some(owner) => enter_for(owner, shared, vault, new, old, login).await,
        None => Ok(Entered::Listed),
    }
}

async fn enter_for(
    owner: &Owner,
    shared: &Shared,
    vault: &Vault,
    (stored, content): &New,
    old: Option<(&Stored, &Arc<Content>)>,
    login: Option<&Login>,
) -> Result<Entered> {
    let (key, until) = (stored.place.key, stored.version.header.deadline);
    // The same owner goes on under the same handle; then the entry covers the old key as well.
    let from = old.filter(|(_, base)| base.owner.as_ref() == Some(owner));
    let Some(login) = login else {
        let (from, label) =
            from.map_or((key, None), |(old, base)| (old.place.key, base.label.as_ref()));
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
        from: from.map(|(old, _)| old.place.key),
    };
    shared.owners.enter(vault, &login.owner, &login.seen, &arrival).await
}

/// Removes a record that no client knows of. If that fails it expires unseen, so the failure is not
/// the request's.
async fn discard(shared: &Shared, vault: &Vault, (stored, content): &New) {
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

/// What is left to do in the indexes when a session has its new id: another owner's entry goes,
/// another label is noted.
async fn moved_on(shared: &Shared, vault: &Vault, base: &Content, next: &Content) {
    match base.owner.as_ref().filter(|was| next.owner.as_ref() != Some(was)) {
        Some(was) => forget(shared, vault, was).await,
        None if base.owner.is_some() => relabel(shared, vault, base, next).await,
        None => {}
    }
}

fn told((stored, content): New) -> Committed {
    let line = Line::Id(stored.id.clone(), content.told);
    let version = stored.version.clone();
    committed(&stored, version, content, Some(line))
}
