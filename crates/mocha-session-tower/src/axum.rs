//! Extractors for axum handlers.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use mocha_session_core as core;

use crate::error::Error;

core::handles! {
    /// The request's session, loaded.
    ///
    /// It dereferences to the core's [`Session`](core::Session). If the engine is down, the request
    /// is rejected (503). `Option<Session>` is `None` if the client has no live session. If the
    /// engine is down, it rejects the request too, because an unknown session is not an absent one.
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
    Session;

    /// The request's session, not loaded, for handlers that need it only sometimes.
    ///
    /// It dereferences to the core's [`LazySession`](core::LazySession).
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
    LazySession;

    /// The flash messages and data of the request's session, loaded.
    ///
    /// It dereferences to the core's [`Flash`](core::Flash).
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
    Flash;
}

impl<S: 'static, T: Sync> FromRequestParts<T> for Session<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &T) -> Result<Self, Error> {
        Ok(Self::new(lazy::<S>(parts)?.load().await?))
    }
}

impl<S: 'static, T: Sync> OptionalFromRequestParts<T> for Session<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &T) -> Result<Option<Self>, Error> {
        let session = lazy::<S>(parts)?.load_existing().await?;
        Ok(session.map(Self::new))
    }
}

impl<S: 'static, T: Sync> FromRequestParts<T> for LazySession<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &T) -> Result<Self, Error> {
        Ok(Self::new(lazy::<S>(parts)?.clone()))
    }
}

impl<S: 'static, T: Sync> FromRequestParts<T> for Flash<S> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, Error> {
        let session = <Session<S> as FromRequestParts<T>>::from_request_parts(parts, state).await?;
        Ok(Self::new(session.flash()))
    }
}

/// Returns the session that the layer opened.
fn lazy<S: 'static>(parts: &Parts) -> core::Result<&core::LazySession> {
    const ADVICE: &str =
        "call `Router::layer` with a `SessionLayer` of this scope, after the route was added";
    core::Sessions::require::<S>(parts.extensions.get(), ADVICE)
}
