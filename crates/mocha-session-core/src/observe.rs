//! Events for operators: reports sessions and store calls to an observer.
//!
//! Without an observer no event is built. An event never contains an id, a secret or a payload.

pub(crate) mod spans;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;

/// Receives events about sessions and store calls, for metrics, audit logs and traces.
///
/// It is called while a request is served, so it must not block. It must not use a session.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use mocha_session::observe::{Event, Observer};
/// use mocha_session::SessionManager;
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
/// # let storage = mocha_session::Storage::client_side()
/// #     .with_secrets(mocha_session::Secrets::generate()?);
/// let manager = SessionManager::builder(storage).observer(Conflicts::default()).build()?;
/// # drop(manager);
/// # Ok::<(), mocha_session::Error>(())
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Handles an event.
    fn observe(&self, event: &Event<'_>);
}

/// A shared observer.
impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }
}

/// The session that an event is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'e> {
    fingerprint: Option<&'e str>,
    owner: Option<&'e str>,
}

impl<'e> Subject<'e> {
    /// Returns the session's [fingerprint](crate::SessionData::fingerprint): a name for logs, from
    /// which the id cannot be computed. `None` if the id is not known, as in a revocation, and for
    /// client-side sessions, which have none.
    pub fn fingerprint(&self) -> Option<&'e str> {
        self.fingerprint
    }

    /// Returns the owner, if a user is logged in.
    pub fn owner(&self) -> Option<&'e str> {
        self.owner
    }
}

/// The outcome of loading a request's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loading {
    /// The session is live.
    Found,
    /// The store has no record under the id, or the session was revoked.
    Absent,
    /// The session has expired. Engines that remove expired entries report `Absent` instead.
    Expired,
    /// The session has a newer id, or its own browser ended it.
    Superseded,
    /// The owner index does not list the session, so it counts as revoked.
    Refused,
}

impl Loading {
    /// Returns a name for metric labels and log fields, such as `found`.
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

/// The reason why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// A request of the session destroyed it, as a logout does.
    Destroyed,
    /// Another session or the application revoked it.
    Revoked,
    /// A later login of its owner revoked it, because the owner had too many sessions.
    MadeRoom,
    /// Its last value and message were removed.
    Emptied,
}

impl Ending {
    /// Returns a name for metric labels and log fields, such as `made_room`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Destroyed => "destroyed",
            Self::Revoked => "revoked",
            Self::MadeRoom => "made_room",
            Self::Emptied => "emptied",
        }
    }
}

/// An event.
///
/// Later versions may add events and fields, so match with `..` and end with a `_` arm.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'e> {
    /// A request's session was loaded, or not found.
    #[non_exhaustive]
    Loaded {
        /// The session that the request's id names.
        session: Subject<'e>,
        /// The outcome.
        outcome: Loading,
    },
    /// A session was stored for the first time.
    #[non_exhaustive]
    Created {
        /// The new session.
        session: Subject<'e>,
    },
    /// Changes to an existing session were written.
    #[non_exhaustive]
    Committed {
        /// The session.
        session: Subject<'e>,
        /// The number of attempts: one if there was no other writer.
        rounds: u32,
        /// The size of the record in bytes.
        bytes: usize,
    },
    /// Another request wrote the session first. The changes are applied again, to its result.
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
    /// The session was given a new id.
    #[non_exhaustive]
    Rotated {
        /// The session under its new id.
        session: Subject<'e>,
        /// The fingerprint of the old id.
        from: &'e str,
    },
    /// A user logged in.
    #[non_exhaustive]
    LoggedIn {
        /// The session, with its owner.
        session: Subject<'e>,
    },
    /// A login was refused, because its user has too many sessions.
    #[non_exhaustive]
    LoginRefused {
        /// The session that the client has, with the user who was to be its owner.
        session: Subject<'e>,
    },
    /// A session ended.
    #[non_exhaustive]
    Ended {
        /// The session.
        session: Subject<'e>,
        /// The reason.
        how: Ending,
    },
    /// A request's changes were dropped, because its session was gone at the commit.
    #[non_exhaustive]
    Dropped {
        /// The session that is gone.
        session: Subject<'e>,
        /// The number of changes.
        changes: usize,
    },
    /// The store was called.
    #[non_exhaustive]
    StoreCall {
        /// The engine's name.
        engine: &'static str,
        /// `load`, `create`, `update`, `delete`, `sweep`, `scan` or `ping`.
        operation: &'static str,
        /// The error, if the call failed.
        error: Option<&'e Error>,
        /// The time from the call to its answer or deadline, including the time to connect.
        took: Duration,
    },
    /// A load or a commit failed.
    #[non_exhaustive]
    Failed {
        /// `load` or `commit`.
        during: &'static str,
        /// The error.
        error: &'e Error,
    },
}

/// The observer, if one is configured.
#[derive(Clone, Default)]
pub(crate) struct Observed(Option<Arc<dyn Observer>>);

impl Observed {
    pub(crate) fn by(observer: impl Observer) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Reports an event. `event` is called only if there is an observer.
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
