//! Sessions of another library, taken over: each becomes one of this manager's, once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Kept, Records, SessionManagerBuilder};
use crate::error::{Error, Result};
use crate::future::{self, BoxFuture};
use crate::handle::{LazySession, Session};
use crate::http::{RequestInfo, cookie};
use crate::ledger::vault::Vault;
use crate::ledger::written::Found;
use crate::record::Kind;
use crate::request::load::{Known, from_store};
use crate::session::base::Base;
use crate::session::old::{TakenOver, TakesOver};
use crate::session::shared::{Backend, Shared};
use crate::session::state::{Inner, Line};
use crate::store::async_trait;

/// The live sessions of the library that the application used before.
///
/// A manager that [takes them over](SessionManagerBuilder::take_over) asks for one where a request
/// has its cookie and none of ours. `mocha-session-compat` implements it for tower-sessions and
/// actix-session.
///
/// ```
/// # mod mocha_session { pub use mocha_session_core::*; }
/// # use std::collections::HashMap;
/// # use std::sync::Mutex;
/// use mocha_session::store::async_trait;
/// use mocha_session::{OldSessions, Result, Session};
///
/// /// User names by session id.
/// struct Old(Mutex<HashMap<String, String>>);
///
/// #[async_trait]
/// impl OldSessions for Old {
///     fn cookie(&self) -> &str {
///         "sid"
///     }
///
///     async fn read(&self, cookie: &str, session: &Session) -> Result<bool> {
///         let user = self.0.lock().unwrap().get(cookie).cloned();
///         let Some(user) = user else { return Ok(false) };
///         session.login(user)?;
///         Ok(true)
///     }
///
///     async fn end(&self, cookie: &str) -> Result<()> {
///         self.0.lock().unwrap().remove(cookie);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait OldSessions: Send + Sync + 'static {
    /// The name of the old cookie.
    fn cookie(&self) -> &str;

    /// Fills a new session with the values and the owner of the old one, which its cookie names.
    /// Returns `false` where there is no live old session, or its cookie is forged.
    ///
    /// # Errors
    /// Whatever prevents the answer. The request then has no session, and the next one asks again.
    async fn read(&self, cookie: &str, session: &Session) -> Result<bool>;

    /// Ends the old session. It may have ended already.
    ///
    /// # Errors
    /// Whatever prevents it. The request then has no session, and the next one tries again.
    async fn end(&self, cookie: &str) -> Result<()>;
}

impl SessionManagerBuilder {
    /// Takes over the live sessions of the library that the application used before, so that the
    /// change logs nobody out.
    ///
    /// The first request that has an old cookie and none of ours begins a session with the values
    /// and the owner of the old one, and ends that. The store remembers under a hash of the old
    /// cookie which session this is, so other requests with the same cookie get the same session,
    /// in every process. The old cookie never begins another session.
    ///
    /// Client-side sessions have no store that could remember it. Of several first requests at
    /// once each may begin a session there, and one that comes after the old session ended has
    /// none.
    ///
    /// A request with a cookie of ours, or without an old one, costs nothing more.
    pub fn take_over(mut self, old: impl OldSessions) -> Self {
        self.old = Some(Arc::new(Hook { old: Arc::new(old) }));
        self
    }
}

/// The old sessions, as the requests of a manager see them.
pub(super) struct Hook {
    old: Arc<dyn OldSessions>,
}

impl Hook {
    /// # Errors
    /// `InvalidConfig` where our cookie has this name too.
    pub(super) fn check(&self, ours: Option<&str>) -> Result<()> {
        if ours == Some(self.old.cookie()) {
            return Err(Error::invalid_config(format!(
                "the sessions to be taken over have a cookie of the same name, `{}`; give the \
                 manager's cookie another one",
                self.old.cookie()
            )));
        }
        Ok(())
    }

    /// The old cookie of a request that has none of ours.
    fn cookie_of(&self, request: &Inner) -> Option<String> {
        let mut ours = false;
        request.shared.carriers.each_value(&request.headers, |_, _| ours = true);
        if ours {
            return None;
        }
        let mut first = None;
        request.headers.each_cookie(&mut |line| {
            cookie::find(self.old.cookie(), line, |value| {
                first = first.take().or_else(|| std::str::from_utf8(value).ok().map(str::to_owned));
            });
        });
        first.filter(|value| !value.is_empty())
    }
}

