//! The layer: opens a session for each request and commits it with the response.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use axum_core::response::IntoResponse as _;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use mocha_session_core::{__scoped, Error, SessionManager, Sessions};
use tower_layer::Layer;
use tower_service::Service;

use crate::error::Failed;
use crate::future::{Open, ResponseFuture};
use crate::headers::request_info;

/// The parts that the requests of a layer share.
pub(crate) struct Shared {
    pub(crate) manager: SessionManager,
    on_error: Option<OnError>,
}

type OnError = Box<dyn Fn(&Error, &Parts) -> Response<String> + Send + Sync>;

impl Shared {
    /// Returns the response to send. If the layer has an `on_error` and no inner layer has shaped
    /// the error's response, shapes it. `parts` is `Some` if there is an `on_error`.
    pub(crate) fn shape(&self, response: Response<Body>, parts: Option<&Parts>) -> Response<Body> {
        let failed = response.extensions().get::<Failed>().filter(|failed| !failed.shaped);
        let (Some(failed), Some(on_error), Some(parts)) = (failed, &self.on_error, parts) else {
            return response;
        };
        let mut shaped = on_error(&failed.error, parts).map(Body::from);
        let failed = Failed { error: Arc::clone(&failed.error), shaped: true };
        shaped.extensions_mut().insert(failed);
        shaped
    }
}

__scoped! {
    /// Opens a session for each request, and commits it before the response is sent.
    ///
    /// If an outer layer has already opened the session of this manager, this one does nothing.
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
    SessionLayer, Shared
}

impl SessionLayer {
    /// Creates a layer over this manager's sessions.
    pub fn new(manager: SessionManager) -> Self {
        Self::scoped(manager)
    }
}

impl<S> SessionLayer<S> {
    /// Creates a layer whose sessions the type `S` distinguishes from those of other layers, for
    /// example an admin and a public session with two cookies.
    ///
    /// Two layers around one service need managers with different cookie names. A request that
    /// passes two managers with the same cookie name gets an error response, and the log says how
    /// to fix it.
    pub fn scoped(manager: SessionManager) -> Self {
        Self::over(Shared { manager, on_error: None })
    }

    /// Shapes the response to a request that failed because of its session: the session could not
    /// be loaded or committed, an extractor rejected the request, or a handler returned this
    /// crate's [`Error`](crate::Error).
    ///
    /// The closure receives the error and the request's head. The default response is plain text
    /// with the status [`Error::http_status`], and names only the status. Do not show the error
    /// itself to users. If several layers have an `on_error`, the innermost one shapes the error.
    ///
    /// ```
    /// # use mocha_session_core::{Secrets, SessionManager, Storage};
    /// # use mocha_session_tower::SessionLayer;
    /// # let manager = SessionManager::new(Storage::client_side().with_secrets(Secrets::generate()?))?;
    /// let layer = SessionLayer::new(manager).on_error(|error, request| {
    ///     let page = format!("Please try {} again in a minute.", request.uri.path());
    ///     let mut response = http::Response::new(page);
    ///     *response.status_mut() = http::StatusCode::from_u16(error.http_status()).unwrap_or_default();
    ///     response
    /// });
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    #[must_use]
    pub fn on_error(
        self,
        respond: impl Fn(&Error, &Parts) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        let manager = self.shared.manager.clone();
        Self::over(Shared { manager, on_error: Some(Box::new(respond)) })
    }
}

impl<S, I> Layer<I> for SessionLayer<S> {
    type Service = SessionService<I, S>;

    fn layer(&self, inner: I) -> Self::Service {
        SessionService { inner, layer: self.clone() }
    }
}

/// The service that [`SessionLayer`] wraps around an inner service.
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
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    /// With axum's body, because an error replaces the response if the commit fails. Axum's own
    /// body passes unchanged; any other is boxed.
    type Response = Response<Body>;
    type Error = I::Error;
    type Future = ResponseFuture<I::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let shared = &self.layer.shared;
        let mut seen = None;
        if shared.on_error.is_some() {
            let (parts, body) = request.into_parts();
            seen = Some(Box::new(parts.clone()));
            request = Request::from_parts(parts, body);
        }
        let info = request_info(&request, &shared.manager);
        let sessions = request.extensions_mut().get_or_insert_default::<Sessions>();
        match sessions.enter::<S>(&shared.manager, info) {
            Ok(Some(lazy)) => {
                let open = Open { shared: Arc::clone(shared), lazy, request: seen, done: false };
                ResponseFuture::new(self.inner.call(request), open)
            }
            Ok(None) => ResponseFuture::passing(self.inner.call(request)),
            Err(error) => {
                let response = crate::Error::from(error).into_response();
                ResponseFuture::refused(shared.shape(response, seen.as_deref()))
            }
        }
    }
}
