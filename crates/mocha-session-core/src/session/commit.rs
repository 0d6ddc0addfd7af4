//! The commit: a log of changes becomes the session's next record, under compare-and-set.

use std::sync::Arc;

use super::change::{self, Change};
use super::identity;
use super::load::reopen;
use super::state::{Base, Line, Stored, gone};
use crate::client::ClientSide;
use crate::content::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::manager::{Backend, Shared};
use crate::policy::EMPTIED;
use crate::record::Kind;
use crate::vault::{Attempt, Draft, Sealed, Vault, Version, pause};

/// How often a commit is tried again because somebody else was faster.
pub(super) const ROUNDS: u32 = 64;

/// After so many lost races a commit begins to wait between its tries.
const CROWD: u32 = 6;

/// What is to be committed.
pub(crate) struct Job {
    pub(crate) doomed: Option<Box<(Base, Arc<Content>)>>,
    pub(crate) base: Option<Base>,
    /// The content of `base`.
    pub(crate) loaded: Arc<Content>,
    pub(crate) log: Vec<Change>,
    /// What `log` makes of `loaded`, where that is known already.
    pub(crate) view: Option<Arc<Content>>,
    pub(crate) rotate: bool,
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
}

impl Job {
    /// Whether it takes more than one write, so that it must not be left half-way.
    pub(crate) fn has_steps(&self) -> bool {
        self.doomed.is_some() || self.is_rotation()
    }

    fn is_rotation(&self) -> bool {
        self.rotate || change::login_of(&self.log).is_some()
    }
}

