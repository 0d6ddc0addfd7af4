//! Gives a session a new id, for a rotation or a login. It may stop after any step.

use std::sync::Arc;

use super::begin::{create, told};
use super::listing::{Login, Origin, discard, enter, moved_on};
use super::{Committed, Edit, Outcome, ROUNDS, Snapshot, contended};
use crate::backend::pause;
use crate::error::Result;
use crate::ledger::owners::{Entered, too_many};
use crate::ledger::queue::Turn;
use crate::ledger::vault::{Vault, doubtful};
use crate::ledger::written::{Attempt, Draft, Found, Sealed, Version};
use crate::mutant;
use crate::observe::spans;
use crate::record::content::Content;
use crate::record::{CommitId, Kind};
use crate::session::change;
use crate::session::doubt::{Doubt, NewSession};
use crate::session::shared::{Shared, reopen};
use crate::session::state::Line;

/// The maximum number of attempts to replace a successor that a migration moves at the same time.
const MOVES: u32 = 8;

/// The outcome of a rotation.
enum Rotated {
    /// The session has its new id.
    Won,
    /// The session became empty, so it was ended instead.
    Retired(Arc<Content>),
    /// Another request moved or ended the session first.
    Lost,
}

/// Gives the session a new id: creates the new record, then replaces the old one with a tombstone
/// that names its successor.
///
/// A login is a rotation that restarts the session. If the old record is gone, a rotation has lost
/// and stores nothing, but a login starts a new session from its own changes.
pub(crate) async fn rotate(edit: &mut Edit<'_>, doubt: &mut Option<Box<Doubt>>) -> Result<Outcome> {
    let Edit { shared, vault, .. } = *edit;
    let (commit, mut new, mut open) = match doubt.take() {
        None => (fastrand::u64(1..), None, None),
        Some(known) => match Box::pin(resolve(edit, known, doubt)).await? {
            Resolved::Won(won) => return Ok(Outcome::Committed(told(won))),
            Resolved::Open(commit, new, base) => (commit, new, Some(base)),
            Resolved::Undone => (fastrand::u64(1..), None, None),
        },
    };
    let changes = edit.log.len();
    // Boxed, so that the rare path does not enlarge the common future.
    let done = Box::pin(rotate_to(&mut new, edit, commit, &mut open)).await;
    let outcome = match done {
        Ok(Rotated::Won) => {
            return new.map(|won| Outcome::Committed(told(won))).ok_or_else(contended);
        }
        Ok(Rotated::Retired(content)) => {
            let line = Some(Line::Remove);
            Ok(Outcome::Committed(Committed { base: None, content, line, superseded: false }))
        }
        Ok(Rotated::Lost) => Ok(Outcome::Gone),
        Err(error) => {
            if let Some(open) = open.filter(|_| new.is_some()) {
                // The last step may have been done, so the successor may be the live session.
                let Snapshot { version, content: base } = *open;
                let successor = new;
                *doubt = Some(Box::new(Doubt { commit, changes, version, base, successor }));
                return Err(doubtful(true, error));
            }
            Err(error)
        }
    };
    if let Some(lost) = &new {
        Box::pin(discard(shared, vault, lost)).await;
    }
    outcome
}

/// The outcome of an earlier rotation that was unknown.
enum Resolved {
    /// The session has its new id.
    Won(NewSession),
    /// It is not done, but may still arrive at this base. The next attempt has the same commit id
    /// and, if there is one, the same successor.
    Open(CommitId, Option<NewSession>, Box<Snapshot>),
    /// It is not done, and cannot arrive any more.
    Undone,
}

/// Determines the outcome of an earlier rotation. If that fails, puts the doubt back.
async fn resolve(
    edit: &Edit<'_>,
    known: Box<Doubt>,
    doubt: &mut Option<Box<Doubt>>,
) -> Result<Resolved> {
    let Edit { shared, vault, stored: old, .. } = *edit;
    let attempt = match vault.resolve(&old.place, &known.version, known.commit).await {
        Ok(attempt) => attempt,
        Err(error) => {
            *doubt = Some(known);
            return Err(error);
        }
    };
    let Doubt { commit, version, base: content, successor, .. } = *known;
    match (attempt, successor) {
        (Attempt::Done(..), Some(won)) => {
            moved_on(shared, vault, &content, &won.content).await;
            return Ok(Resolved::Won(won));
        }
        // The write that may still arrive names this successor, and is recognised by this commit
        // id.
        (Attempt::Open, successor) => {
            return Ok(Resolved::Open(commit, successor, Box::new(Snapshot { version, content })));
        }
        (_, Some(lost)) => discard(shared, vault, &lost).await,
        _ => {}
    }
    Ok(Resolved::Undone)
}

