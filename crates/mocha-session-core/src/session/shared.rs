//! What every request of a manager shares: where sessions live, and the rules they live by.

use std::sync::Arc;

use bytes::Bytes;

use crate::crypto::Scope;
use crate::crypto::id::Place;
use crate::crypto::signing::Signer;
use crate::error::{Error, ErrorKind, Result};
use crate::http::transport::Carriers;
use crate::ledger::owners::Owners;
use crate::ledger::queue::{Queues, Turn};
use crate::ledger::vault::Vault;
use crate::open::Storage;
use crate::record::client_side::ClientSide;
use crate::record::content::Content;
use crate::record::policy::Policy;
use crate::store::{Capabilities, StorageKey};
use crate::time::{Clock, to_millis};

/// What every request of a manager shares.
pub(crate) struct Shared {
    pub(crate) backend: Backend,
    pub(crate) capabilities: Capabilities,
    pub(crate) storage: Storage,
    pub(crate) policy: Policy,
    pub(crate) carriers: Carriers,
    pub(crate) signer: Signer,
    pub(crate) scope: Scope,
    pub(crate) owners: Owners,
    /// Whether sessions are entered into their owner's index.
    pub(crate) owners_indexed: bool,
    pub(crate) check_owner_at_load: bool,
    pub(crate) clock: Arc<dyn Clock>,
    /// What a session holds before it is loaded: one for all, so that a session that is never
    /// loaded costs no allocation.
    pub(crate) nothing: Arc<Content>,
}

/// Where sessions live.
pub(crate) enum Backend {
    Client(ClientSide),
    Store { vault: Vault, queues: Arc<Queues> },
}

impl Shared {
    pub(crate) fn now(&self) -> u64 {
        to_millis(self.clock.now())
    }

    /// The turn to write a session, in this process.
    ///
    /// # Errors
    /// `Unavailable` when the writers before it have kept it for longer than a store call may take.
    pub(crate) async fn turn(&self, vault: &Vault, key: &StorageKey) -> Result<Turn> {
        let turn = match &self.backend {
            Backend::Store { queues, .. } => queues.turn(*key, vault.timeout).await,
            Backend::Client(_) => None,
        };
        turn.ok_or_else(|| {
            let why = "other commits of the session have waited for the engine for too long; nothing of this one was sent";
            Error::new(ErrorKind::Unavailable, why).during("commit")
        })
    }
}

/// The content of a live session's record, opened under the session's own key.
pub(crate) fn reopen(vault: &Vault, place: &Place, record: &Bytes) -> Result<Arc<Content>> {
    Content::read(vault.open(record, &place.seal)?).map(Arc::new)
}
