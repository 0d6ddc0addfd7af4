//! A record's readable header, for operators' tools: its kind and its deadline, without a key.

use std::time::SystemTime;

use super::{Header, Kind, thaw};
use crate::error::Result;
use crate::store::Stored;
use crate::time::from_millis;

/// The kind of a record in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RecordKind {
    /// A session.
    Session,
    /// A tombstone: the session has a newer id.
    Moved,
    /// A tombstone: the session's own browser ended it.
    Ended,
    /// A tombstone: the session was revoked.
    Revoked,
    /// The index of an owner's sessions.
    OwnerIndex,
    /// A session that is being moved to another engine.
    Moving,
}

impl RecordKind {
    /// Returns a name for reports and labels, such as `session` or `owner_index`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Moved => "moved",
            Self::Ended => "ended",
            Self::Revoked => "revoked",
            Self::OwnerIndex => "owner_index",
            Self::Moving => "moving",
        }
    }
}

/// The readable header of a record. It is enough to count and move records, and contains nothing of
/// the session's content.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{RecordInfo, RecordKind, SessionManager};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let manager = SessionManager::in_memory()?;
/// manager.seed(|session| session.insert("views", 1)).await?;
/// let store = manager.storage().store().unwrap();
/// let page = store.scan(None, 10).await?;
/// let (_key, stored) = page.into_entries().into_iter().next().unwrap();
/// assert_eq!(RecordInfo::read(&stored)?.kind(), RecordKind::Session);
/// # Ok::<(), mocha_session_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordInfo {
    kind: RecordKind,
    expires_at: SystemTime,
}

impl RecordInfo {
    /// Reads the header of a stored value.
    ///
    /// # Errors
    /// `Corrupt` if the value is not a record that this version can read.
    pub fn read(stored: &Stored) -> Result<Self> {
        let frozen = thaw(stored.value());
        let (header, ..) = Header::read(frozen.as_ref().unwrap_or(stored.value()))?;
        let kind = match header.kind {
            _ if frozen.is_some() => RecordKind::Moving,
            Kind::Live => RecordKind::Session,
            Kind::Moved(_) => RecordKind::Moved,
            Kind::Ended => RecordKind::Ended,
            Kind::Revoked => RecordKind::Revoked,
            Kind::Index => RecordKind::OwnerIndex,
        };
        Ok(Self { kind, expires_at: from_millis(header.deadline) })
    }

    /// Returns the kind of the record.
    pub fn kind(&self) -> RecordKind {
        self.kind
    }

    /// Returns when the record expires. A session may expire sooner, if the manager's rules have
    /// become stricter since it was written.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}
