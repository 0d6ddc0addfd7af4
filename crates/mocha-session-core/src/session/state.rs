//! The state of a request's session: the base, the log, the view, and the response's cookie line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::base::{Base, Doomed, Stored};
use super::change::{self, Change};
use super::doubt::{Doubt, NewSession};
use crate::crypto::id::SessionId;
use crate::error::{Error, ErrorKind, Result};
use crate::http::request::{RequestHeaders, RequestInfo};
use crate::http::transport::Via;
use crate::record::content::Content;
use crate::session::reading::Reading;
use crate::session::shared::Shared;

/// The session of one request. It is a single allocation, with the request's header lines at its
/// end.
pub(crate) struct Inner<H: ?Sized = dyn RequestHeaders> {
    pub(crate) shared: Arc<Shared>,
    /// Serialises the loads and commits of this request.
    pub(crate) gate: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// Notified when the request is finished.
    pub(crate) finished: tokio::sync::Notify,
    pub(crate) speculative: bool,
    /// Whether there is a response that can set a cookie. A detached session has none.
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
    /// Closes the session: nothing can be committed any more. The closures of updates may own the
    /// session itself, so they are dropped without the lock.
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

/// Special cases of the request's cookies.
#[derive(Debug, Default)]
pub(crate) enum Standing {
    #[default]
    Ordinary,
    /// The browser has already received a newer cookie than it sent. Only a login stores anything.
    Superseded,
    /// The cookies name several live sessions. Only a login or a logout stores anything, and ends
    /// all of them.
    Several(Vec<Doomed>),
}

/// The `Set-Cookie` line of the response, or its token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    /// Sets an id, with the cookie's expiry: milliseconds since 1970, or
    /// [`UNTIL_CLOSED`](crate::record::content::UNTIL_CLOSED).
    Id(SessionId, u64),
    /// Sets an encrypted session, with the cookie's expiry.
    Sealed(String, u64),
    /// Removes the cookie.
    Remove,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The session was not loaded yet.
    #[default]
    Untouched,
    Loaded,
    /// The engine failed, and the policy is to continue without a session. It cannot be changed.
    ReadOnly,
    /// The record cannot be read, and the policy is to continue without a session. Only a login can
    /// start a new one.
    Unreadable,
    /// The session was destroyed, revoked, rotated or expired since it was loaded. The changes were
    /// dropped, and the response must not change the cookie.
    Gone,
    /// The response headers were written.
    Finished,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// Whether loading has finished, with a session or without.
    pub(crate) touched: bool,
    /// The session in the store or cookie, if there is one.
    pub(crate) base: Option<Base>,
    /// The content of the base; `None` while `view` is unchanged.
    pub(crate) original: Option<Arc<Content>>,
    /// The content with the changes of this request.
    pub(crate) view: Arc<Content>,
    pub(crate) log: Vec<Change>,
    pub(crate) rotate: bool,
    /// The sessions that this request destroyed. The commit ends them.
    pub(crate) doomed: Vec<Doomed>,
    pub(crate) standing: Standing,
    /// An earlier commit of the first changes of the log, whose outcome is unknown.
    pub(crate) doubt: Option<Box<Doubt>>,
    /// Counts the edits of the log, so that a replay without the lock notices them.
    pub(crate) edits: u64,
    /// Counts the calls of [`start_over`](Self::start_over), so that a concurrent commit does not
    /// restore the old session.
    pub(crate) starts: u32,
    /// The cookie line that the commits so far require.
    pub(crate) line: Option<Line>,
    /// The cookie is not signed, or was signed or encrypted with an old secret.
    pub(crate) stale_cookie: bool,
    pub(crate) flash: Reading,
    /// The transport of the session, or of the response to a client without one.
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

    /// Returns whether the session was loaded.
    ///
    /// # Errors
    /// `Closed` if it was not loaded before the response, and so never will be.
    pub(crate) fn is_touched(&self) -> Result<bool> {
        if self.phase == Phase::Finished && !self.touched {
            Err(closed())
        } else {
            Ok(self.touched)
        }
    }

