//! The commit: a log of changes becomes the session's next record, under compare-and-set.
//!
//! Here and in the folder is everything that writes a session. When to commit, and what a response
//! says about it, is decided in `request`.

mod client_side;
mod destroy;
mod identity;

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::ledger::ending::End;
use crate::ledger::owners::Location;
use crate::ledger::queue::Turn;
use crate::ledger::vault::{Attempt, Draft, Sealed, Vault, Version, doubtful, pause};
use crate::mutant;
use crate::record::content::Content;
use crate::record::policy::EMPTIED;
use crate::record::{CommitId, Kind};
use crate::session::change::{self, Change};
use crate::session::doubt::Doubt;
use crate::session::shared::reopen;
use crate::session::shared::{Backend, Shared};
use crate::session::state::{Base, Doomed, Line, Stored, gone};

/// How many times a commit is tried again because another writer was faster.
pub(crate) const ROUNDS: u32 = 64;

/// After this many lost races a commit begins to wait between its tries.
const CROWD: u32 = 6;

/// What is to be committed.
pub(crate) struct Job {
    /// Sessions that this request ended.
    pub(crate) doomed: Vec<Doomed>,
    pub(crate) base: Option<Base>,
    /// The content of `base`.
    pub(crate) loaded: Arc<Content>,
    pub(crate) log: Vec<Change>,
    /// What `log` makes of `loaded`, where that is known already.
    pub(crate) view: Option<Arc<Content>>,
    pub(crate) rotate: bool,
    /// The browser was told something newer than what it sent: only a login stores anything.
    pub(crate) superseded: bool,
    /// Whether a response can tell the client what this commit makes known.
    pub(crate) tells: bool,
    /// Whether the client's cookie is to be written anew: signed at all, or with the first secret.
    pub(crate) renews: bool,
    /// An earlier try of the first changes that was neither done nor refused.
    pub(crate) doubt: Option<Box<Doubt>>,
    /// What the steps so far want the client to be told.
    pub(crate) line: Option<Line>,
    /// How often the request had started over when the job was made.
    pub(crate) starts: u32,
}

/// What a commit came to.
#[allow(
    clippy::large_enum_variant,
    reason = "short-lived, and nearly always the large one: a box would only cost"
)]
pub(crate) enum Outcome {
    Committed(Committed),
    /// The session is gone, the changes were dropped, and the cookie is not to be touched.
    Gone,
}

/// The session after a commit.
pub(crate) struct Committed {
    pub(crate) base: Option<Base>,
    pub(crate) content: Arc<Content>,
    pub(crate) line: Option<Line>,
    /// The changes were applied, and the session has been moved or ended since.
    pub(crate) superseded: bool,
}

/// One change of a stored session.
///
/// It is handed on by reference: a future keeps an argument twice, as it was given and in use.
pub(crate) struct Edit<'e> {
    pub(crate) shared: &'e Shared,
    pub(crate) vault: &'e Vault,
    pub(crate) stored: &'e Stored,
    pub(crate) loaded: &'e Arc<Content>,
    pub(crate) log: &'e [Change],
    /// What the log makes of what was loaded: as long as nobody else wrote, nothing is applied, and
    /// no closure of an update run, a second time.
    pub(crate) view: Option<Arc<Content>>,
    pub(crate) tells: bool,
    pub(crate) renews: bool,
    pub(crate) rounds: u32,
}

/// A session as it was stored at some time. Kept in a box, because it is rarely needed.
pub(crate) struct Snapshot {
    pub(crate) version: Version,
    pub(crate) content: Arc<Content>,
}

impl Snapshot {
    pub(crate) fn of(version: &Version, content: &Arc<Content>) -> Self {
        Self { version: version.clone(), content: Arc::clone(content) }
    }

    fn read(
        vault: &Vault,
        stored: &Stored,
        version: Version,
        record: &bytes::Bytes,
    ) -> Result<Self> {
        Ok(Self { version, content: reopen(vault, &stored.place, record)? })
    }
}

