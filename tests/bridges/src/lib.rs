//! What the examples share: the body of the tower layer's responses, for frameworks that want it
//! `Sync`. `examples/` has an application under each framework, and `tests/` runs them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body as HttpBody, Frame, SizeHint};
use mocha_session::store::Bytes;
use mocha_session::tower::Body;
use sync_wrapper::SyncWrapper;

/// The layer's body. axum's, which it is, is not `Sync`.
pub struct Synced(SyncWrapper<Body>, SizeHint);

impl Synced {
    /// Makes a body `Sync`.
    pub fn new(body: Body) -> Self {
        let size = body.size_hint();
        Self(SyncWrapper::new(body), size)
    }
}

impl HttpBody for Synced {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(self.0.get_mut()).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.1
    }
}

impl fmt::Debug for Synced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Synced")
    }
}