    /// Checks that the session may be changed.
    pub(crate) fn writable(&self) -> Result<()> {
        match self.phase {
            Phase::Loaded => Ok(()),
            Phase::Untouched => Err(Error::new(ErrorKind::Internal, "the session was not loaded")),
            Phase::ReadOnly => Err(Error::new(
                ErrorKind::Unavailable,
                "the engine failed when the session was loaded; this request has no session that \
                 it could change",
            )),
            Phase::Unreadable => Err(Error::corrupt(
                "the session's record cannot be read; this request has no session unless a user \
                 logs in",
            )),
            Phase::Gone => Err(gone()),
            Phase::Finished => Err(closed()),
        }
    }

    /// Adds a change to the log and applies it to the view.
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

    /// Adds a change to the log whose effect on the view is already known.
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

    /// Returns the content without this request's uncommitted changes.
    pub(crate) fn before(&self) -> &Content {
        self.original.as_deref().unwrap_or(&self.view)
    }

    /// Returns whether a commit that moves a deadline changes the response's headers. A token has no
    /// deadline, but its client must learn that its session has become empty, or is no longer so.
    pub(crate) fn tells_deadline(&self) -> bool {
        let emptied = || self.view.is_empty() || self.before().told == 0;
        self.via.cookie() || (self.base.is_some() && emptied())
    }

    /// Discards everything that was loaded and changed. Later changes start a new session.
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

    /// Discards the uncommitted changes, so that the session is as it was `loaded`. Returns the log,
    /// which must be dropped without the lock because its closures may own the session itself.
    #[must_use = "it must be dropped without the lock"]
    pub(crate) fn undo(&mut self, loaded: Arc<Content>, now: u64) -> Vec<Change> {
        self.edits += 1;
        self.rotate = false;
        self.doubt = None;
        self.flash.forget();
        (self.original, self.view) = match self.base {
            Some(_) => (None, loaded),
            None => (Some(loaded), Arc::new(Content::new(now))),
        };
        std::mem::take(&mut self.log)
    }

    /// Marks all sessions of the request to be ended: the base, a session that a commit of this
    /// request may have created, and all sessions that the cookies name.
    pub(crate) fn doom(&mut self, now: u64) {
        match self.base.take() {
            Some(base) => self.doomed.push(base.doomed(self.before())),
            None => {
                let begun = self.doubt.as_ref().and_then(|doubt| doubt.successor.as_ref());
                if let Some(NewSession { stored, content }) = begun {
                    let (key, owner) = (stored.place.key, content.owner.clone());
                    let id = stored.id.clone();
                    self.doomed.push(Doomed::Stored { id, key, version: None, owner });
                }
            }
        }
        self.doom_several();
        self.start_over(now);
    }

    /// If the cookies name several sessions, marks all of them to be ended.
    pub(crate) fn doom_several(&mut self) {
        if let Standing::Several(all) = &mut self.standing {
            self.doomed.append(all);
            self.standing = Standing::Ordinary;
        }
    }

    /// Closes the session when the response headers are written. Returns the log, which must be
    /// dropped without the lock because its closures may own the session itself.
    #[must_use = "it must be dropped without the lock"]
    pub(crate) fn close(&mut self) -> Vec<Change> {
        self.phase = Phase::Finished;
        self.edits += 1;
        self.doubt = None;
        std::mem::take(&mut self.log)
    }

    /// Returns whether a commit would have anything to do.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.log.is_empty() || self.rotate || !self.doomed.is_empty()
    }
}

/// Replaces the base and replays the log on it, without the lock because the closures of updates
/// may use the session. Returns `false` if the session was started over at the same time.
///
/// # Errors
/// The errors of the changes. Base and content are unchanged then.
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
        "the response headers were written, so the session cannot change any more; use a \
         detached() handle for later work",
    )
}

pub(crate) fn gone() -> Error {
    Error::new(
        ErrorKind::Gone,
        "the session was destroyed, revoked, rotated or expired during this request; its changes \
         were dropped",
    )
}

/// A base that is in the store.
pub(crate) fn stored(base: Option<&Base>) -> Option<&Stored> {
    match base {
        Some(Base::Stored(stored)) => Some(stored),
        _ => None,
    }
}
