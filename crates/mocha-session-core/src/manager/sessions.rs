//! The sessions of one request, which a framework's layers pass to its extractors.

use std::any::{TypeId, type_name};
use std::fmt;

use super::SessionManager;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::LazySession;
use crate::http::{RequestHeaders, RequestInfo};

/// The sessions of one request. A type, the scope, identifies each of them.
///
/// A framework's layers keep it in the request's extensions.
///
/// ```
/// # mod mocha_session { pub use mocha_session_core::{self as core, *}; }
/// use mocha_session::{RequestInfo, SessionManager, core::Sessions};
///
/// struct Admin;
/// # fn layers(public: SessionManager, admin: SessionManager) -> mocha_session::Result<()> {
/// let mut sessions = Sessions::default();
/// // Each layer enters, and finishes the session that it opened.
/// let opened = sessions.enter::<()>(&public, RequestInfo::new("session=…"))?;
/// assert!(opened.is_some());
/// // A second layer of the same manager has no session to finish.
/// assert!(sessions.enter::<()>(&public, RequestInfo::new("session=…"))?.is_none());
/// sessions.enter::<Admin>(&admin, RequestInfo::new("session=…"))?;
/// assert!(sessions.get::<Admin>().is_some());
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Sessions {
    /// The session of the innermost layer. It is a field of its own, because most requests have one
    /// session and then need no list.
    last: Option<Entry>,
    /// The sessions of the outer layers, outermost first.
    outer: Vec<Entry>,
}

/// The session of one layer.
#[derive(Clone)]
struct Entry {
    scope: TypeId,
    lazy: LazySession,
}

impl Sessions {
    /// Returns the session of scope `S`, which may not be loaded yet. If several layers have the
    /// scope, returns the innermost layer's session.
    pub fn get<S: 'static>(&self) -> Option<&LazySession> {
        let scope = TypeId::of::<S>();
        self.entries().find(|entry| entry.scope == scope).map(|entry| &entry.lazy)
    }

    /// Returns the session of scope `S`, for an extractor. `found` comes from the request's
    /// extensions.
    ///
    /// # Errors
    /// `InvalidConfig` if the route has no layer of this scope. `advice` ends the error message,
    /// and explains how to add a layer in the framework.
    pub fn require<'a, S: 'static>(
        found: Option<&'a Self>,
        advice: &str,
    ) -> Result<&'a LazySession> {
        found.and_then(Self::get::<S>).ok_or_else(|| {
            let scope = type_name::<S>();
            let why = format!("this route has no session of scope `{scope}`; {advice}");
            Error::new(ErrorKind::InvalidConfig, why)
        })
    }

    /// Opens the session of this manager under scope `S`, for a layer. Returns the session, which
    /// the layer must [finish](SessionManager::finish).
    ///
    /// Returns `None` if an outer layer has already opened the manager's session. That session is
    /// also used for scope `S`, and the outer layer finishes it, so that there is one session and
    /// one cookie line.
    ///
    /// # Errors
    /// `InvalidConfig` if the session of another manager has the same cookie name or the same
    /// header.
    pub fn enter<S: 'static>(
        &mut self,
        manager: &SessionManager,
        request: RequestInfo<impl RequestHeaders>,
    ) -> Result<Option<LazySession>> {
        let scope = TypeId::of::<S>();
        let opened = self.entries().find(|entry| manager.opened(&entry.lazy));
        if let Some(lazy) = opened.map(|entry| entry.lazy.clone()) {
            self.add(Entry { scope, lazy });
            return Ok(None);
        }
        let carriers = &manager.shared.carriers;
        if self.entries().any(|entry| entry.lazy.inner().shared.carriers.collides(carriers)) {
            return Err(same_transport());
        }
        let lazy = manager.open(request);
        self.add(Entry { scope, lazy: lazy.clone() });
        Ok(Some(lazy))
    }

    fn add(&mut self, entry: Entry) {
        self.outer.extend(self.last.replace(entry));
    }

    /// Returns the entries, innermost first.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.last.iter().chain(self.outer.iter().rev())
    }
}

fn same_transport() -> Error {
    Error::new(
        ErrorKind::InvalidConfig,
        "this route has two session layers whose managers have the same cookie name or header; \
         give one of them another (`CookiePolicy::named`, `Transport::header` and \
         `response_header`), or use the same manager for both layers",
    )
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries().map(|entry| &entry.lazy)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::cookie::CookiePolicy;
    use crate::store::ephemeral::Ephemeral;

    struct Admin;

    fn manager(cookie: &str) -> SessionManager {
        let builder = SessionManager::builder(Ephemeral::default());
        builder.cookie(CookiePolicy::named(cookie)).build().unwrap()
    }

    fn enter<S: 'static>(sessions: &mut Sessions, manager: &SessionManager) -> Option<LazySession> {
        sessions.enter::<S>(manager, RequestInfo::new(())).unwrap()
    }

    #[test]
    fn each_layer_opens_a_session_of_its_own_scope() {
        let (mut sessions, public, admin) = (Sessions::default(), manager("a"), manager("b"));
        assert!(enter::<()>(&mut sessions, &public).is_some());
        assert!(enter::<Admin>(&mut sessions, &admin).is_some());
        assert!(public.opened(sessions.get::<()>().unwrap()));
        assert!(admin.opened(sessions.get::<Admin>().unwrap()));
        assert!(sessions.get::<u8>().is_none());
    }

    #[test]
    fn the_session_of_one_manager_is_opened_once_whatever_the_scope() {
        let (mut sessions, public) = (Sessions::default(), manager("a"));
        let opened = enter::<()>(&mut sessions, &public).unwrap();
        assert!(enter::<()>(&mut sessions, &public.clone()).is_none());
        assert!(enter::<Admin>(&mut sessions, &public).is_none());
        for lazy in [sessions.get::<()>().unwrap(), sessions.get::<Admin>().unwrap()] {
            assert!(Arc::ptr_eq(lazy.inner(), opened.inner()));
        }
    }

    #[test]
    fn of_two_managers_in_one_scope_the_innermost_counts() {
        let (mut sessions, around, within) = (Sessions::default(), manager("a"), manager("b"));
        enter::<()>(&mut sessions, &around);
        enter::<()>(&mut sessions, &within);
        assert!(within.opened(sessions.get::<()>().unwrap()));
    }

    #[test]
    fn two_managers_with_one_cookie_name_are_refused() {
        let mut sessions = Sessions::default();
        enter::<()>(&mut sessions, &manager("a"));
        let refused = sessions.enter::<Admin>(&manager("a"), RequestInfo::new(())).unwrap_err();
        assert!(
            refused.to_string().contains("same cookie name or header; give one of them another")
        );
        assert!(sessions.get::<Admin>().is_none());
    }

    #[test]
    fn a_missing_scope_is_named_with_the_frameworks_advice() {
        for found in [None, Some(&Sessions::default())] {
            let missing = Sessions::require::<Admin>(found, "add a layer").unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::InvalidConfig);
            assert!(missing.to_string().contains("Admin`; add a layer"), "{missing}");
        }
    }
}
