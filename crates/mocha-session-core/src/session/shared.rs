//! The state that all requests of a manager share: the storage and the configuration.

use std::sync::Arc;

use bytes::Bytes;

use crate::crypto::Scope;
use crate::crypto::id::{Place, SessionId};
use crate::crypto::signing::Signer;
use crate::error::Result;
use crate::future::Tasks;
use crate::http::transport::Carriers;
use crate::ledger::owners::Owners;
use crate::ledger::vault::Vault;
use crate::observe::{Event, Observed, Subject};
use crate::open::Storage;
use crate::record::client_side::ClientSide;
use crate::record::content::{Content, Owner};
use crate::record::policy::Policy;
use crate::session::old::TakesOver;
use crate::store::Capabilities;
use crate::time::{Clock, to_millis};

/// The state that all requests of a manager share.
pub(crate) struct Shared {
    pub(crate) backend: Backend,
    pub(crate) capabilities: Capabilities,
    pub(crate) storage: Storage,
    pub(crate) policy: Policy,
    pub(crate) carriers: Carriers,
    pub(crate) signer: Signer,
    pub(crate) scope: Scope,
    pub(crate) owners: Owners,
    /// Whether sessions are listed in owner indexes.
    pub(crate) owners_indexed: bool,
    pub(crate) check_owner_at_load: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observed: Observed,
    /// Commits and revocations that outlive their callers.
    pub(crate) tasks: Tasks,
    /// The sessions of another library, if they are taken over.
    pub(crate) old: Option<Arc<dyn TakesOver>>,
    /// The content of a session before it is loaded. It is shared, so that a session that is never
    /// loaded allocates nothing for it.
    pub(crate) nothing: Arc<Content>,
}

/// The storage, prepared for use.
pub(crate) enum Backend {
    Client(ClientSide),
    Store(Vault),
}

impl Shared {
    pub(crate) fn now(&self) -> u64 {
        to_millis(self.clock.now())
    }

    /// Reports an event of a session to the observer.
    pub(crate) fn tell(
        &self,
        id: Option<&SessionId>,
        owner: Option<&Owner>,
        event: impl for<'s> FnOnce(Subject<'s>) -> Event<'s>,
    ) {
        if self.observed.is_some() {
            let fingerprint = id.map(|id| id.fingerprint(&self.scope));
            let owner = owner.map(|owner| owner.name.as_str());
            self.observed.tell(|| event(Subject::new(fingerprint.as_deref(), owner)));
        }
    }
}

/// Decrypts and decodes a live session's record.
pub(crate) fn reopen(vault: &Vault, place: &Place, record: &Bytes) -> Result<Arc<Content>> {
    Content::read(vault.open(record, &place.seal)?).map(Arc::new)
}
