//! A try of a commit that was neither done nor refused: what another try needs to know to apply it
//! once.

use std::sync::Arc;

use super::state::{Doomed, Stored};
use crate::ledger::vault::Version;
use crate::record::CommitId;
use crate::record::content::Content;

/// A try whose outcome is unknown.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// Names the try in the record that it wrote, if it did.
    pub(crate) commit: CommitId,
    /// How many changes of the log it held: the first ones.
    pub(crate) changes: usize,
    /// The record that it was to replace.
    pub(crate) version: Version,
    pub(crate) base: Arc<Content>,
    /// Where the session goes on if it was done: the new id of a rotation, or of a session that
    /// begins.
    pub(crate) successor: Option<NewSession>,
}

/// A session under an id that no client knows yet.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) stored: Stored,
    pub(crate) content: Arc<Content>,
}

impl NewSession {
    /// This session, to be ended.
    pub(crate) fn doomed(&self) -> Doomed {
        Doomed::of(&self.stored, &self.content)
    }
}

impl Doubt {
    /// Whether it was to change the session's id.
    pub(crate) fn rotates(&self) -> bool {
        self.successor.is_some()
    }
}
