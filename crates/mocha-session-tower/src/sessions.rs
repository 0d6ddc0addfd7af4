//! The sessions of a request, as its layers leave them for extractors and other services.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use http::Extensions;
use mocha_session_core::{LazySession, SessionManager};

use crate::layer::Shared;

/// The sessions of a request, in its extensions: for services without extractors.
///
/// ```
/// # use mocha_session_tower::Sessions;
/// async fn service(request: http::Request<()>) -> mocha_session_core::Result<Option<u64>> {
///     let sessions = request.extensions().get::<Sessions>();
///     // `()` is the scope of `SessionLayer::new`.
///     let Some(lazy) = sessions.and_then(|sessions| sessions.get::<()>()) else { return Ok(None) };
///     lazy.load().await?.get("views")
/// }
/// ```
#[derive(Clone)]
pub struct Sessions {
    /// The layer that was passed last.
    last: Entry,
    /// Those around it, from the outside in.
    outer: Vec<Entry>,
}

/// The session of one layer.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) scope: TypeId,
    pub(crate) lazy: LazySession,
    pub(crate) shared: Arc<Shared>,
}

impl Sessions {
    /// The session of scope `S`, not loaded yet. Of several layers of one scope it is the
    /// innermost's.
    pub fn get<S: 'static>(&self) -> Option<&LazySession> {
        self.entry(TypeId::of::<S>()).map(|entry| &entry.lazy)
    }

    pub(crate) fn entry(&self, scope: TypeId) -> Option<&Entry> {
        self.entries().find(|entry| entry.scope == scope)
    }

    /// The session that this manager opened.
    pub(crate) fn opened_by(&self, manager: &SessionManager) -> Option<&Entry> {
        self.entries().find(|entry| manager.opened(&entry.lazy))
    }

    /// Whether a session is kept under the cookie name of this manager.
    pub(crate) fn has_cookie_of(&self, manager: &SessionManager) -> bool {
        self.entries().any(|entry| entry.shared.manager.cookie_name() == manager.cookie_name())
    }

    pub(crate) fn add(extensions: &mut Extensions, entry: Entry) {
        match extensions.get_mut::<Self>() {
            Some(sessions) => sessions.outer.push(std::mem::replace(&mut sessions.last, entry)),
            None => drop(extensions.insert(Self { last: entry, outer: Vec::new() })),
        }
    }

    /// From the inside out.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.last).chain(self.outer.iter().rev())
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries().map(|entry| &entry.lazy)).finish()
    }
}