impl Job {
    /// Writes the session anew as it is: for a client-side session whose deadline or seal is due.
    pub(crate) fn refresh(base: Base, content: Arc<Content>, rotate: bool) -> Self {
        Self {
            doomed: Vec::new(),
            base: Some(base),
            loaded: content,
            log: Vec::new(),
            view: None,
            rotate,
            superseded: false,
            tells: true,
            renews: false,
            doubt: None,
            line: None,
            starts: 0,
        }
    }

    /// Whether it takes more than one write, so that it must not be left half-way.
    pub(crate) fn has_steps(&self) -> bool {
        !self.doomed.is_empty() || self.is_rotation() || self.doubt.is_some()
    }

    /// Leaves out the oldest flash that waits, so that the rest may fit; `false` when there is none
    /// but what this request pushed last.
    pub(crate) fn drop_oldest_flash(&mut self) -> bool {
        let pushed = change::pushed_ids(&self.log);
        let dropped = change::dropped_ids(&self.log);
        let mut waiting = self.loaded.flash.ids().chain(pushed.iter().copied());
        let Some(oldest) = waiting.find(|id| Some(id) != pushed.last() && !dropped.contains(id))
        else {
            return false;
        };
        self.log.push(Change::Drop(vec![oldest]));
        self.view = None;
        true
    }

    fn is_rotation(&self) -> bool {
        self.rotate || change::logs_in(&self.log)
    }
}

/// Does the job. What is done of it is taken out of it, so that another run goes on after an error.
pub(crate) async fn run(shared: &Shared, job: &mut Job) -> Result<Outcome> {
    let vault = match &shared.backend {
        Backend::Client(client) => return client_side::run(shared, client, job),
        Backend::Store { vault, .. } => vault,
    };
    if !job.doomed.is_empty() {
        Box::pin(end_doomed(shared, vault, job)).await?;
    }
    if job.doubt.is_some() {
        // What an earlier try left open comes first: the rest is applied over it.
        let doubt = &mut job.doubt;
        let changes = doubt.as_ref().map_or(0, |doubt| doubt.changes);
        let rest = job.log.split_off(changes.min(job.log.len()));
        let rotates = doubt.as_ref().is_some_and(|doubt| doubt.rotates());
        let rotate = std::mem::replace(&mut job.rotate, rotates);
        let first = Box::pin(step(shared, vault, job)).await;
        job.rotate = rotate;
        let more = !rest.is_empty() || (rotate && !rotates);
        job.log.extend(rest);
        match first? {
            Outcome::Committed(done) if more => {
                if done.superseded {
                    return Ok(Outcome::Gone);
                }
                job.log.drain(..changes.min(job.log.len()));
                (job.base, job.loaded, job.rotate) = (done.base, done.content, rotate && !rotates);
                job.line = done.line.or(job.line.take());
                job.view = None;
            }
            outcome => return Ok(outcome),
        }
    }
    step(shared, vault, job).await
}

/// The plan of a commit whose ended sessions are ended: begin, write in place, or change the id.
async fn step(shared: &Shared, vault: &Vault, job: &mut Job) -> Result<Outcome> {
    let login = change::logs_in(&job.log);
    if job.superseded && !login {
        return Ok(Outcome::Gone);
    }
    let view = job.view.take();
    let outcome = match &job.base {
        None => identity::begin(shared, vault, &job.log, view, &mut job.doubt).await?,
        Some(Base::Stored(stored)) => {
            let (loaded, log) = (&job.loaded, &job.log[..]);
            let (tells, renews) = (job.tells, job.renews);
            let mut edit =
                Edit { shared, vault, stored, loaded, log, view, tells, renews, rounds: ROUNDS };
            if job.rotate || login {
                // Boxed, so that the rare path does not enlarge the common future.
                Box::pin(identity::rotate(&mut edit, &mut job.doubt)).await?
            } else {
                let mut turn = shared.turn(vault, &stored.place.key).await?;
                in_place(&mut edit, &mut turn, &mut job.doubt).await?
            }
        }
        Some(Base::Client { .. }) => {
            return Err(Error::new(
                ErrorKind::Internal,
                "a client-side session in a store-backed manager",
            ));
        }
    };
    Ok(match outcome {
        Outcome::Committed(mut done) => {
            done.line = done.line.or(job.line.take());
            Outcome::Committed(done)
        }
        Outcome::Gone => Outcome::Gone,
    })
}

