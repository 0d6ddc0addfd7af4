//! The session handle of a request.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::commit::Plan;
use crate::error::{Error, Result};
use crate::handle::{Detached, SessionData};
use crate::http::SessionToken;
use crate::session::base::Base;
use crate::session::change::Change;
use crate::session::state::{Line, Phase};
use crate::values::wire::Text;

/// The maximum length of an owner's name and of a label, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;

/// A loaded session. It dereferences to [`SessionData`] and adds the methods that change the
/// session's id.
///
/// Changes are logged, and committed as one conditional write before the response is sent, or
/// immediately by [`commit`](SessionData::commit). Clones share the same session.
///
/// ```
/// # mod mocha_session { pub use mocha_session_core::{self as core, *}; }
/// use mocha_session::{Key, Result, core::Session};
///
/// const VIEWS: Key<u64> = Key::new("views");
///
/// fn handler(session: &Session) -> Result<String> {
///     let views = session.update(VIEWS, |views| views.unwrap_or(0) + 1)?;
///     Ok(format!("{views} views"))
/// }
/// # let session = Session::in_memory()?;
/// # assert_eq!(handler(&session)?, "1 views");
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Session {
    pub(super) data: SessionData,
}

impl Session {
    /// Logs a user in. The session gets a new id, and `owner`, your user id, becomes its owner.
    ///
    /// The old id is no longer valid. An anonymous session keeps its content. A session of another
    /// owner is emptied, except for flash messages that this request pushed. The absolute timeout
    /// restarts. (OWASP: renew the session id after any privilege level change; ASVS 7.2.4)
    ///
    /// With [`WhenFull::RefuseLogin`](crate::WhenFull::RefuseLogin) the commit may refuse the login;
    /// see [`max_sessions_per_owner`](crate::SessionManagerBuilder::max_sessions_per_owner).
    ///
    /// # Errors
    /// `InvalidInput` if `owner` is empty or longer than 256 bytes. Otherwise as
    /// [`insert`](SessionData::insert).
    pub fn login(&self, owner: impl AsRef<str>) -> Result<()> {
        let owner = owner.as_ref();
        if owner.is_empty() || owner.len() > MAX_NAME_BYTES {
            return Err(Error::invalid_input("the owner of a session must have 1 to 256 bytes"));
        }
        let inner = self.data.inner();
        let mut state = inner.state();
        if state.phase == Phase::Unreadable {
            state.phase = Phase::Loaded;
            state.line = Some(Line::Remove);
        }
        state.writable()?;
        let now = inner.shared.now();
        state.doom_several();
        if state.view.owner.as_ref().is_some_and(|known| known.name.as_str() != owner) {
            // The new owner must not see flash that was read for the previous owner.
            state.flash.forget();
        }
        let fresh = if inner.shared.owners_indexed { fastrand::u64(1..) } else { 0 };
        state.change(Change::Login { owner: Text::from(owner), fresh, now })
    }

    /// Records that the user has re-authenticated, for example with a password. The session gets a
    /// new id.
    ///
    /// Check it before a sensitive action with [`is_fresh`](SessionData::is_fresh). (OWASP: renew
    /// the session id after any privilege level change; ASVS 7.5.1)
    ///
    /// ```
    /// # mod mocha_session { pub use mocha_session_core::{self as core, *}; }
    /// use std::time::Duration;
    /// use mocha_session::{Result, core::Session};
    ///
    /// fn password_was_right(session: &Session) -> Result<()> {
    ///     session.confirm()
    /// }
    ///
    /// fn may_change_the_address(session: &Session) -> bool {
    ///     session.is_fresh(Duration::from_secs(5 * 60))
    /// }
    /// # let session = Session::in_memory()?;
    /// # assert!(password_was_right(&session).is_err() && !may_change_the_address(&session));
    /// # session.login("alice")?;
    /// # password_was_right(&session)?;
    /// # assert!(may_change_the_address(&session));
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if no user is logged in. Otherwise as [`insert`](SessionData::insert).
    pub fn confirm(&self) -> Result<()> {
        let inner = self.data.inner();
        let now = inner.shared.now();
        let mut state = inner.state();
        state.writable()?;
        if state.view.owner.is_none() {
            return Err(Error::invalid_input(
                "the user cannot be confirmed because no user is logged in; call login() first",
            ));
        }
        state.change(Change::Confirm(now))?;
        state.rotate = state.base.is_some();
        Ok(())
    }

    /// Gives the session a new id. The old id becomes invalid with the commit.
    ///
    /// Call it after any change of privilege that is not a login.
    ///
    /// # Errors
    /// As [`insert`](SessionData::insert).
    #[doc(alias = "cycle_id")]
    #[doc(alias = "renew")]
    #[doc(alias = "regenerate")]
    pub fn rotate(&self) -> Result<()> {
        let mut state = self.data.inner().state();
        state.writable()?;
        state.rotate = state.base.is_some();
        Ok(())
    }

    /// Destroys the session, for example to log the user out.
    ///
    /// The commit ends the session with all its content, and no concurrent request can restore it.
    /// Values and flash that are added afterwards start a new session, for example a message "you
    /// are logged out".
    ///
    /// # Errors
    /// As [`insert`](SessionData::insert).
    #[doc(alias = "flush")]
    #[doc(alias = "purge")]
    #[doc(alias = "invalidate")]
    pub fn destroy(&self) -> Result<()> {
        let inner = self.data.inner();
        let mut state = inner.state();
        state.writable()?;
        state.doom(inner.shared.now());
        Ok(())
    }

    /// Returns the token under which the client presents the session, for an API that returns it
    /// in a body.
    ///
    /// `None` where the transport has no header, while nothing is stored, and while changes are
    /// pending that would change the token: [`commit`](SessionData::commit) first. A client-side
    /// session has a new token after every commit, and none before.
    ///
    /// The response carries the same token in its header, unless the session came by a cookie.
    pub fn token(&self) -> Option<SessionToken> {
        let inner = self.data.inner();
        inner.shared.carriers.token.as_ref()?;
        let state = inner.state();
        let plan = Plan::of(state.base.is_some(), state.rotate, &state.log);
        if state.rotate || !state.doomed.is_empty() || plan.logs_in() {
            return None;
        }
        match (&state.base, &state.line) {
            (Some(Base::Stored(stored)), _) => {
                Some(SessionToken(inner.shared.signer.text(&stored.id)))
            }
            (Some(Base::Client { .. }), Some(Line::Sealed(value, _))) if state.log.is_empty() => {
                Some(SessionToken(value.clone()))
            }
            _ => None,
        }
    }

    /// Returns a handle for work that continues after the request, such as WebSockets, server-sent
    /// events and jobs.
    ///
    /// It refers to this request's session, even if this request creates or rotates it. A session
    /// that was loaded through it does not notice a logout: load it again, or call
    /// [`reload`](SessionData::reload), before any action that requires the user to be logged in.
    pub fn detached(&self) -> Detached {
        Detached::new(Arc::clone(self.data.inner()))
    }
}

impl Deref for Session {
    type Target = SessionData;

    fn deref(&self) -> &SessionData {
        &self.data
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data.describe("Session", f)
    }
}