/// Runs the steps of a rotation. Sets `new` to the successor, which the caller discards unless it
/// won.
#[allow(
    clippy::too_many_lines,
    reason = "the order of the steps is the protocol, so they read best in one piece"
)]
async fn rotate_to(
    new: &mut Option<NewSession>,
    edit: &mut Edit<'_>,
    commit: CommitId,
    open: &mut Option<Box<Snapshot>>,
) -> Result<Rotated> {
    let Edit { shared, vault, stored: old, .. } = *edit;
    let login = edit.login;
    let mut prepared: Option<Box<Login>> = None;
    let mut turn = Some(vault.turn(&old.place.key).await?);
    let mut version = Some(old.version.clone());
    let mut reloaded: Option<Arc<Content>> = None;
    // Whether a login starts a new session although the old record is live, because the owner index
    // shows that it has ended.
    let mut disowned = false;
    let latest = turn.as_mut().and_then(Turn::latest);
    if let Some((latest, record)) =
        latest.filter(|(latest, _)| latest.revision != old.version.revision)
    {
        // An earlier attempt can no longer arrive.
        *open = None;
        if latest.header.kind == Kind::Live {
            reloaded = Some(reopen(vault, &old.place, &record)?);
            version = Some(latest);
        } else {
            // A tombstone is final, so the turn is not needed.
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
                    let Some(NewSession { content, .. }) = new.as_ref() else {
                        return Ok(Rotated::Retired(Arc::new(Content::new(now))));
                    };
                    moved_on(shared, vault, base, content).await;
                    return Ok(Rotated::Won);
                }
                Attempt::Open => return Err(contended()),
                Attempt::Changed(found) => found,
            };
            *open = None;
            // An expired session counts as gone, unless another request has extended it.
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
                prepared = Login::prepare(shared, vault, &next, login).await?;
            }
            if next.touched != now {
                Arc::make_mut(&mut next).touched = now;
            }
            let told = shared.policy.told(&next, shared.policy.deadline(&next));
            if next.told != told {
                Arc::make_mut(&mut next).told = told;
            }
            // A successor with the handle of an ended session would be listed twice.
            if let Some(lost) = new.take_if(|written| written.content.owner != next.owner) {
                discard(shared, vault, &lost).await;
            }
            if !write_new(shared, vault, new, &next).await? {
                return Ok(Rotated::Lost);
            }
            let Some(written) = new.as_ref() else { return Ok(Rotated::Lost) };
            let from = version
                .as_ref()
                .filter(|_| !disowned)
                .map(|_| Origin { stored: old, content: base });
            match enter(shared, vault, written, from, prepared.as_deref()).await? {
                Entered::Listed => {}
                Entered::Lost if login => {
                    disowned = true;
                    continue;
                }
                Entered::Full => return Err(too_many()),
                Entered::Refused | Entered::Lost => return Ok(Rotated::Lost),
            }
            Draft::tombstone(Kind::Moved(written.stored.place.key), now, tombstone)
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
                spans::note("rounds", round + 1);
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

/// Creates the successor, or replaces the one that an earlier round created. Returns `false` if
/// that was revoked.
async fn write_new(
    shared: &Shared,
    vault: &Vault,
    new: &mut Option<NewSession>,
    next: &Arc<Content>,
) -> Result<bool> {
    if let Some(written) = new {
        return Box::pin(replace_new(shared, vault, written, next)).await;
    }
    *new = Some(create(shared, vault, Arc::clone(next), 0, &mut None).await?);
    Ok(true)
}

/// Replaces the successor that an earlier round created. Returns `false` if it was revoked.
async fn replace_new(
    shared: &Shared,
    vault: &Vault,
    NewSession { stored, content }: &mut NewSession,
    next: &Arc<Content>,
) -> Result<bool> {
    let deadline = shared.policy.deadline(next);
    let commit = fastrand::u64(1..);
    let mut lost = false;
    for _ in 0..MOVES {
        let draft = Draft { kind: Kind::Live, now: vault.now(), deadline, payload: &**next };
        match vault.replace(&stored.place, &stored.version, commit, &draft).await? {
            Attempt::Done(version, _) => {
                (stored.version, *content) = (version, Arc::clone(next));
                return Ok(true);
            }
            // No other request knows this key, so only a migration can have changed the entry.
            Attempt::Open if lost => break, // the second attempt had no answer either
            Attempt::Open => lost = true,
            Attempt::Changed(Found::Record(moved, _))
                if moved.header.commits == stored.version.header.commits =>
            {
                stored.version = moved;
            }
            Attempt::Changed(_) => return Ok(false),
        }
    }
    Err(doubtful(true, contended()))
}
