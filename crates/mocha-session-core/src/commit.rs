//! The commit: a log of changes becomes the session's next record, under compare-and-set.
//!
//! A commit ends what the request destroyed, settles what an earlier try left in doubt, and then
//! does what its [`Plan`] says. Each has a file in the folder, and nothing else writes a session.
//! When to commit, and what a response says about it, is decided in `request`.

mod begin;
mod client_side;
mod end;
mod in_place;
mod listing;
mod rotate;

pub(crate) use in_place::in_place;

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::ledger::vault::{Vault, Version};
use crate::observe::{Ending, Event, Subject};
use crate::record::content::Content;
use crate::session::change::{self, Change};
use crate::session::doubt::Doubt;
use crate::session::shared::{Backend, Shared, reopen};
use crate::session::state::{Base, Doomed, Line, Stored, stored};

/// How many times a commit is tried again because another writer was faster.
pub(crate) const ROUNDS: u32 = 64;

/// What a commit does to the session's record: decided once, before anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Creates the session's first record.
    Begin { login: bool },
    /// Writes over the record.
    InPlace,
    /// Creates a record under a new id, and turns the old one into a tombstone.
    Rotate { login: bool },
}

impl Plan {
    pub(crate) fn of(has_base: bool, rotate: bool, log: &[Change]) -> Self {
        let login = log.iter().any(|change| matches!(change, Change::Login { .. }));
        match has_base {
            false => Self::Begin { login },
            true if login || rotate => Self::Rotate { login },
            true => Self::InPlace,
        }
    }

    pub(crate) fn logs_in(self) -> bool {
        matches!(self, Self::Begin { login: true } | Self::Rotate { login: true })
    }
}

/// A commit that is not done yet: what there is to write, and what its steps have come to so far.
pub(crate) struct Pending {
    pub(crate) plan: Plan,
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
    /// Whether the log logs somebody in.
    pub(crate) login: bool,
    /// What the log makes of what was loaded: as long as nobody else wrote, nothing is applied, and
    /// no closure of an update run, a second time.
    pub(crate) view: Option<Arc<Content>>,
    pub(crate) tells: bool,
    pub(crate) renews: bool,
    pub(crate) rounds: u32,
}

impl Edit<'_> {
    fn tell(&self, content: &Content, event: impl for<'s> FnOnce(Subject<'s>) -> Event<'s>) {
        self.shared.tell(Some(&self.stored.id), content.owner.as_ref(), event);
    }
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

impl Pending {
    /// Writes the session anew as it is: for a client-side session whose deadline or seal is due.
    pub(crate) fn refresh(base: Base, content: Arc<Content>, rotate: bool) -> Self {
        Self {
            plan: Plan::InPlace,
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
        let in_one = match self.plan {
            Plan::InPlace => true,
            Plan::Begin { login } => !login,
            Plan::Rotate { .. } => false,
        };
        !in_one || !self.doomed.is_empty() || self.doubt.is_some()
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
}

/// Commits. What is done of it is taken out of `pending`, so that another run goes on after an
/// error.
pub(crate) async fn run(shared: &Shared, pending: &mut Pending) -> Result<Outcome> {
    let vault = match &shared.backend {
        Backend::Client(client) => return client_side::run(shared, client, pending),
        Backend::Store(vault) => vault,
    };
    if !pending.doomed.is_empty() {
        Box::pin(end::end_doomed(shared, vault, pending)).await?;
    }
    if pending.superseded && !pending.plan.logs_in() {
        return Ok(Outcome::Gone);
    }
    if let Some(doubt) = &pending.doubt {
        // What an earlier try left open comes first: the rest is applied over it.
        let (changes, rotated) = (doubt.changes.min(pending.log.len()), doubt.rotates());
        let rest = pending.log.split_off(changes);
        let plan = Plan::of(pending.base.is_some(), rotated, &pending.log);
        let first = Box::pin(execute(plan, shared, vault, pending)).await;
        let rotate = pending.rotate && !rotated;
        let more = !rest.is_empty() || rotate;
        pending.log.extend(rest);
        match first? {
            Outcome::Committed(done) if more => {
                if done.superseded {
                    return Ok(Outcome::Gone);
                }
                pending.log.drain(..changes);
                (pending.base, pending.loaded, pending.rotate) = (done.base, done.content, rotate);
                pending.plan = Plan::of(pending.base.is_some(), rotate, &pending.log);
                pending.line = done.line.or(pending.line.take());
                pending.view = None;
            }
            outcome => return Ok(outcome),
        }
    }
    execute(pending.plan, shared, vault, pending).await
}

async fn execute(
    plan: Plan,
    shared: &Shared,
    vault: &Vault,
    pending: &mut Pending,
) -> Result<Outcome> {
    let view = pending.view.take();
    let Pending { base, loaded, log, doubt, tells, renews, .. } = pending;
    let (login, tells, renews) = (plan.logs_in(), *tells, *renews);
    let outcome = match stored(base.as_ref()) {
        None => begin::begin(shared, vault, log, login, view, doubt).await?,
        Some(stored) => {
            let (log, rounds) = (&log[..], ROUNDS);
            let mut edit =
                Edit { shared, vault, stored, loaded, log, login, view, tells, renews, rounds };
            if let Plan::Rotate { .. } = plan {
                // Boxed, so that the rare path does not enlarge the common future.
                Box::pin(rotate::rotate(&mut edit, doubt)).await?
            } else {
                let mut turn = vault.turn(&stored.place.key).await?;
                in_place(&mut edit, &mut turn, doubt).await?
            }
        }
    };
    Ok(match outcome {
        Outcome::Committed(mut done) => {
            if shared.observed.is_some() {
                tell(plan, shared, pending, &done);
            }
            done.line = done.line.or(pending.line.take());
            Outcome::Committed(done)
        }
        Outcome::Gone => Outcome::Gone,
    })
}

/// Tells the observer what a commit has done, but for a write in place, which tells its rounds.
fn tell(plan: Plan, shared: &Shared, pending: &Pending, done: &Committed) {
    let (old, new) = (stored(pending.base.as_ref()), stored(done.base.as_ref()));
    let (from, id) = (old.map(|stored| &stored.id), new.map(|stored| &stored.id));
    let owner = done.content.owner.as_ref();
    if done.content.is_empty() && from.is_some() && !done.superseded {
        let owner = pending.loaded.owner.as_ref();
        shared.tell(from, owner, |session| Event::Ended { session, how: Ending::Emptied });
        return;
    }
    match (from, id) {
        (_, None) => return,
        (None, Some(_)) => shared.tell(id, owner, |session| Event::Created { session }),
        (Some(from), Some(new)) if from != new => {
            let [from, new] = [from, new].map(|id| id.fingerprint(&shared.scope));
            let session = Subject::new(Some(&new), owner.map(|owner| owner.name.as_str()));
            shared.observed.tell(|| Event::Rotated { session, from: &from });
        }
        _ => {}
    }
    if plan.logs_in() {
        shared.tell(id, owner, |session| Event::LoggedIn { session });
    }
}

/// A session begins at its first write, unless a login says when, and its client will be told of
/// it.
pub(crate) fn begun(shared: &Shared, content: &mut Content, login: bool, now: u64) {
    if !login {
        (content.created, content.touched) = (now, now);
    }
    if let Backend::Store(_) = shared.backend {
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
