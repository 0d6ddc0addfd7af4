//! The middleware that refuses requests that other sites made a browser send.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::http::uri::Authority;
use mocha_session_core::{CrossOrigin, CrossOriginProtection};

use crate::error::plain;
use crate::future::ResponseFuture;

/// Responds with 403 to the requests that [`CrossOriginProtection`] refuses.
///
/// ```
/// use actix_web::App;
/// use mocha_session_actix::{CrossOriginMiddleware, CrossOriginProtection};
///
/// let protection = CrossOriginProtection::new().trust("https://admin.example.com")?;
/// let cross_origin = CrossOriginMiddleware::new(protection);
/// let app = move || App::new().wrap(cross_origin.clone());
/// # app();
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CrossOriginMiddleware {
    protection: Arc<CrossOriginProtection>,
}

impl CrossOriginMiddleware {
    /// Creates a middleware with this protection.
    pub fn new(protection: CrossOriginProtection) -> Self {
        Self { protection: Arc::new(protection) }
    }
}

impl<I, B> Transform<I, ServiceRequest> for CrossOriginMiddleware
where
    I: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse;
    type Error = actix_web::Error;
    type Transform = CrossOriginService<I>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: I) -> Self::Future {
        ready(Ok(CrossOriginService { inner, protection: Arc::clone(&self.protection) }))
    }
}

/// The service that [`CrossOriginMiddleware`] wraps around an inner service.
///
/// ```
/// # actix_web::rt::System::new().block_on(async {
/// use actix_web::{HttpResponse, dev};
/// use dev::Transform as _;
/// use mocha_session_actix::{CrossOriginMiddleware, CrossOriginService};
///
/// let inner = dev::fn_service(async |request: dev::ServiceRequest| {
///     Ok(request.into_response(HttpResponse::Ok()))
/// });
/// let service: CrossOriginService<_> =
///     CrossOriginMiddleware::default().new_transform(inner).await.unwrap();
/// # });
/// ```
#[derive(Debug)]
pub struct CrossOriginService<I> {
    inner: I,
    protection: Arc<CrossOriginProtection>,
}

impl<I, B> Service<ServiceRequest> for CrossOriginService<I>
where
    I: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    /// With actix's own body. A `BoxBody` passes unchanged; any other is boxed.
    type Response = ServiceResponse;
    type Error = actix_web::Error;
    type Future = ResponseFuture<I::Future>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        match check(&self.protection, &request) {
            Ok(()) => ResponseFuture::passing(self.inner.call(request)),
            Err(why) => {
                tracing::debug!(path = request.path(), "{why}");
                ResponseFuture::refused(request.into_response(plain(StatusCode::FORBIDDEN)))
            }
        }
    }
}

fn check(protection: &CrossOriginProtection, request: &ServiceRequest) -> Result<(), CrossOrigin> {
    let (method, uri) = (request.method().as_str(), request.uri());
    let authority = uri.authority().map(Authority::as_str);
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    protection.check(method, uri.path(), authority, header)
}
