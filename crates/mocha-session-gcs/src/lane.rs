//! What the store needs of Google, whichever way it is asked: the official client or the XML API.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use google_cloud_wkt::Timestamp;
use mocha_session_core::store::{Expiry, Revision, Stored};
use mocha_session_core::{BoxFuture, Error, ErrorKind, Result};

use crate::target::Creation;

/// The metadata in which an object says when it expires, in milliseconds since 1970.
pub(crate) const EXPIRES: &str = "mocha-expires";
/// An object is written in one request and read into memory; the core's own limit is lower.
pub(crate) const MAX_VALUE: usize = 8 * 1024 * 1024;
pub(crate) const CONTENT_TYPE: &str = "application/octet-stream";
/// Even a bucket that was made public by mistake must not be served from a cache.
pub(crate) const CACHE_CONTROL: &str = "private, no-store";

/// One way to reach a bucket. No method repeats a write.
#[async_trait]
pub(crate) trait Lane: fmt::Debug + Send + Sync {
    /// How long a call to Google may take.
    fn set_deadline(&mut self, deadline: Duration);

    async fn read(&self, name: &str) -> Result<Option<Stored>>;

    /// Writes if the object's generation is this one; 0: if there is no object.
    async fn write(
        &self,
        name: &str,
        value: &[u8],
        expiry: Expiry,
        generation: u64,
    ) -> Result<Option<Revision>>;

    /// Whether an object was removed: any, or the one of this generation.
    async fn remove(&self, name: &str, generation: Option<u64>) -> Result<bool>;

    /// About `limit` objects, and where to go on.
    async fn list(&self, prefix: &str, limit: usize, after: Option<&str>) -> Result<Listing>;

    /// What `list` has left out of what it found; `None` when the object has gone meanwhile.
    async fn examine(&self, found: &Found) -> Result<Option<Seen>>;

    async fn bucket_exists(&self) -> Result<bool>;

    /// Creates the bucket, unless it is there.
    async fn create_bucket(&self, creation: &Creation) -> Result<()>;
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) found: Vec<Found>,
    pub(crate) next: Option<String>,
}

/// An object of a listing.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    /// `None` where listings don't tell.
    pub(crate) seen: Option<Seen>,
}

/// What a sweep has to know of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) generation: u64,
    /// Milliseconds since 1970; `None` for an object that this store didn't write.
    pub(crate) expires: Option<u64>,
}

/// The instant as Google takes it for an object's custom time.
pub(crate) fn custom_time(expiry: Expiry) -> Timestamp {
    Timestamp::clamp(expiry.at_millis() / 1000, 0)
}

/// The result of `call`, or an error when it takes too long: whether a write was done is unknown then.
///
/// Boxed, since the official client's futures are up to 60 kB large.
pub(crate) fn within<'a, T: Send + 'a>(
    deadline: Duration,
    call: impl Future<Output = T> + Send + 'a,
) -> BoxFuture<'a, Result<T>> {
    let call = tokio::time::timeout(deadline, call);
    Box::pin(async move {
        call.await.map_err(|_| {
            Error::new(ErrorKind::Timeout, format!("no answer from Google Cloud Storage within {deadline:?}"))
        })
    })
}

/// What was read is larger than anything this store writes.
pub(crate) fn oversized() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("an object is larger than the {MAX_VALUE} bytes that this store writes"),
    )
}
