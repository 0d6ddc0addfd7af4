//! Extractors for handlers.

use std::future::{Future, Ready, ready};
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use mocha_session_core as core;

use crate::error::Error;

core::handles! {
    /// The request's session, loaded.
    ///
    /// It dereferences to the core's [`Session`](core::Session). If the engine is down, the request
    /// is rejected (503). [`ExistingSession`] contains `None` if the client has no live session.
    ///
    /// ```
    /// use mocha_session_actix::{Error, Session};
    ///
    /// async fn counter(session: Session) -> Result<String, Error> {
    ///     let views = session.update("views", |views: Option<u64>| views.unwrap_or(0) + 1)?;
    ///     Ok(format!("{views} views"))
    /// }
    /// # let _ = actix_web::web::get().to(counter);
    /// ```
    Session;

    /// The request's session, not loaded, for handlers that need it only sometimes.
    ///
    /// It dereferences to the core's [`LazySession`](core::LazySession).
    ///
    /// ```
    /// use mocha_session_actix::{Error, LazySession};
    ///
    /// async fn page(lazy: LazySession) -> Result<String, Error> {
    ///     let public = true;
    ///     if public {
    ///         return Ok("no store call, no cookie, cacheable".into());
    ///     }
    ///     Ok(lazy.load().await?.owner().unwrap_or_default())
    /// }
    /// # let _ = actix_web::web::get().to(page);
    /// ```
    LazySession;

    /// The flash messages and data of the request's session, loaded.
    ///
    /// It dereferences to the core's [`Flash`](core::Flash).
    ///
    /// ```
    /// use mocha_session_actix::{Error, Flash};
    ///
    /// async fn save(flash: Flash) -> Result<&'static str, Error> {
    ///     flash.success("Saved")?;
    ///     Ok("saved")
    /// }
    /// # let _ = actix_web::web::post().to(save);
    /// ```
    Flash;
}

/// The request's session, if the client has a live one. It is the counterpart of axum's
/// `Option<Session>`.
///
/// If the engine is down, the request is rejected, because an unknown session is not an absent one.
/// In actix, an `Option` of an extractor is `None` if the extractor failed. So `Option<Session>` is
/// always `Some`, even for a new, empty session.
///
/// ```
/// use mocha_session_actix::ExistingSession;
///
/// async fn greet(ExistingSession(session): ExistingSession) -> String {
///     let owner = session.and_then(|session| session.owner());
///     format!("Hello, {}", owner.as_deref().unwrap_or("stranger"))
/// }
/// # let _ = actix_web::web::get().to(greet);
/// ```
#[derive(Debug)]
pub struct ExistingSession<S = ()>(pub Option<Session<S>>);

/// An extraction that may call the store.
type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

impl<S: 'static> FromRequest for Session<S> {
    type Error = Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract::<S, _>(request, async |lazy| Ok(Self::new(lazy.load().await?)))
    }
}

impl<S: 'static> FromRequest for ExistingSession<S> {
    type Error = Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract::<S, _>(request, async |lazy| {
            let session = lazy.load_existing().await?;
            Ok(Self(session.map(Session::new)))
        })
    }
}

impl<S: 'static> FromRequest for Flash<S> {
    type Error = Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        extract::<S, _>(request, async |lazy| Ok(Self::new(lazy.load().await?.flash())))
    }
}

impl<S: 'static> FromRequest for LazySession<S> {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let lazy = lazy::<S>(request).map(Self::new);
        ready(lazy.map_err(|error| Error::rejecting(request, error)))
    }
}

fn extract<S: 'static, T: 'static>(
    request: &HttpRequest,
    load: impl AsyncFnOnce(core::LazySession) -> core::Result<T> + 'static,
) -> Extracting<T> {
    let request = request.clone();
    Box::pin(async move {
        let loaded = async { load(lazy::<S>(&request)?).await }.await;
        loaded.map_err(|error| Error::rejecting(&request, error))
    })
}

/// Returns the session that the middleware opened.
fn lazy<S: 'static>(request: &HttpRequest) -> core::Result<core::LazySession> {
    const ADVICE: &str =
        "wrap the route, its scope or the app in a `SessionMiddleware` of this scope";
    core::Sessions::require::<S>(request.extensions().get(), ADVICE).cloned()
}