impl TakesOver for Hook {
    fn take_over(&self, request: &Arc<Inner>) -> Option<BoxFuture<'static, Result<TakenOver>>> {
        let cookie = self.cookie_of(request)?;
        let (old, shared) = (Arc::clone(&self.old), Arc::clone(&request.shared));
        // To its end, because a client that goes away must not leave a session that is in its
        // user's list and that no client knows.
        Some(Box::pin(async move {
            let own = Arc::clone(&shared);
            let moving = Box::pin(async move {
                let moved = Move { old: &*old, cookie: &cookie, shared: &own };
                match &own.backend {
                    Backend::Client(_) => moved.begin().await.map(|begun| begun.1),
                    Backend::Store(vault) => moved.once(vault).await,
                }
            });
            future::to_its_end(&shared.tasks, moving).await
        }))
    }
}

/// How long the store remembers what became of an old session. A session in a cookie cannot be
/// ended, so the memory is as long as cookies last in browsers.
const REMEMBERED: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// The move of one old session.
struct Move<'m> {
    old: &'m dyn OldSessions,
    cookie: &'m str,
    shared: &'m Arc<Shared>,
}

impl Move<'_> {
    /// Begins a session with what the old one holds, and stores it.
    async fn begin(&self) -> Result<(LazySession, TakenOver)> {
        let lazy = LazySession::new(Arc::clone(self.shared), RequestInfo::new(()));
        let session = lazy.clone().begin();
        if !self.old.read(self.cookie, &session).await? {
            return Ok((lazy, TakenOver::Nothing));
        }
        session.commit().await?;
        let begun = {
            let mut state = lazy.inner().state();
            match (state.base.clone(), state.line.take()) {
                (Some(base), Some(line)) => {
                    TakenOver::Live { base, content: Arc::clone(&state.view), line }
                }
                _ => TakenOver::Nothing, // it was empty
            }
        };
        if matches!((&self.shared.backend, &begun), (Backend::Client(_), TakenOver::Live { .. })) {
            self.old.end(self.cookie).await?;
        }
        Ok((lazy, begun))
    }

    /// The session that the old cookie became: begun by this request, or by another one that was
    /// first.
    ///
    /// A session that is begun is stored before it is remembered, so what is remembered is there.
    /// Only `create` remembers, so of several requests one is first. The others end what they began
    /// and continue with the first one's. Each ends the old session before it continues, so a
    /// request that stopped half-way leaves nothing undone.
    async fn once(&self, vault: &Vault) -> Result<TakenOver> {
        let memory = Records::of(Arc::clone(self.shared));
        let name = [b"taken over: ", self.old.cookie().as_bytes(), b"=", self.cookie.as_bytes()];
        let name = name.concat();
        match memory.load(&name).await? {
            Kept::Live(id) => return self.continued(vault, &id).await,
            Kept::Ended | Kept::Damaged(_) => return Ok(TakenOver::Nothing),
            Kept::Nothing => {}
        }
        let (lazy, TakenOver::Live { line: Line::Id(id, _), .. }) = self.begin().await? else {
            return Ok(TakenOver::Nothing);
        };
        let own = self.shared.signer.text(&id);
        let until = self.shared.clock.now() + REMEMBERED;
        match memory.create(&name, own.as_bytes(), until).await {
            Ok(true) => return self.continued(vault, own.as_bytes()).await,
            // It may be remembered. The next request finds out.
            Err(error) if error.is_ambiguous() => return Err(error),
            Ok(false) => self.discard(&lazy).await?,
            Err(error) => return self.discard(&lazy).await.and(Err(error)),
        }
        match memory.load(&name).await? {
            Kept::Live(id) => self.continued(vault, &id).await,
            _ => Ok(TakenOver::Nothing),
        }
    }

    /// The session that is remembered under this signed id.
    async fn continued(&self, vault: &Vault, id: &[u8]) -> Result<TakenOver> {
        let Some((id, _)) = self.shared.signer.read(id) else { return Ok(TakenOver::Nothing) };
        match from_store(self.shared, vault, &id).await? {
            Known::Nothing => Ok(TakenOver::Nothing),
            Known::Live(stored, content) => {
                self.old.end(self.cookie).await?;
                let line = Line::Id(id, content.told);
                Ok(TakenOver::Live { base: Base::Stored(stored), content, line })
            }
            // Ended by a logout, whose response removed our cookie: the browser is a stranger.
            Known::Superseded => Ok(match vault.probe(&id.place(&self.shared.scope).key).await? {
                Found::Record(version, _) if matches!(version.header.kind, Kind::Moved(_)) => {
                    TakenOver::Superseded
                }
                _ => TakenOver::Nothing,
            }),
        }
    }

    /// Ends a session that no client knows.
    async fn discard(&self, lazy: &LazySession) -> Result<()> {
        let session = lazy.load().await?;
        session.destroy()?;
        session.commit().await
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("cookie", &self.old.cookie()).finish_non_exhaustive()
    }
}
