//! What an operator may see: events of sessions and store calls, told to an observer.
//!
//! Without an observer nothing is computed. An event never holds an id, a secret or a payload.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;

/// Is told what happens to sessions and to store calls: for metrics, audit logs and traces.
///
/// It is called on the request's path, so it must not block; and it must not use a session.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use mocha_session_core::observe::{Event, Observer};
/// use mocha_session_core::SessionManager;
///
/// #[derive(Default)]
/// struct Conflicts(AtomicU64);
///
/// impl Observer for Conflicts {
///     fn observe(&self, event: &Event<'_>) {
///         if let Event::Conflicted { .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// # let storage = mocha_session_core::Storage::client_side()
/// #     .with_secrets(mocha_session_core::Secrets::generate()?);
/// let manager = SessionManager::builder(storage).observer(Conflicts::default()).build()?;
/// # drop(manager);
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Something has happened.
    fn observe(&self, event: &Event<'_>);
}

/// An observer that is shared.
impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }
}

/// Which session an event is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'e> {
    fingerprint: Option<&'e str>,
    owner: Option<&'e str>,
}

impl<'e> Subject<'e> {
    /// What [`SessionData::fingerprint`](crate::SessionData::fingerprint) returns: a name for logs
    /// that the id does not follow from. `None` where the id is not known, as in a revocation, and
    /// for client-side sessions, which have none.
    pub fn fingerprint(&self) -> Option<&'e str> {
        self.fingerprint
    }

    /// Whom the session belongs to, if somebody is logged in.
    pub fn owner(&self) -> Option<&'e str> {
        self.owner
    }
}

/// How a look for a request's session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loading {
    /// There is a live session.
    Found,
    /// The store has nothing under the id, or the session was revoked.
    Absent,
    /// The session's time is over. Engines that remove what has expired say `Absent`.
    Expired,
    /// The session has a newer id, or its own browser ended it.
    Superseded,
    /// The owner's index does not list the session: it counts as revoked.
    Refused,
}

impl Loading {
    /// A name for labels of metrics and fields of logs: `found`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// Its own request destroyed it: a logout.
    Destroyed,
    /// Another session or the application revoked it.
    Revoked,
    /// A login of its owner needed the room.
    MadeRoom,
    /// Its last value and message were removed.
    Emptied,
}

impl Ending {
    /// A name for labels of metrics and fields of logs: `made_room`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Destroyed => "destroyed",
            Self::Revoked => "revoked",
            Self::MadeRoom => "made_room",
            Self::Emptied => "emptied",
        }
    }
}

/// Something that has happened.
///
/// Events and fields may be added: match with `..`, and with `_` at the end.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A request's session was looked for.
    #[non_exhaustive]
    Loaded {
        /// The session that the request's id names.
        session: Subject<'e>,
        /// What was found.
        outcome: Loading,
    },
    /// A session was stored for the first time.
    #[non_exhaustive]
    Created {
        /// The new session.
        session: Subject<'e>,
    },
    /// Changes were written to a session that there was.
    #[non_exhaustive]
    Committed {
        /// The session.
        session: Subject<'e>,
        /// How many tries it took: one if nobody else wrote.
        rounds: u32,
        /// The size of the record.
        bytes: usize,
    },
    /// Another request had written the session first: the changes are applied again.
    #[non_exhaustive]
    Conflicted {
        /// The session.
        session: Subject<'e>,
    },
    /// The idle deadline was moved, and nothing else was written.
    #[non_exhaustive]
    Refreshed {
        /// The session.
        session: Subject<'e>,
    },
    /// The session has a new id.
    #[non_exhaustive]
    Rotated {
        /// The session under its new id.
        session: Subject<'e>,
        /// The fingerprint of the old id.
        from: &'e str,
    },
    /// Somebody logged in.
    #[non_exhaustive]
    LoggedIn {
        /// The session, and whose it is.
        session: Subject<'e>,
    },
    /// A session ended.
    #[non_exhaustive]
    Ended {
        /// The session.
        session: Subject<'e>,
        /// Why.
        how: Ending,
    },
    /// A request's changes were dropped, because its session was gone at the commit.
    #[non_exhaustive]
    Dropped {
        /// The session that is gone.
        session: Subject<'e>,
        /// How many changes there were.
        changes: usize,
    },
    /// The store was called.
    #[non_exhaustive]
    StoreCall {
        /// The engine's name.
        engine: &'static str,
        /// `load`, `create`, `update`, `delete`, `sweep`, `scan` or `ping`.
        operation: &'static str,
        /// Why it failed, if it did.
        error: Option<&'e Error>,
        /// From the call to its answer or deadline, with the time for a connection.
        took: Duration,
    },
    /// A load or a commit failed.
    #[non_exhaustive]
    Failed {
        /// `load` or `commit`.
        during: &'static str,
        /// Why.
        error: &'e Error,
    },
}

/// The observer, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Observed(Option<Arc<dyn Observer>>);

impl Observed {
    pub(crate) fn by(observer: impl Observer) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Tells the observer; `event` is made only where there is one.
    pub(crate) fn tell<'e>(&self, event: impl FnOnce() -> Event<'e>) {
        if let Some(observer) = &self.0 {
            observer.observe(&event());
        }
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.is_some()).finish()
    }
}

impl<'e> Subject<'e> {
    pub(crate) fn new(fingerprint: Option<&'e str>, owner: Option<&'e str>) -> Self {
        Self { fingerprint, owner }
    }
}
