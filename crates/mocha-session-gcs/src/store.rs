//! The store: sessions as objects of a bucket, by the core's logic for object stores.

use std::sync::Arc;
use std::time::Duration;

use google_cloud_storage::client::{Storage, StorageControl};
use mocha_session_core::backend::objects::{ObjectClient, ObjectStore};
use mocha_session_core::store::{Capabilities, Durability, KeySpace};
use mocha_session_core::{BoxFuture, Result, StoreUrl, forward_store};

use crate::official_api::OfficialApi;
use crate::url;

/// The engine's name in errors and capabilities.
pub(crate) const ENGINE: &str = "gcs";

/// A session store in a bucket of Google Cloud Storage.
///
/// ```no_run
/// use mocha_session_core::store::{KeySpace, SessionStore};
/// use mocha_session_gcs::GcsStore;
/// use mocha_session_gcs::google_cloud_storage::client::{Storage, StorageControl};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let objects = Storage::builder().build().await?;
/// let control = StorageControl::builder().build().await?;
/// let store = GcsStore::new(objects, control, "my-bucket", KeySpace::new("sessions/")?);
/// store.ping().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct GcsStore {
    objects: ObjectStore,
}

forward_store!(GcsStore, |store| store.objects);

impl GcsStore {
    /// A store on clients of your own, with its objects under the prefix of `space`. Does no I/O.
    ///
    /// `objects` reads and writes, `control` deletes and lists. The store does not use the clients'
    /// retries, because it repeats by itself the calls that may be repeated. A store that is opened
    /// by URL opens new connections after a silence of the network; the connections of clients of
    /// your own are not the store's.
    pub fn new(objects: Storage, control: StorageControl, bucket: &str, space: KeySpace) -> Self {
        Self::over(Arc::new(OfficialApi::new((objects, control), None, bucket)), space)
    }

    /// Reads a URL, and returns the future that opens the store: what [`DRIVER`](crate::DRIVER)
    /// does, with the type of this store.
    ///
    /// ```no_run
    /// use mocha_session_core::StoreUrl;
    /// use mocha_session_gcs::GcsStore;
    ///
    /// # async fn example() -> mocha_session_core::Result<()> {
    /// let mut url = StoreUrl::parse("gs://my-bucket/sessions?credentials=/etc/app/key.json")?;
    /// let opening = GcsStore::from_url(&mut url)?;
    /// url.finish()?; // no unknown option
    /// let store = opening.await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` for a wrong URL, before any I/O. The future fails as `Unavailable` when the
    /// bucket is missing and may not be created, as `Denied` when Google refuses the credentials,
    /// and as `Unavailable` or `Timeout` when Google does not answer.
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        url::open(url)
    }

    /// Sets the deadline of a call. The default is five seconds.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { objects: self.objects.with_deadline(deadline) }
    }

    pub(crate) fn over(client: Arc<dyn ObjectClient>, space: KeySpace) -> Self {
        let can = Capabilities::new(ENGINE).with_durability(Durability::Replicated);
        Self { objects: ObjectStore::new(client, space, can) }
    }
}
