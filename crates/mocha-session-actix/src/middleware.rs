//! The middleware: opens a session for each request and commits it with the response.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{RequestHead, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::{HttpMessage as _, HttpResponse};
use mocha_session_core::{__scoped, Error, SessionManager, Sessions};

use crate::error::Failed;
use crate::future::{Open, ResponseFuture};
use crate::headers::request_info;

/// The parts that the requests of a middleware share.
pub(crate) struct Shared {
    pub(crate) manager: SessionManager,
    on_error: Option<OnError>,
}

type OnError = Box<dyn Fn(&Error, &RequestHead) -> HttpResponse + Send + Sync>;

impl Shared {
    /// Returns the response to send. If the middleware has an `on_error` and no inner middleware
    /// has shaped the error's response, shapes it. `head` is `Some` if there is an `on_error`.
    pub(crate) fn shape(&self, response: HttpResponse, head: Option<&RequestHead>) -> HttpResponse {
        let failed = response.extensions().get::<Failed>().filter(|failed| !failed.shaped).cloned();
        let (Some(failed), Some(on_error), Some(head)) = (failed, &self.on_error, head) else {
            return response;
        };
        let mut shaped = on_error(&failed.error, head);
        shaped.extensions_mut().insert(Failed { shaped: true, ..failed });
        shaped
    }
}

__scoped! {
    /// Opens a session for each request, and commits it before the response is sent.
    ///
    /// If an outer middleware has already opened the session of this manager, this one does
    /// nothing.
    ///
    /// ```
    /// use actix_web::App;
    /// use mocha_session_actix::SessionMiddleware;
    /// use mocha_session_core::{Secrets, SessionManager, Storage};
    ///
    /// let manager = SessionManager::new(Storage::client_side().with_secrets(Secrets::generate()?))?;
    /// let sessions: SessionMiddleware = SessionMiddleware::new(manager);
    ///
    /// /// A second, separate session with a cookie of its own.
    /// struct Admin;
    /// # let admin = SessionManager::new(Storage::client_side().with_secrets(Secrets::generate()?))?;
    /// let admin = SessionMiddleware::<Admin>::scoped(admin);
    ///
    /// // For `HttpServer::new`: every worker has a clone, over the same manager.
    /// let app = move || App::new().wrap(admin.clone()).wrap(sessions.clone());
    /// # app();
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    SessionMiddleware, Shared
}

impl SessionMiddleware {
    /// Creates a middleware over this manager's sessions.
    pub fn new(manager: SessionManager) -> Self {
        Self::scoped(manager)
    }
}

impl<S> SessionMiddleware<S> {
    /// Creates a middleware whose sessions the type `S` distinguishes from those of others, for
    /// example an admin and a public session with two cookies.
    ///
    /// Two of them around one service need managers with different cookie names. A request that
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
    /// itself to users. If several middlewares have an `on_error`, the innermost one shapes the
    /// error.
    ///
    /// ```
    /// # use mocha_session_core::{Secrets, SessionManager, Storage};
    /// # use mocha_session_actix::SessionMiddleware;
    /// use actix_web::{HttpResponse, http::StatusCode};
    ///
    /// # let manager = SessionManager::new(Storage::client_side().with_secrets(Secrets::generate()?))?;
    /// let sessions = SessionMiddleware::new(manager).on_error(|error, request| {
    ///     let page = format!("Please try {} again in a minute.", request.uri.path());
    ///     let status = StatusCode::from_u16(error.http_status()).unwrap_or_default();
    ///     HttpResponse::build(status).body(page)
    /// });
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    #[must_use]
    pub fn on_error(
        self,
        respond: impl Fn(&Error, &RequestHead) -> HttpResponse + Send + Sync + 'static,
    ) -> Self {
        let manager = self.shared.manager.clone();
        Self::over(Shared { manager, on_error: Some(Box::new(respond)) })
    }
}

impl<S, I, B> Transform<I, ServiceRequest> for SessionMiddleware<S>
where
    I: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    S: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse;
    type Error = actix_web::Error;
    type Transform = SessionService<I, S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: I) -> Self::Future {
        ready(Ok(SessionService { inner, middleware: self.clone() }))
    }
}

/// The service that [`SessionMiddleware`] wraps around an inner service.
///
/// ```
/// # use mocha_session_core::{Secrets, SessionManager, Storage};
/// use actix_web::{HttpResponse, dev, test};
/// use mocha_session_actix::{SessionMiddleware, SessionService};
///
/// # let manager = SessionManager::new(Storage::client_side().with_secrets(Secrets::generate()?))?;
/// let inner = dev::fn_service(async |request: dev::ServiceRequest| {
///     Ok(request.into_response(HttpResponse::Ok()))
/// });
/// # actix_web::rt::System::new().block_on(async {
/// use dev::Transform as _; let service: SessionService<_> =
/// SessionMiddleware::new(manager).new_transform(inner).await.unwrap();
/// # });
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
pub struct SessionService<I, S = ()> {
    inner: I,
    middleware: SessionMiddleware<S>,
}

impl<I, S> fmt::Debug for SessionService<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("middleware", &self.middleware)
            .finish_non_exhaustive()
    }
}

impl<I, S, B> Service<ServiceRequest> for SessionService<I, S>
where
    I: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    S: 'static,
    B: MessageBody + 'static,
{
    /// With actix's own body, because an error replaces the response if the commit fails. A
    /// `BoxBody` passes unchanged; any other is boxed.
    type Response = ServiceResponse<BoxBody>;
    type Error = actix_web::Error;
    type Future = ResponseFuture<I::Future>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let shared = &self.middleware.shared;
        let head = shared.on_error.as_ref().map(|_| Box::new(request.head().clone()));
        let info = request_info(&request, &shared.manager);
        let entered = request
            .extensions_mut()
            .get_or_insert_with(Sessions::default)
            .enter::<S>(&shared.manager, info);
        match entered {
            Ok(Some(lazy)) => {
                let open = Open { shared: Arc::clone(shared), lazy, head };
                ResponseFuture::new(self.inner.call(request), open)
            }
            Ok(None) => ResponseFuture::passing(self.inner.call(request)),
            Err(error) => {
                let (request, response) =
                    request.error_response(crate::Error::from(error)).into_parts();
                let response = shared.shape(response, head.as_deref());
                ResponseFuture::refused(ServiceResponse::new(request, response))
            }
        }
    }
}
