//! The layer that refuses requests that other sites made a browser send.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode};
use mocha_session_core::{CrossOrigin, CrossOriginProtection};
use tower_layer::Layer;
use tower_service::Service;

use crate::error::plain;
use crate::future::ResponseFuture;

/// Responds with 403 to the requests that [`CrossOriginProtection`] refuses.
///
/// Put it around the whole application, because a nested axum router sees only its own part of the
/// path.
///
/// ```
/// use mocha_session_tower::{CrossOriginLayer, CrossOriginProtection};
///
/// let protection = CrossOriginProtection::new().trust("https://admin.example.com")?;
/// let layer = CrossOriginLayer::new(protection);
/// # let _: axum::Router = axum::Router::new().layer(layer);
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CrossOriginLayer {
    protection: Arc<CrossOriginProtection>,
}

impl CrossOriginLayer {
    /// Creates a layer with this protection.
    pub fn new(protection: CrossOriginProtection) -> Self {
        Self { protection: Arc::new(protection) }
    }
}

impl<I> Layer<I> for CrossOriginLayer {
    type Service = CrossOriginService<I>;

    fn layer(&self, inner: I) -> Self::Service {
        CrossOriginService { inner, protection: Arc::clone(&self.protection) }
    }
}

/// The service that [`CrossOriginLayer`] wraps around an inner service.
///
/// ```
/// use mocha_session_tower::{CrossOriginLayer, CrossOriginService};
/// use tower_layer::Layer as _;
///
/// let service: CrossOriginService<_> = CrossOriginLayer::default().layer("some service");
/// ```
#[derive(Clone, Debug)]
pub struct CrossOriginService<I> {
    inner: I,
    protection: Arc<CrossOriginProtection>,
}

impl<I, ReqBody, ResBody> Service<Request<ReqBody>> for CrossOriginService<I>
where
    I: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    /// With axum's body. Axum's own body passes unchanged; any other is boxed.
    type Response = Response<Body>;
    type Error = I::Error;
    type Future = ResponseFuture<I::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        match check(&self.protection, &request) {
            Ok(()) => ResponseFuture::passing(self.inner.call(request)),
            Err(why) => {
                tracing::debug!(path = request.uri().path(), "{why}");
                ResponseFuture::refused(plain(StatusCode::FORBIDDEN))
            }
        }
    }
}

fn check<B>(protection: &CrossOriginProtection, request: &Request<B>) -> Result<(), CrossOrigin> {
    let (method, uri) = (request.method().as_str(), request.uri());
    let authority = uri.authority().map(Authority::as_str);
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    protection.check(method, uri.path(), authority, header)
}
