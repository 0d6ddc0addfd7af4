//! The layer: a session for every request that passes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode, header};
use mocha_session_core::{Error, LazySession, SessionManager};
use tower_layer::Layer;
use tower_service::Service;

use crate::future::ResponseFuture;
use crate::headers::request_info;

/// What a layer's requests share.
pub(crate) struct Shared {
    pub(crate) manager: SessionManager,
    on_error: Option<OnError>,
}

type OnError = Box<dyn Fn(&Error) -> Response<String> + Send + Sync>;

impl Shared {
    /// The response that this error becomes.
    pub(crate) fn respond<B: From<String>>(&self, error: &Error) -> Response<B> {
        self.on_error.as_ref().map_or_else(|| plain(error), |respond| respond(error)).map(B::from)
    }
}

/// An error as plain text that names nothing but the status.
pub(crate) fn plain(error: &Error) -> Response<String> {
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(status.canonical_reason().unwrap_or("error").to_owned());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// The session of a request as the layer leaves it in the request's extensions, for services without extractors.
///
/// `S` tells apart the sessions of several layers; it is `()` where there is one.
///
/// ```
/// # use mocha_session_tower::Scoped;
/// async fn service(request: http::Request<()>) -> mocha_session_core::Result<Option<u64>> {
///     let Some(scoped) = request.extensions().get::<Scoped>() else { return Ok(None) };
///     scoped.lazy().load().await?.get("views")
/// }
/// ```
pub struct Scoped<S = ()> {
    lazy: LazySession,
    pub(crate) shared: Arc<Shared>,
    scope: PhantomData<fn() -> S>,
}

impl<S> Scoped<S> {
    /// The session, not loaded yet.
    pub fn lazy(&self) -> &LazySession {
        &self.lazy
    }
}

impl<S> Clone for Scoped<S> {
    fn clone(&self) -> Self {
        Self { lazy: self.lazy.clone(), shared: Arc::clone(&self.shared), scope: PhantomData }
    }
}

impl<S> fmt::Debug for Scoped<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scoped").field(&self.lazy).finish()
    }
}

/// Gives every request a session and commits it when the response goes out.
///
/// ```
/// use mocha_session_core::{Secrets, SessionManager, Storage};
/// use mocha_session_tower::SessionLayer;
///
/// let manager = SessionManager::new(Storage::client_side().with_secrets(Secrets::generate()?))?;
/// let layer: SessionLayer = SessionLayer::new(manager);
///
/// /// A second, separate session with a cookie of its own.
/// struct Admin;
/// # let admin = SessionManager::new(Storage::client_side().with_secrets(Secrets::generate()?))?;
/// let admin = SessionLayer::<Admin>::scoped(admin);
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
pub struct SessionLayer<S = ()> {
    shared: Arc<Shared>,
    scope: PhantomData<fn() -> S>,
}

impl SessionLayer {
    /// A layer over this manager's sessions.
    pub fn new(manager: SessionManager) -> Self {
        Self::scoped(manager)
    }
}

impl<S> SessionLayer<S> {
    /// A layer whose sessions are told apart from other layers' by the type `S`: admin and public, two cookies. Two layers
    /// around one service need different scopes and managers with different cookie names.
    pub fn scoped(manager: SessionManager) -> Self {
        Self { shared: Arc::new(Shared { manager, on_error: None }), scope: PhantomData }
    }

    /// Shapes the response to a request whose session could not be loaded or committed. The default is plain text of
    /// [`Error::http_status`] that names nothing but the status; do not show the error itself to users.
    #[must_use]
    pub fn on_error(self, respond: impl Fn(&Error) -> Response<String> + Send + Sync + 'static) -> Self {
        let manager = self.shared.manager.clone();
        Self { shared: Arc::new(Shared { manager, on_error: Some(Box::new(respond)) }), scope: PhantomData }
    }
}

impl<S> Clone for SessionLayer<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), scope: PhantomData }
    }
}

impl<S> fmt::Debug for SessionLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer").field("manager", &self.shared.manager).finish_non_exhaustive()
    }
}

impl<S, I> Layer<I> for SessionLayer<S> {
    type Service = SessionService<I, S>;

    fn layer(&self, inner: I) -> Self::Service {
        SessionService { inner, layer: self.clone() }
    }
}

/// The service that [`SessionLayer`] wraps around another.
///
/// ```
/// # use mocha_session_core::{Secrets, SessionManager, Storage};
/// use mocha_session_tower::{SessionLayer, SessionService};
/// use tower_layer::Layer as _;
///
/// # let manager = SessionManager::new(Storage::client_side().with_secrets(Secrets::generate()?))?;
/// let service: SessionService<_> = SessionLayer::new(manager).layer("some service");
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
pub struct SessionService<I, S = ()> {
    inner: I,
    layer: SessionLayer<S>,
}

impl<I: Clone, S> Clone for SessionService<I, S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<I, S> fmt::Debug for SessionService<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("layer", &self.layer).finish_non_exhaustive()
    }
}

impl<I, S, ReqBody, ResBody> Service<Request<ReqBody>> for SessionService<I, S>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S: 'static,
    ResBody: From<String>,
{
    type Response = Response<ResBody>;
    type Error = I::Error;
    type Future = ResponseFuture<I::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let shared = Arc::clone(&self.layer.shared);
        let lazy = shared.manager.open(request_info(&request));
        let scoped = Scoped::<S> { lazy: lazy.clone(), shared: Arc::clone(&shared), scope: PhantomData };
        request.extensions_mut().insert(scoped);
        ResponseFuture::new(self.inner.call(request), shared, lazy)
    }
}