/// Does the job.
pub(crate) async fn run(shared: &Shared, job: &mut Job) -> Result<Outcome> {
    let view = job.view.take();
    match &shared.backend {
        Backend::Client(_) => client_side(shared, job, view),
        Backend::Store { vault, .. } => {
            let ended = match job.doomed.as_deref() {
                Some((Base::Stored(stored), content)) => {
                    Box::pin(identity::destroy(shared, vault, stored, content)).await?
                }
                _ => true,
            };
            let login = change::login_of(&job.log).is_some();
            // Somebody else has ended the session that this request destroyed: its late response touches nothing, unless
            // it logs somebody in.
            if !ended && !login {
                return Ok(Outcome::Gone);
            }
            let outcome = match &job.base {
                None => identity::begin(shared, vault, &job.log, view).await?,
                Some(Base::Stored(stored)) => {
                    let view = match view {
                        Some(view) => view,
                        None => Arc::new(change::replay(&job.loaded, &job.log)?),
                    };
                    if job.is_rotation() && (login || !view.is_empty()) {
                        // Boxed, like all that is rare: what is not keeps a small future.
                        Box::pin(identity::rotate(shared, vault, stored, (&job.loaded, &job.log), view))
                            .await?
                    } else {
                        in_place(shared, vault, stored, (&job.loaded, &job.log), Some(view), ROUNDS).await?
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
                Outcome::Committed(done) if job.doomed.is_some() && done.base.is_none() => {
                    Outcome::Committed(Committed { line: Some(Line::Remove), ..done })
                }
                outcome => outcome,
            })
        }
    }
}

/// Writes the changes over the session where it is. With an empty log it moves the idle deadline, if that is due.
///
/// `view` is what the log makes of what was loaded: as long as nobody else wrote, nothing is applied, and no closure of an
/// update run, a second time.
pub(crate) async fn in_place(
    shared: &Shared,
    vault: &Vault,
    stored: &Stored,
    (loaded, log): (&Arc<Content>, &[Change]),
    mut view: Option<Arc<Content>>,
    rounds: u32,
) -> Result<Outcome> {
    let mut turn = shared.turn(&stored.place.key).await;
    let mut version = stored.version.clone();
    let mut reloaded: Option<Arc<Content>> = None;
    if let Some((latest, record)) = turn.latest().filter(|(latest, _)| latest.revision != version.revision) {
        if latest.header.kind != Kind::Live {
            turn.leave(&latest, Sealed::Found(record));
            return Ok(Outcome::Gone);
        }
        reloaded = Some(reopen(vault, &stored.place, &record)?);
        version = latest;
    }
    let commit = fastrand::u64(1..);
    for round in 0..rounds {
        let base = reloaded.as_ref().unwrap_or(loaded);
        let now = vault.now();
        // Checked before each write: what expired meanwhile is not revived.
        if shared.policy.effective(base, version.header.deadline) <= now {
            return Ok(Outcome::Gone);
        }
        let mut next = match view.take().filter(|_| reloaded.is_none()) {
            Some(view) => view,
            None if log.is_empty() => Arc::clone(base),
            None => Arc::new(change::replay(base, log)?),
        };
        let refresh = shared.policy.wants_refresh(base, version.header.deadline, now);
        if next.same(base) && (base.is_empty() || !refresh) {
            return Ok(Outcome::Committed(committed(stored, version, next, None)));
        }
        let emptied = next.is_empty();
        if refresh {
            Arc::make_mut(&mut next).touched = now;
        }
        let deadline = if emptied { now + EMPTIED } else { shared.policy.deadline(&next) };
        if !keep_listed(shared, vault, stored, (&version, base), &next, deadline).await? {
            return Ok(Outcome::Gone);
        }
        let draft = Draft { kind: Kind::Live, now, deadline, payload: &*next };
        match vault.replace(&stored.place, &version, commit, draft).await? {
            Attempt::Done(done, record) => {
                let live = done.header.kind == Kind::Live;
                if let Sealed::Found(record) = &record
                    && live
                    && done.header.commits[0] != commit
                {
                    next = reopen(vault, &stored.place, record)?;
                }
                turn.leave(&done, record);
                if !live {
                    return Ok(Outcome::Gone);
                }
                let line = if emptied {
                    Some(Line::Remove)
                } else {
                    (deadline != version.header.deadline).then(|| Line::Id(stored.id.clone(), deadline))
                };
                return Ok(Outcome::Committed(committed(stored, done, next, line)));
            }
            Attempt::Changed(found) => {
                let Some((changed, record)) = found.live() else { return Ok(Outcome::Gone) };
                reloaded = Some(reopen(vault, &stored.place, &record)?);
                version = changed;
                // One writer of each process is here at a time, so few compete: who waited would lose to who did not, and
                // those behind it wait too. Only where many processes compete do they give way to each other.
                if round >= CROWD && round + 1 < rounds {
                    pause(round - CROWD).await;
                }
            }
        }
    }
    Err(contended())
}

/// Tells the owner's index of a later deadline or another label before the session has it; `false` when the session was
/// revoked.
async fn keep_listed(
    shared: &Shared,
    vault: &Vault,
    stored: &Stored,
    (version, base): (&Version, &Content),
    next: &Content,
    deadline: u64,
) -> Result<bool> {
    let Some(owner) = next.owner.as_ref().filter(|owner| owner.handle != 0) else { return Ok(true) };
    // The index knows the deadline that the session was written with, which today's rules may not be those of.
    if deadline <= version.header.deadline && next.label == base.label {
        return Ok(true);
    }
    let key = stored.place.key;
    Box::pin(shared.owners.follow(vault, owner, next.label.as_ref(), (key, key), deadline)).await
}

fn client_side(shared: &Shared, job: &Job, view: Option<Arc<Content>>) -> Result<Outcome> {
    let Backend::Client(client) = &shared.backend else { return Err(gone()) };
    let now = shared.now();
    let deadline = match &job.base {
        Some(Base::Client { deadline }) => Some(*deadline),
        _ => None,
    };
    let base = &job.loaded;
    if deadline.is_some_and(|deadline| shared.policy.effective(base, deadline) <= now) {
        return Ok(Outcome::Gone);
    }
    let mut next = match view {
        Some(view) => view,
        None => Arc::new(change::replay(base, &job.log)?),
    };
    if deadline.is_none() {
        begun(&mut next, &job.log, now);
    }
    let known = deadline.is_some() || job.doomed.is_some();
    if next.is_empty() {
        let line = known.then_some(Line::Remove);
        return Ok(Outcome::Committed(Committed { base: None, content: next, line }));
    }
    let refresh = deadline.is_none_or(|deadline| shared.policy.wants_refresh(base, deadline, now));
    if next.same(base) && !refresh && !job.rotate {
        return Ok(Outcome::Committed(Committed { base: job.base.clone(), content: next, line: None }));
    }
    if refresh {
        Arc::make_mut(&mut next).touched = now;
    }
    let deadline = shared.policy.deadline(&next);
    let line = Line::Sealed(seal_fitting(client, &mut next, &job.log, deadline)?, deadline);
    Ok(Outcome::Committed(Committed {
        base: Some(Base::Client { deadline }),
        content: next,
        line: Some(line),
    }))
}

/// Seals a client-side session. Where the cookie would be too large, the oldest flash is dropped until it fits: a visitor
/// who never sees a page that shows it must not be locked out by it. What this request pushed last stays.
fn seal_fitting(
    client: &ClientSide,
    next: &mut Arc<Content>,
    log: &[Change],
    deadline: u64,
) -> Result<String> {
    let newest = change::pushed_ids(log).last().copied();
    let mut dropped = 0_usize;
    loop {
        match client.seal(next, deadline) {
            Err(error) if error.is_too_large() => {
                if !Arc::make_mut(next).flash.drop_oldest(newest) {
                    return Err(error);
                }
                dropped += 1;
            }
            sealed => {
                if dropped > 0 {
                    tracing::warn!(
                        dropped,
                        "the cookie has no room for all flash that waits; the oldest was dropped"
                    );
                }
                return sealed;
            }
        }
    }
}

/// A session begins at its first write, unless a login says when.
pub(super) fn begun(content: &mut Arc<Content>, log: &[Change], now: u64) {
    if content.touched != now && change::login_of(log).is_none() {
        let content = Arc::make_mut(content);
        (content.created, content.touched) = (now, now);
    }
}

pub(super) fn committed(
    stored: &Stored,
    version: Version,
    content: Arc<Content>,
    line: Option<Line>,
) -> Committed {
    Committed { base: Some(Base::Stored(Stored { version, ..stored.clone() })), content, line }
}

pub(super) fn contended() -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("{ROUNDS} times in a row somebody else changed the session first; nothing of this commit was written"),
    )
    .during("commit")
}
