//! The commit: writes the log of changes as the session's next record, with compare-and-set.
//!
//! A commit ends the sessions that the request destroyed, resolves the doubt of an earlier commit,
//! and then executes its [`Plan`]. Each step is a file in this folder, and no other code writes
//! sessions. The folder `request` decides when to commit, and writes the response's cookie.

mod begin;
mod client_side;
mod end;
mod in_place;
mod listing;
mod rotate;
mod span;

use in_place::in_place;

pub(crate) use span::{refresh, run_in_span};

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::ledger::vault::Vault;
use crate::ledger::written::Version;
use crate::observe::{Ending, Event, Subject};
use crate::record::content::Content;
use crate::session::base::{Base, Doomed, Stored};
use crate::session::change::{self, Change};
use crate::session::doubt::Doubt;
use crate::session::shared::{Backend, Shared, reopen};
use crate::session::state::{Line, stored};

/// The maximum number of attempts to commit against other writers.
pub(crate) const ROUNDS: u32 = 64;

/// The way a commit changes the session's record. It is chosen before anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Creates the session's first record.
    Begin { login: bool },
    /// Replaces the record.
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

/// A commit in progress: its input, and the results of its steps so far.
pub(crate) struct Pending {
    pub(crate) plan: Plan,
    /// The sessions that this request destroyed.
    pub(crate) doomed: Vec<Doomed>,
    pub(crate) base: Option<Base>,
    /// The content of `base`.
    pub(crate) loaded: Arc<Content>,
    pub(crate) log: Vec<Change>,
    /// `loaded` with `log` applied, if that is already known.
    pub(crate) view: Option<Arc<Content>>,
    pub(crate) rotate: bool,
    /// The browser has already received a newer cookie than it sent. Only a login stores anything.
    pub(crate) superseded: bool,
    /// Whether there is a response that can set a cookie.
    pub(crate) tells: bool,
    /// Whether the cookie must be set again, to sign it with the first secret.
    pub(crate) renews: bool,
    /// An earlier commit of the first changes, whose outcome is unknown.
    pub(crate) doubt: Option<Box<Doubt>>,
    /// The cookie line that the steps so far require.
    pub(crate) line: Option<Line>,
    /// The number of times the request had started over when the commit began.
    pub(crate) starts: u32,
}

/// The result of a commit.
#[allow(
    clippy::large_enum_variant,
    reason = "it is short-lived and nearly always the large variant, so a box would only add cost"
)]
pub(crate) enum Outcome {
    Committed(Committed),
    /// The session is gone. The changes were dropped, and the cookie must not be changed.
    Gone,
}

/// The session after a commit.
pub(crate) struct Committed {
    pub(crate) base: Option<Base>,
    pub(crate) content: Arc<Content>,
    pub(crate) line: Option<Line>,
    /// The changes were written, and the session has been moved or ended since.
    pub(crate) superseded: bool,
}

/// The commit of a stored session.
///
/// It is passed by reference, because a future stores an argument that is passed by value twice.
pub(crate) struct Edit<'e> {
    pub(crate) shared: &'e Shared,
    pub(crate) vault: &'e Vault,
    pub(crate) stored: &'e Stored,
    pub(crate) loaded: &'e Arc<Content>,
    pub(crate) log: &'e [Change],
    /// Whether the log contains a login.
    pub(crate) login: bool,
    /// `loaded` with `log` applied. Unless another request wrote, it saves replaying the log and
    /// running the closures of updates again.
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

/// A stored session as it was read. It is boxed, because it is rarely needed.
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
    /// Creates a commit without changes, which encrypts a client-side session again with a new
    /// deadline or the first secret.
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

    /// Returns whether the commit needs more than one write, so that it must run to completion.
    pub(crate) fn has_steps(&self) -> bool {
        let in_one = match self.plan {
            Plan::InPlace => true,
            Plan::Begin { login } => !login,
            Plan::Rotate { .. } => false,
        };
        !in_one || !self.doomed.is_empty() || self.doubt.is_some()
    }

    /// Drops the oldest flash item, so that the rest may fit. Returns `false` if the only one left
    /// is the item that this request added last.
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

/// Runs the commit. Removes each completed step from `pending`, so that another run continues after
/// an error.
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
        // Resolves the doubt first, then applies the rest of the log to the result.
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
                rotate::rotate(&mut edit, doubt).await?
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

/// Reports a commit to the observer, except writes in place, which report themselves.
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

/// Reports to the observer that a commit failed, or that its login was refused.
pub(crate) fn tell_failure(shared: &Shared, pending: &Pending, error: &Error) {
    if !error.is_too_many_sessions() {
        return shared.observed.tell(|| Event::Failed { during: "commit", error });
    }
    let owner = pending.log.iter().rev().find_map(|change| match change {
        Change::Login { owner, .. } => Some(owner.as_str()),
        _ => None,
    });
    let id = stored(pending.base.as_ref()).map(|stored| &stored.id);
    let fingerprint =
        id.filter(|_| shared.observed.is_some()).map(|id| id.fingerprint(&shared.scope));
    let session = Subject::new(fingerprint.as_deref(), owner);
    shared.observed.tell(|| Event::LoginRefused { session });
}

/// Sets the start of a new session to its first write, unless a login has set it, and the expiry of
/// its cookie.
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
        "other requests changed the session at every attempt to commit; nothing was written; try \
         again",
    )
    .during("commit")
}
