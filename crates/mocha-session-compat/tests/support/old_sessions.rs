//! An application that takes over old sessions, and the old sessions of tower-sessions' stores.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use mocha_session_compat::tower_sessions_0_14;
use mocha_session_core::{
    HeaderChanges, OldSessions, RequestInfo, Result, Session, SessionManager,
};
use mocha_session_memory::MemoryStore;
use tower_sessions14::{SessionStore, session};

/// A manager that takes over these sessions.
pub(crate) fn manager(old: impl OldSessions) -> SessionManager {
    SessionManager::builder(MemoryStore::new()).take_over(old).build().unwrap()
}

/// A request with this cookie header, and what its response tells the browser.
pub(crate) async fn request<T>(
    manager: &SessionManager,
    cookie: &str,
    handler: impl FnOnce(Session) -> T,
) -> Result<(T, HeaderChanges)> {
    let lazy = manager.open(RequestInfo::new(cookie.to_owned()));
    let answer = handler(lazy.load().await?);
    manager.finish(&lazy, 200).await.into_result().map(|headers| (answer, headers))
}

/// The user who is logged in, and a counter.
pub(crate) fn seen(session: Session) -> (Option<String>, Option<u64>) {
    (session.owner(), session.get("n").unwrap())
}

pub(crate) fn alice() -> (Option<String>, Option<u64>) {
    (Some("alice".to_owned()), Some(42))
}

/// The cookie that a response sets.
pub(crate) fn cookie(headers: &HeaderChanges) -> String {
    headers.set_cookie().unwrap().split(';').next().unwrap().to_owned()
}

/// The first request goes on with the old session, the next one has ours, and after a logout the
/// old cookie is nobody's. `old` is the old cookie.
pub(crate) async fn goes_on_once(manager: &SessionManager, old: &str) {
    let (first, headers) = request(manager, old, seen).await.unwrap();
    assert_eq!(first, alice());
    let ours = format!("{old}; {}", cookie(&headers));
    assert_eq!(request(manager, &ours, seen).await.unwrap().0, alice());
    assert_eq!(manager.sessions_of("alice").await.unwrap().len(), 1);

    request(manager, &ours, |session| session.destroy().unwrap()).await.unwrap();
    let (after, headers) = request(manager, old, seen).await.unwrap();
    assert_eq!((after, headers.set_cookie()), ((None, None), None), "a logout is final");
    assert_eq!(manager.sessions_of("alice").await.unwrap().len(), 0);
}

/// The values of a session of tower-sessions: a counter, and who is logged in.
pub(crate) fn tower<S: SessionStore>(store: S) -> tower_sessions_0_14::TakeOver<S> {
    tower_sessions_0_14::TakeOver::new(store, |session, data| {
        session.insert("n", &data["n"])?;
        session.login(data["user"].as_str().unwrap_or_default())
    })
}

/// A live session as the old application stored it, and its cookie.
pub(crate) async fn tower_session<S: SessionStore>(old: S) -> String {
    let session = session::Session::new(None, Arc::new(old), None);
    session.insert("n", 42).await.unwrap();
    session.insert("user", "alice").await.unwrap();
    session.save().await.unwrap();
    format!("id={}", session.id().unwrap())
}
