//! What a request knows of its session: what was loaded, what it changed, and what the client is to
//! be told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::change::{self, Change};
use super::doubt::Doubt;
use crate::crypto::id::{Place, SessionId};
use crate::error::{Error, ErrorKind, Result};
use crate::http::request::{RequestHeaders, RequestInfo};
use crate::http::transport::Via;
use crate::ledger::vault::Version;
use crate::record::content::{Content, Owner};
use crate::session::reading::Reading;
use crate::session::shared::Shared;
use crate::store::StorageKey;

/// One session in one request: a single allocation, with the request's header lines in its
/// tail.
pub(crate) struct Inner<H: ?Sized = dyn RequestHeaders> {
    pub(crate) shared: Arc<Shared>,
    /// Loads and commits of this request happen one at a time.
    pub(crate) gate: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// Told when the request is finished.
    pub(crate) finished: tokio::sync::Notify,
    pub(crate) speculative: bool,
    /// Whether a response may tell the client what is committed. A detached session has none.
    pub(crate) tells: bool,
    pub(crate) headers: H,
}

impl<H: RequestHeaders> Inner<H> {
    pub(crate) fn new(shared: Arc<Shared>, request: RequestInfo<H>, tells: bool) -> Self {
        Self {
            state: Mutex::new(State::untouched(&shared)),
            shared,
            gate: tokio::sync::Mutex::new(()),
            finished: tokio::sync::Notify::new(),
            speculative: request.is_speculative(),
            tells,
            headers: request.headers,
        }
    }
}

impl Inner {
    /// Nothing is committed any more. The closures of updates may hold the session itself, so they
    /// are dropped here, without the lock.
    pub(crate) fn close(&self) -> (Via, Option<Line>) {
        let (told, forgotten) = {
            let mut state = self.state();
            ((state.via, state.line.take()), state.close())
        };
        drop(forgotten);
        self.finished.notify_waiters();
        told
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the session was found.
#[derive(Clone, Debug)]
pub(crate) enum Base {
    /// In the store.
    Stored(Stored),
    /// In the client's cookie, which expires then.
    Client { deadline: u64 },
}

impl Base {
    /// This session, to be ended.
    pub(crate) fn doomed(&self, content: &Content) -> Doomed {
        match self {
            Self::Stored(stored) => Doomed::of(stored, content),
            Self::Client { .. } => Doomed::Client,
        }
    }
}

/// A session in the store: its secret id, and the version that was seen last.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: SessionId,
    pub(crate) place: Place,
    pub(crate) version: Version,
}

/// A session that this request ends.
#[derive(Clone, Debug)]
pub(crate) enum Doomed {
    Stored {
        key: StorageKey,
        version: Option<Version>,
        owner: Option<Owner>,
    },
    /// In the client's cookie: removing that is all there is to do.
    Client,
}

impl Doomed {
    pub(crate) fn of(stored: &Stored, content: &Content) -> Self {
        let (key, version) = (stored.place.key, Some(stored.version.clone()));
        Self::Stored { key, version, owner: content.owner.clone() }
    }
}

/// What the request's cookies were found to be, where they are no single live session.
#[derive(Debug, Default)]
pub(crate) enum Standing {
    #[default]
    Ordinary,
    /// The browser was told something newer than what it sent: only a login stores anything.
    Superseded,
    /// Several live sessions: only a login or a logout stores anything, and ends them all.
    Several(Vec<Doomed>),
}

/// What the response's cookie line, or its token's, will say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    /// This id, until this deadline (in milliseconds since 1970, or until the browser is closed).
    Id(SessionId, u64),
    /// This sealed session, until this deadline.
    Sealed(String, u64),
    Remove,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody asked for the session yet.
    #[default]
    Untouched,
    Loaded,
    /// The engine failed and the policy is to go on without a session: nothing can be changed.
    ReadOnly,
    /// The record cannot be read and the policy is to go on without a session: only a login can
    /// begin one.
    Unreadable,
    /// Destroyed, revoked, rotated or expired meanwhile: changes were dropped and the cookie is not
    /// ours to touch.
    Gone,
    /// The response has its headers.
    Finished,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// Whether it was loaded, or given up on.
    pub(crate) touched: bool,
    /// The session in the store or cookie; `None` when there is none yet.
    pub(crate) base: Option<Base>,
    /// Its content; `None` as long as `view` is unchanged.
    pub(crate) original: Option<Arc<Content>>,
    /// Its content with the changes of this request.
    pub(crate) view: Arc<Content>,
    pub(crate) log: Vec<Change>,
    pub(crate) rotate: bool,
    /// Destroyed by this request, to be ended at the commit.
    pub(crate) doomed: Vec<Doomed>,
    pub(crate) standing: Standing,
    /// A try to commit the first changes of the log that was neither done nor refused.
    pub(crate) doubt: Option<Box<Doubt>>,
    /// Counts the changes of the log, so that who replays it unlocked sees that it has changed.
    pub(crate) edits: u64,
    /// Counts the times that everything was forgotten, so that a commit that was under way does not
    /// bring it back.
    pub(crate) starts: u32,
    /// What commits so far want the client to be told.
    pub(crate) line: Option<Line>,
    /// The cookie was signed or sealed with an old secret, or not at all.
    pub(crate) stale_cookie: bool,
    pub(crate) flash: Reading,
    /// How the session came, or a client without one is answered.
    pub(crate) via: Via,
}

