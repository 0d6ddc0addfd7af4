//! What a request knows of its session: what was loaded, what it changed, and what the client is to be told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::change::{self, Change};
use crate::content::Content;
use crate::error::{Error, ErrorKind, Result};
use crate::flash::Reading;
use crate::headers::{CookieHeaders, RequestInfo};
use crate::id::{Place, SessionId};
use crate::manager::Shared;
use crate::vault::Version;

/// One session in one request: a single allocation, with the request's cookie headers in its tail.
pub(crate) struct Inner<C: ?Sized = dyn CookieHeaders> {
    pub(crate) shared: Arc<Shared>,
    /// Loads and commits of this request happen one at a time.
    pub(crate) gate: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    pub(crate) speculative: bool,
    pub(crate) cookies: C,
}

impl<C: CookieHeaders> Inner<C> {
    pub(crate) fn new(shared: Arc<Shared>, request: RequestInfo<C>) -> Self {
        Self {
            state: Mutex::new(State::untouched(Arc::clone(&shared.nothing))),
            shared,
            gate: tokio::sync::Mutex::new(()),
            speculative: request.is_speculative(),
            cookies: request.cookies,
        }
    }
}

impl Inner {
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

/// A session in the store: its secret id, and the version that was seen last.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) id: SessionId,
    pub(crate) place: Place,
    pub(crate) version: Version,
}

/// What the response's cookie line will say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    /// This id, until this deadline (in milliseconds since 1970).
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
    /// Destroyed, revoked, rotated or expired meanwhile: changes were dropped and the cookie is not ours to touch.
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
    pub(crate) doomed: Option<Box<(Base, Arc<Content>)>>,
    /// What commits so far want the client to be told.
    pub(crate) line: Option<Line>,
    /// The cookie was signed or sealed with an old secret, or not at all.
    pub(crate) stale_cookie: bool,
    pub(crate) flash: Reading,
}

impl State {
    fn untouched(view: Arc<Content>) -> Self {
        Self {
            phase: Phase::Untouched,
            touched: false,
            base: None,
            original: None,
            view,
            log: Vec::new(),
            rotate: false,
            doomed: None,
            line: None,
            stale_cookie: false,
            flash: Reading::default(),
        }
    }

    /// Whether the session was loaded already.
    ///
    /// # Errors
    /// `Closed` when it was not and never will be.
    pub(crate) fn is_touched(&self) -> Result<bool> {
        if self.phase == Phase::Finished && !self.touched { Err(closed()) } else { Ok(self.touched) }
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
        self.log.push(change);
        let applied = change::apply_last(Arc::make_mut(&mut self.view), &self.log);
        if applied.is_err() {
            self.log.pop();
        }
        applied
    }

    /// Logs a change whose effect on the view is known already.
    pub(crate) fn change_known(&mut self, change: Change, apply: impl FnOnce(&mut Content)) -> Result<()> {
        self.writable()?;
        if self.original.is_none() {
            self.original = Some(Arc::clone(&self.view));
        }
        apply(Arc::make_mut(&mut self.view));
        self.log.push(change);
        Ok(())
    }

    /// Takes a change back that was not committed.
    pub(crate) fn take_back(&mut self, which: impl Fn(&Change) -> bool) -> Result<()> {
        let Some(original) = self.original.clone() else { return Ok(()) };
        self.log.retain(|change| !which(change));
        self.rebase_view(original)
    }

    /// Goes on from another base: what is logged is applied over it.
    pub(crate) fn rebase(&mut self, base: Base, content: Arc<Content>) -> Result<()> {
        // The view first: if the log does not apply there, base and content must not part.
        self.rebase_view(content)?;
        self.base = Some(base);
        Ok(())
    }

    /// Goes on from other content.
    pub(crate) fn rebase_view(&mut self, content: Arc<Content>) -> Result<()> {
        if self.log.is_empty() {
            (self.view, self.original) = (content, None);
        } else {
            self.view = Arc::new(change::replay(&content, &self.log)?);
            self.original = Some(content);
        }
        Ok(())
    }

    /// The content as it was before this request's uncommitted changes.
    pub(crate) fn before(&self) -> &Content {
        self.original.as_deref().unwrap_or(&self.view)
    }

    /// Forgets everything loaded and changed: what comes next begins a new session.
    pub(crate) fn start_over(&mut self, now: u64) {
        self.base = None;
        self.original = None;
        self.view = Arc::new(Content::new(now));
        self.log.clear();
        self.rotate = false;
        self.flash.forget();
    }

    /// Whether a commit would have anything to do.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.log.is_empty() || self.rotate || self.doomed.is_some()
    }
}

fn closed() -> Error {
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
