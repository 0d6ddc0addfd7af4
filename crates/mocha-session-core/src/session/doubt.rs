//! A commit whose outcome is unknown, with everything that a retry needs to apply it only once.

use std::sync::Arc;

use super::base::{Doomed, Stored};
use crate::ledger::written::Version;
use crate::record::CommitId;
use crate::record::content::Content;

/// A commit whose outcome is unknown.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// The id of the commit. The record has it if the commit was done.
    pub(crate) commit: CommitId,
    /// The number of changes, from the start of the log, that the commit contained.
    pub(crate) changes: usize,
    /// The version of the record that it should replace.
    pub(crate) version: Version,
    pub(crate) base: Arc<Content>,
    /// The session's new id, if the commit was a rotation or created the session.
    pub(crate) successor: Option<NewSession>,
}

/// A session with an id that no client knows yet.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) stored: Stored,
    pub(crate) content: Arc<Content>,
}

impl NewSession {
    /// Returns the session as one to be ended.
    pub(crate) fn doomed(&self) -> Doomed {
        Doomed::of(&self.stored, &self.content)
    }
}

impl Doubt {
    /// Returns whether the commit changes the session's id.
    pub(crate) fn rotates(&self) -> bool {
        self.successor.is_some()
    }
}