impl State {
    fn untouched(shared: &Shared) -> Self {
        Self {
            phase: Phase::Untouched,
            touched: false,
            base: None,
            original: None,
            view: Arc::clone(&shared.nothing),
            log: Vec::new(),
            rotate: false,
            doomed: Vec::new(),
            standing: Standing::Ordinary,
            doubt: None,
            edits: 0,
            starts: 0,
            line: None,
            stale_cookie: false,
            flash: Reading::default(),
            via: shared.carriers.first(),
        }
    }

    /// Whether the session was loaded already.
    ///
    /// # Errors
    /// `Closed` when it was not and never will be.
    pub(crate) fn is_touched(&self) -> Result<bool> {
        if self.phase == Phase::Finished && !self.touched {
            Err(closed())
        } else {
            Ok(self.touched)
        }
    }

    /// Whether the session may be changed.
    pub(crate) fn writable(&self) -> Result<()> {
        match self.phase {
            Phase::Loaded => Ok(()),
            Phase::Untouched => Err(Error::new(ErrorKind::Internal, "the session was not loaded")),
            Phase::ReadOnly => Err(Error::new(
                ErrorKind::Unavailable,
                "the engine failed when the session was loaded; this request goes on without one and cannot change it",
            )),
            Phase::Unreadable => Err(Error::corrupt(
                "the session's record cannot be read; this request goes on without one until somebody logs in",
            )),
            Phase::Gone => Err(gone()),
            Phase::Finished => Err(closed()),
        }
    }

    /// Logs a change and applies it to the view.
    pub(crate) fn change(&mut self, change: Change) -> Result<()> {
        self.writable()?;
        if self.original.is_none() {
            self.original = Some(Arc::clone(&self.view));
        }
        self.edits += 1;
        self.log.push(change);
        let applied = change::apply_last(Arc::make_mut(&mut self.view), &self.log);
        if applied.is_err() {
            self.log.pop();
        }
        applied
    }

    /// Logs a change whose effect on the view is known already.
    pub(crate) fn change_known(
        &mut self,
        change: Change,
        apply: impl FnOnce(&mut Content),
    ) -> Result<()> {
        self.writable()?;
        if self.original.is_none() {
            self.original = Some(Arc::clone(&self.view));
        }
        apply(Arc::make_mut(&mut self.view));
        self.edits += 1;
        self.log.push(change);
        Ok(())
    }

    /// The content as it was before this request's uncommitted changes.
    pub(crate) fn before(&self) -> &Content {
        self.original.as_deref().unwrap_or(&self.view)
    }

    /// Whether a commit tells the client of a deadline that it has moved. A token has none; but its
    /// client is told that its session is empty, and that it is not any more.
    pub(crate) fn tells_deadline(&self) -> bool {
        let emptied = || self.view.is_empty() || self.before().told == 0;
        self.via.cookie() || (self.base.is_some() && emptied())
    }