/// Ends what the request destroyed. Where its browser was told before by another request, it is
/// told nothing by this one.
async fn end_doomed(shared: &Shared, vault: &Vault, job: &mut Job) -> Result<()> {
    while let Some(doomed) = job.doomed.last() {
        match destroy::destroy(shared, vault, doomed).await? {
            End::ByItself => job.superseded |= job.line.is_none(),
            End::Deleted(error) => return Err(error),
            End::Ours | End::ByOthers | End::Nothing => {
                (job.line, job.superseded) = (Some(Line::Remove), false);
            }
        }
        job.doomed.pop();
    }
    Ok(())
}

/// Writes the changes over the session where it is. With an empty log it moves the idle deadline,
/// if that is due.
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

/// The rounds of an in-place write. `open` is left with the base of a try that may still arrive.
#[allow(clippy::too_many_lines, reason = "one round of compare-and-set: it is read in one piece")]
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
    // What the turn before has written may be older than what this request has loaded.
    let mut handed_on = reloaded.is_some();
    for round in 0..edit.rounds {
        let (version, base) = match reloaded.as_deref() {
            Some(reloaded) => (&reloaded.version, &reloaded.content),
            None => (&edit.stored.version, edit.loaded),
        };
        let now = edit.vault.now();
        // Checked before each write: what expired meanwhile is not revived.
        let expired = edit.shared.policy.effective(base, version.header.deadline) <= now;
        if expired && !mutant("a commit revives what expired") {
            let again = edit.vault.look_again(&edit.stored.place, version, commit, open.is_some());
            let found = match Box::pin(again).await? {
                Attempt::Done(version, record) => return landed(edit, turn, version, record),
                Attempt::Open => return over(true),
                Attempt::Changed(found) => found,
            };
            *open = None;
            // Unless another request has kept it alive since it was loaded.
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
                let mut told = told;
                match &record {
                    Sealed::Found(record) if done.header.kind == Kind::Live => {
                        // As an earlier try has written it, or as it is after later commits.
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
            // Once more under the same commit id; then the engine has had its time.
            Ok(Attempt::Open) if open.is_some() => {
                *open = Some(Box::new(Snapshot::of(version, base)));
                return Err(doubtful(true, contended()));
            }
            Ok(Attempt::Open) => *open = Some(Box::new(Snapshot::of(version, base))),
            Ok(Attempt::Changed(found)) => {
                *open = None;
                let Some((changed, record)) = found.live()? else { return Ok(Outcome::Gone) };
                reloaded =
                    Some(Box::new(Snapshot::read(edit.vault, edit.stored, changed, &record)?));
                // One writer of each process is here at a time, so few compete. Backing off at once
                // would only let newer writers overtake.
                if round >= CROWD && round + 1 < edit.rounds {
                    pause(round - CROWD).await;
                }
            }
        }
    }
    Err(contended())
}

/// An earlier try of this edit turns out to have been done.
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

/// The session is over. Where a try of the same commit may still have been done, that is not known.
fn over(open: bool) -> Result<Outcome> {
    if open { Err(doubtful(true, gone())) } else { Ok(Outcome::Gone) }
}

/// Tells the owner's index of a later deadline before the session has it; `false` when the session
/// was revoked.
async fn keep_listed(
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

/// A session begins at its first write, unless a login says when, and its client will be told of
/// it.
pub(crate) fn begun(shared: &Shared, content: &mut Content, log: &[Change], now: u64) {
    if !change::logs_in(log) {
        (content.created, content.touched) = (now, now);
    }
    if let Backend::Store { .. } = shared.backend {
        content.told = shared.policy.told(content, shared.policy.deadline(content));
    }
}

pub(crate) fn committed(
    stored: &Stored,
    version: Version,
    content: Arc<Content>,
    line: Option<Line>,
) -> Committed {
    let base = Some(Base::Stored(Stored { version, ..stored.clone() }));
    Committed { base, content, line, superseded: false }
}

pub(crate) fn contended() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "other requests changed the session first, every time this commit was tried; nothing of it was written",
    )
    .during("commit")
}
