//! Extractors for axum handlers.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use mocha_session_core as core;

use crate::error::Error;
use crate::sessions::{Entry, Sessions};

/// The request's session, loaded.
///
/// Derefs to the core's [`Session`](core::Session). An engine that is down rejects the request
/// (503); with `Option<Session>` the handler gets `None` where the client has no live session, and
/// an engine that is down rejects all the same, for unknown is not absent.
///
/// ```
/// use mocha_session_tower::{Error, Session};
///
/// async fn counter(session: Session) -> Result<String, Error> {
///     let views = session.update("views", |views: Option<u64>| views.unwrap_or(0) + 1)?;
///     Ok(format!("{views} views"))
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(counter));
/// ```
pub struct Session<S = ()>(core::Session, PhantomData<fn() -> S>);

impl<S> Session<S> {
    /// The core's session.
    pub fn into_inner(self) -> core::Session {
        self.0
    }
}

impl<S> Deref for Session<S> {
    type Target = core::Session;

    fn deref(&self) -> &core::Session {
        &self.0
    }
}

impl<S> Clone for Session<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: 'static, T: Sync> FromRequestParts<T> for Session<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &T) -> Result<Self, Error> {
        let scoped = scoped::<S>(parts)?;
        Ok(Self(scoped.lazy.load().await?, PhantomData))
    }
}

impl<S: 'static, T: Sync> OptionalFromRequestParts<T> for Session<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &T) -> Result<Option<Self>, Error> {
        let scoped = scoped::<S>(parts)?;
        let session = scoped.lazy.load_existing().await?;
        Ok(session.map(|session| Self(session, PhantomData)))
    }
}

/// The request's session, not loaded: for handlers that need it on some paths only.
///
/// Derefs to the core's [`LazySession`](core::LazySession).
///
/// ```
/// use mocha_session_tower::{Error, LazySession};
///
/// async fn page(lazy: LazySession) -> Result<String, Error> {
///     let public = true;
///     if public {
///         return Ok("no store call, no cookie, cacheable".into());
///     }
///     Ok(lazy.load().await?.owner().unwrap_or_default())
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(page));
/// ```
pub struct LazySession<S = ()>(core::LazySession, PhantomData<fn() -> S>);

impl<S> LazySession<S> {
    /// The core's handle.
    pub fn into_inner(self) -> core::LazySession {
        self.0
    }
}

impl<S> Deref for LazySession<S> {
    type Target = core::LazySession;

    fn deref(&self) -> &core::LazySession {
        &self.0
    }
}

impl<S> Clone for LazySession<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<S> fmt::Debug for LazySession<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: 'static, T: Sync> FromRequestParts<T> for LazySession<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &T) -> Result<Self, Error> {
        scoped::<S>(parts).map(|scoped| Self(scoped.lazy.clone(), PhantomData))
    }
}

/// The flash messages and data of the request's session, loaded.
///
/// Derefs to the core's [`Flash`](core::Flash).
///
/// ```
/// use mocha_session_tower::{Error, Flash};
///
/// async fn save(flash: Flash) -> Result<(), Error> {
///     flash.success("Saved")?;
///     Ok(())
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(save));
/// ```
pub struct Flash<S = ()>(core::Flash, PhantomData<fn() -> S>);

impl<S> Flash<S> {
    /// The core's handle.
    pub fn into_inner(self) -> core::Flash {
        self.0
    }
}

impl<S> Deref for Flash<S> {
    type Target = core::Flash;

    fn deref(&self) -> &core::Flash {
        &self.0
    }
}

impl<S> Clone for Flash<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<S> fmt::Debug for Flash<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: 'static, T: Sync> FromRequestParts<T> for Flash<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, Error> {
        let session = <Session<S> as FromRequestParts<T>>::from_request_parts(parts, state).await?;
        Ok(Self(session.flash(), PhantomData))
    }
}

/// What the layer left, for any of the extractors.
fn scoped<S: 'static>(parts: &Parts) -> Result<&Entry, Error> {
    let sessions = parts.extensions.get::<Sessions>();
    sessions.and_then(|sessions| sessions.entry(TypeId::of::<S>())).ok_or_else(|| {
        let scope = std::any::type_name::<S>();
        let why = format!(
            "this route has no session of scope `{scope}`; call `Router::layer` with a \
             `SessionLayer<{scope}>`, after the route was added"
        );
        Error::from(core::Error::new(core::ErrorKind::InvalidConfig, why))
    })
}