    /// Forgets everything loaded and changed: what comes next begins a new session.
    pub(crate) fn start_over(&mut self, now: u64) {
        self.starts += 1;
        self.edits += 1;
        self.base = None;
        self.original = None;
        self.view = Arc::new(Content::new(now));
        self.log.clear();
        self.rotate = false;
        self.doubt = None;
        self.flash.forget();
    }

    /// What the request's cookies name is to be ended: the session, a session that a commit of this
    /// request may have begun, and every one of several.
    pub(crate) fn doom(&mut self, now: u64) {
        match self.base.take() {
            Some(base) => self.doomed.push(base.doomed(self.before())),
            None => {
                let begun = self.doubt.as_ref().and_then(|doubt| doubt.successor.as_ref());
                if let Some((stored, content)) = begun {
                    let (key, owner) = (stored.place.key, content.owner.clone());
                    self.doomed.push(Doomed::Stored { key, version: None, owner });
                }
            }
        }
        self.doom_several();
        self.start_over(now);
    }

    /// Of several sessions every one is to be ended.
    pub(crate) fn doom_several(&mut self) {
        if let Standing::Several(all) = &mut self.standing {
            self.doomed.append(all);
            self.standing = Standing::Ordinary;
        }
    }

    /// The response has its headers. Returns what is to be dropped without the lock, because it may
    /// hold the session itself.
    #[must_use = "it is to be dropped without the lock"]
    pub(crate) fn close(&mut self) -> Vec<Change> {
        self.phase = Phase::Finished;
        self.edits += 1;
        self.doubt = None;
        std::mem::take(&mut self.log)
    }

    /// Whether a commit would have anything to do.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.log.is_empty() || self.rotate || !self.doomed.is_empty()
    }
}

/// Goes on from another base: what is logged is applied over it. No lock is held meanwhile, because
/// the closures of updates may use the session. `false` when everything was forgotten meanwhile.
///
/// # Errors
/// Those of the changes. Base and content are then as they were.
pub(crate) fn rebase(
    inner: &Inner,
    starts: u32,
    base: Option<&Base>,
    content: &Arc<Content>,
) -> Result<bool> {
    loop {
        let (edits, log) = {
            let state = inner.state();
            if state.starts != starts {
                return Ok(false);
            }
            if state.log.is_empty() {
                return Ok(install(state, base, content, None));
            }
            (state.edits, state.log.clone())
        };
        let view = Arc::new(change::replay(content, &log)?);
        let state = inner.state();
        if state.edits == edits {
            return Ok(install(state, base, content, Some(view)));
        }
    }
}

fn install(
    mut state: MutexGuard<'_, State>,
    base: Option<&Base>,
    content: &Arc<Content>,
    view: Option<Arc<Content>>,
) -> bool {
    state.base = base.cloned();
    state.original = view.is_some().then(|| Arc::clone(content));
    state.view = view.unwrap_or_else(|| Arc::clone(content));
    true
}

/// Undoes an uncommitted change.
///
/// # Errors
/// As [`rebase`].
pub(crate) fn take_back(inner: &Inner, which: impl Fn(&Change) -> bool) -> Result<()> {
    let (starts, base, original) = {
        let mut state = inner.state();
        let Some(original) = state.original.clone() else { return Ok(()) };
        state.edits += 1;
        state.log.retain(|change| !which(change));
        (state.starts, state.base.clone(), original)
    };
    rebase(inner, starts, base.as_ref(), &original).map(drop)
}

pub(crate) fn closed() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the response is on its way, its session cannot change any more; take a detached() handle for later work",
    )
}

pub(crate) fn gone() -> Error {
    Error::new(
        ErrorKind::Gone,
        "the session was destroyed, revoked, rotated or expired while this request was under way; its changes were dropped",
    )
}

/// A base that is in the store.
pub(crate) fn stored(base: Option<&Base>) -> Option<&Stored> {
    match base {
        Some(Base::Stored(stored)) => Some(stored),
        _ => None,
    }
}
