//! Replaces a session's record, with rounds of compare-and-set on the current record.

use std::sync::Arc;

use super::listing::{keep_listed, relabel};
use super::{Committed, Edit, Outcome, Snapshot, committed, contended};
use crate::backend::pause;
use crate::error::Result;
use crate::ledger::queue::Turn;
use crate::ledger::vault::doubtful;
use crate::ledger::written::{Attempt, Draft, Sealed, Version};
use crate::mutant;
use crate::observe::{Event, spans};
use crate::record::policy::EMPTIED;
use crate::record::{CommitId, Kind};
use crate::session::change;
use crate::session::doubt::Doubt;
use crate::session::shared::reopen;
use crate::session::state::{Line, gone};

/// The number of lost races after which a commit waits between its attempts.
const CROWD: u32 = 6;

/// Applies the changes to the session's record. With an empty log, moves the idle deadline if that
/// is due.
pub(crate) async fn in_place(
    edit: &mut Edit<'_>,
    turn: &mut Turn,
    doubt: &mut Option<Box<Doubt>>,
) -> Result<Outcome> {
    let mut commit = fastrand::u64(1..);
    if let Some(open) = doubt.as_deref() {
        match Box::pin(edit.vault.resolve(&edit.stored.place, &open.version, open.commit)).await? {
            Attempt::Done(version, record) => {
                *doubt = None;
                return landed(edit, turn, version, record);
            }
            Attempt::Open => commit = open.commit,
            Attempt::Changed(_) => *doubt = None,
        }
    }
    let changes = edit.log.len();
    let mut open = None;
    let outcome = write(edit, turn, commit, &mut open).await;
    match outcome {
        Err(error) => {
            let error = doubtful(open.is_some() || doubt.is_some(), error);
            if let Some(open) = open.filter(|_| error.is_ambiguous()) {
                let Snapshot { version, content: base } = *open;
                *doubt = Some(Box::new(Doubt { commit, changes, version, base, successor: None }));
            }
            Err(error)
        }
        Ok(outcome) => {
            *doubt = None;
            Ok(outcome)
        }
    }
}

