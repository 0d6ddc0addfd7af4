//! The base of a session: the version that was loaded or written last, and sessions to be ended.

use crate::crypto::id::{Place, SessionId};
use crate::ledger::written::Version;
use crate::record::content::{Content, Owner};
use crate::store::StorageKey;

/// The base of a session: where it was loaded from.
#[derive(Clone, Debug)]
pub(crate) enum Base {
    /// The store.
    Stored(Stored),
    /// The client's cookie, with its deadline.
    Client { deadline: u64 },
}

impl Base {
    /// Returns the session as one to be ended.
    pub(crate) fn doomed(&self, content: &Content) -> Doomed {
        match self {
            Self::Stored(stored) => Doomed::of(stored, content),
            Self::Client { .. } => Doomed::Client,
        }
    }
}

/// A session in the store: its secret id, and the version that was read last.
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
        id: SessionId,
        key: StorageKey,
        version: Option<Version>,
        owner: Option<Owner>,
    },
    /// A client-side session, which ends when its cookie is removed.
    Client,
}

impl Doomed {
    pub(crate) fn of(stored: &Stored, content: &Content) -> Self {
        let (key, version) = (stored.place.key, Some(stored.version.clone()));
        Self::Stored { id: stored.id.clone(), key, version, owner: content.owner.clone() }
    }
}