/// Runs the rounds of an in-place write. Sets `open` to the base of an attempt that may still
/// arrive.
#[allow(clippy::too_many_lines, reason = "a round of compare-and-set reads best in one piece")]
async fn write(
    edit: &mut Edit<'_>,
    turn: &mut Turn,
    commit: CommitId,
    open: &mut Option<Box<Snapshot>>,
) -> Result<Outcome> {
    let mut reloaded: Option<Box<Snapshot>> = None;
    let latest = turn.latest();
    if let Some((latest, record)) =
        latest.filter(|(latest, _)| latest.revision != edit.stored.version.revision)
    {
        if latest.header.kind != Kind::Live {
            turn.leave(&latest, Sealed::Found(record));
            return Ok(Outcome::Gone);
        }
        reloaded = Some(Box::new(Snapshot::read(edit.vault, edit.stored, latest, &record)?));
    }
    // The record that the previous turn wrote may be older than the one that this request loaded.
    let mut handed_on = reloaded.is_some();
    for round in 0..edit.rounds {
        let (version, base) = match reloaded.as_deref() {
            Some(reloaded) => (&reloaded.version, &reloaded.content),
            None => (&edit.stored.version, edit.loaded),
        };
        let now = edit.vault.now();
        // Checked before each write, so that an expired session is not revived.
        let expired = edit.shared.policy.effective(base, version.header.deadline) <= now;
        if expired && !mutant("a commit revives what expired") {
            let again = edit.vault.look_again(&edit.stored.place, version, commit, open.is_some());
            let found = match Box::pin(again).await? {
                Attempt::Done(version, record) => return landed(edit, turn, version, record),
                Attempt::Open => return over(true),
                Attempt::Changed(found) => found,
            };
            *open = None;
            // Another request may have extended it since it was loaded.
            match found.live()? {
                Some((later, record)) if later.revision != version.revision => {
                    reloaded =
                        Some(Box::new(Snapshot::read(edit.vault, edit.stored, later, &record)?));
                    continue;
                }
                _ => return Ok(Outcome::Gone),
            }
        }
        let mut next = match edit.view.take().filter(|_| reloaded.is_none()) {
            Some(view) => view,
            None if edit.log.is_empty() || mutant("a conflict drops the changes") => {
                Arc::clone(base)
            }
            None => Arc::new(change::replay(base, edit.log)?),
        };
        let refresh = edit.shared.policy.wants_refresh(base, version.header.deadline, now)
            || (edit.renews && edit.log.is_empty());
        if next.same(base) && (base.is_empty() || !refresh) {
            if std::mem::take(&mut handed_on) {
                let found = edit.vault.look(&edit.stored.place.key).await?.live()?;
                let Some((later, record)) = found else { return over(open.is_some()) };
                reloaded = Some(Box::new(Snapshot::read(edit.vault, edit.stored, later, &record)?));
                continue;
            }
            let until = version.header.deadline;
            let told = edit.shared.policy.told(base, until);
            let tell = edit.tells && !base.is_empty() && told != base.told;
            let line = tell.then(|| Line::Id(edit.stored.id.clone(), told));
            return Ok(Outcome::Committed(committed(edit.stored, version.clone(), next, line)));
        }
        let emptied = next.is_empty();
        if refresh {
            Arc::make_mut(&mut next).touched = now;
        }
        let deadline = if emptied { now + EMPTIED } else { edit.shared.policy.deadline(&next) };
        let told = if emptied { 0 } else { edit.shared.policy.told(&next, deadline) };
        let tell = edit.tells && (told != base.told || (edit.renews && !emptied));
        if tell {
            Arc::make_mut(&mut next).told = told;
        }
        if deadline > version.header.deadline
            && !keep_listed(edit.shared, edit.vault, edit.stored, base, deadline).await?
        {
            return over(open.is_some());
        }
        let draft = Draft { kind: Kind::Live, now, deadline, payload: &*next };
        match edit.vault.replace(&edit.stored.place, version, commit, &draft).await {
            Err(error) => {
                if error.is_ambiguous() {
                    *open = Some(Box::new(Snapshot::of(version, base)));
                }
                return Err(error);
            }
            Ok(Attempt::Done(done, record)) => {
                *open = None;
                let (bytes, rounds) = (record.len(), round + 1);
                spans::note("rounds", rounds);
                edit.tell(&next, |session| {
                    if edit.log.is_empty() {
                        Event::Refreshed { session }
                    } else {
                        Event::Committed { session, rounds, bytes }
                    }
                });
                let mut told = told;
                match &record {
                    Sealed::Found(record) if done.header.kind == Kind::Live => {
                        // The record of an earlier attempt, or of a later commit.
                        next = reopen(edit.vault, &edit.stored.place, record)?;
                        told = edit.shared.policy.told(&next, done.header.deadline);
                    }
                    _ => {}
                }
                relabel(edit.shared, edit.vault, base, &next).await;
                if done.header.kind != Kind::Live {
                    turn.leave(&done, record);
                    let superseded =
                        Committed { base: None, content: next, line: None, superseded: true };
                    return Ok(Outcome::Committed(superseded));
                }
                turn.leave(&done, record);
                let line = match (emptied && edit.tells, tell) {
                    (true, _) => Some(Line::Remove),
                    (false, true) => Some(Line::Id(edit.stored.id.clone(), told)),
                    (false, false) => None,
                };
                return Ok(Outcome::Committed(committed(edit.stored, done, next, line)));
            }
            // The second attempt under the same commit id had no answer either.
            Ok(Attempt::Open) if open.is_some() => {
                *open = Some(Box::new(Snapshot::of(version, base)));
                return Err(doubtful(true, contended()));
            }
            Ok(Attempt::Open) => *open = Some(Box::new(Snapshot::of(version, base))),
            Ok(Attempt::Changed(found)) => {
                *open = None;
                let Some((changed, record)) = found.live()? else { return Ok(Outcome::Gone) };
                edit.tell(base, |session| Event::Conflicted { session });
                reloaded =
                    Some(Box::new(Snapshot::read(edit.vault, edit.stored, changed, &record)?));
                // Only one writer per process gets here at a time, so few compete. Backing off
                // earlier would only let newer writers overtake.
                if round >= CROWD && round + 1 < edit.rounds {
                    pause(round - CROWD).await;
                }
            }
        }
    }
    Err(contended())
}

/// Returns the outcome if an earlier attempt of this commit was done.
fn landed(edit: &Edit<'_>, turn: &mut Turn, version: Version, record: Sealed) -> Result<Outcome> {
    let record = bytes::Bytes::from(record);
    turn.leave(&version, Sealed::Found(record.clone()));
    if version.header.kind != Kind::Live {
        let content = Arc::clone(edit.loaded);
        return Ok(Outcome::Committed(Committed {
            base: None,
            content,
            line: None,
            superseded: true,
        }));
    }
    let content = reopen(edit.vault, &edit.stored.place, &record)?;
    let line = match (content.is_empty(), edit.tells) {
        (true, true) => Some(Line::Remove),
        (false, true) => Some(Line::Id(
            edit.stored.id.clone(),
            edit.shared.policy.told(&content, version.header.deadline),
        )),
        (_, false) => None,
    };
    Ok(Outcome::Committed(committed(edit.stored, version, content, line)))
}

/// Returns the outcome if the session has ended. It is ambiguous if an attempt of the same commit
/// may have been done (`open`).
fn over(open: bool) -> Result<Outcome> {
    if open { Err(doubtful(true, gone())) } else { Ok(Outcome::Gone) }
}
