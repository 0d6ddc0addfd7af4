//! The store: a bucket, reached by either API, under the logic that all object stores share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use google_cloud_auth::credentials::{
    Credentials as GoogleCredentials, anonymous, service_account,
};
use google_cloud_storage::client::{Storage, StorageControl};
use google_cloud_wkt::Timestamp;
use mocha_session_core::backend::Timeouts;
use mocha_session_core::backend::objects::{ObjectClient, ObjectStore};
use mocha_session_core::store::{Capabilities, Durability, KeySpace, SessionStore};
use mocha_session_core::{BoxFuture, Error, ErrorKind, Result, StoreUrl, forward_store};

use crate::ENGINE;
use crate::error::Answer;
use crate::official::Official;
use crate::url::{Creation, Credentials, GOOGLE, Target};
use crate::xml::Xml;

/// The metadata in which an object says when it expires, in milliseconds since 1970.
pub(crate) const EXPIRES: &str = "mocha-expires";
pub(crate) const CONTENT_TYPE: &str = "application/octet-stream";
/// Even a bucket that was made public by mistake must not be served from a cache.
pub(crate) const CACHE_CONTROL: &str = "private, no-store";

/// Sessions as objects of a bucket of Google Cloud Storage.
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
    /// A store over clients of your own. Both clients are needed: objects are read and written with
    /// the one, deleted and listed with the other. Their retries are switched off for each call,
    /// because the store repeats what may be repeated.
    pub fn new(objects: Storage, control: StorageControl, bucket: &str, space: KeySpace) -> Self {
        Self::over(Arc::new(Official::new(objects, control, bucket)), space)
    }

    fn over(client: Arc<dyn ObjectClient>, space: KeySpace) -> Self {
        let can = Capabilities::new(ENGINE).with_durability(Durability::Replicated);
        Self { objects: ObjectStore::new(client, space, can) }
    }

    /// Sets the time that one call may take, instead of five seconds.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { objects: self.objects.with_deadline(deadline) }
    }

    /// Reads a URL, and returns what connects and looks for the bucket when it is awaited.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is wrong. The future fails when the bucket is missing and is
    /// not to be created (`Unavailable`), the credentials are refused (`Denied`) or Google cannot
    /// be reached (`Unavailable`, `Timeout`).
    ///
    /// ```no_run
    /// use mocha_session_core::StoreUrl;
    /// use mocha_session_gcs::GcsStore;
    ///
    /// # async fn example() -> mocha_session_core::Result<()> {
    /// let mut url = StoreUrl::parse("gs://my-bucket/sessions?credentials=/etc/app/key.json")?;
    /// let store = GcsStore::from_url(&mut url)?.await?;
    /// # Ok(()) }
    /// ```
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        let target = Target::read(url)?;
        Ok(Box::pin(
            async move { open(target).await.map_err(|error| error.on(ENGINE).during("open")) },
        ))
    }
}

/// A bucket behind one of the APIs.
#[async_trait]
pub(crate) trait Bucket: ObjectClient {
    async fn exists(&self) -> Result<bool>;

    /// Creates the bucket, unless it is there.
    async fn create(&self, creation: &Creation) -> Result<()>;
}

async fn open(target: Target) -> Result<GcsStore> {
    let bucket = connect(&target).await?;
    let store = GcsStore::over(Arc::clone(&bucket) as Arc<dyn ObjectClient>, target.space)
        .with_deadline(target.deadline);
    let prepared = async {
        if !bucket.exists().await? {
            match &target.creation {
                Some(creation) => bucket.create(creation).await?,
                None => return Err(Answer::NoBucket.into_error()),
            }
        }
        Ok(())
    };
    match tokio::time::timeout(target.deadline, prepared).await {
        Ok(Err(error)) if error.kind() != ErrorKind::Unavailable || target.creation.is_some() => {
            return Err(error);
        }
        // Tried again, and explained, as any read.
        _ => store.ping().await?,
    }
    Ok(store)
}

async fn connect(target: &Target) -> Result<Arc<dyn Bucket>> {
    let endpoint = target.endpoint.as_deref().unwrap_or(GOOGLE);
    let credentials = match &target.credentials {
        Credentials::Hmac(key) => {
            let connect = Timeouts::within(target.deadline).connect;
            return Ok(Arc::new(Xml::new(endpoint, &target.bucket, key.clone(), connect)?));
        }
        Credentials::Default => None,
        Credentials::Anonymous => Some(anonymous::Builder::new().build()),
        Credentials::File(path) => Some(service_account_from(path).await?),
    };
    let (mut objects, mut control) = (Storage::builder(), StorageControl::builder());
    if let Some(endpoint) = &target.endpoint {
        (objects, control) = (objects.with_endpoint(endpoint), control.with_endpoint(endpoint));
    }
    if let Some(credentials) = credentials {
        (objects, control) =
            (objects.with_credentials(credentials.clone()), control.with_credentials(credentials));
    }
    let objects = objects.build().await.map_err(|error| unusable(&error))?;
    let control = control.build().await.map_err(|error| unusable(&error))?;
    Ok(Arc::new(Official::new(objects, control, &target.bucket)))
}

/// Why a client cannot be built. What the error prints is not passed on: it may quote what it has
/// read.
fn unusable(error: &google_cloud_gax::client_builder::Error) -> Error {
    if error.is_default_credentials() {
        return Error::new(
            ErrorKind::Denied,
            "no default credentials were found; set GOOGLE_APPLICATION_CREDENTIALS, name a key file with \
             ?credentials=, or run where a service account is attached",
        );
    }
    Error::new(
        ErrorKind::InvalidConfig,
        "Google's client cannot be built for this endpoint and these credentials",
    )
}

async fn service_account_from(path: &std::path::Path) -> Result<GoogleCredentials> {
    let wrong = |why: &'static str| Error::new(ErrorKind::InvalidConfig, why);
    let bytes = tokio::fs::read(path).await.map_err(|error| {
        wrong("the file that the option `credentials` names cannot be read").with_source(error)
    })?;
    // What a parser or a builder prints could quote the key: their errors are not passed on.
    let json: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|_| wrong("the file that the option `credentials` names is not JSON"))?;
    if json.get("type").and_then(serde_json::Value::as_str) != Some("service_account") {
        return Err(wrong(
            "the file that the option `credentials` names is no key of a service account; for other kinds leave the \
             option out and set GOOGLE_APPLICATION_CREDENTIALS",
        ));
    }
    service_account::Builder::new(json)
        .build()
        .map_err(|_| wrong("the file that the option `credentials` names is not a complete key"))
}

/// The deadline as Google takes it for an object's custom time.
pub(crate) fn custom_time(deadline: u64) -> Timestamp {
    Timestamp::clamp(i64::try_from(deadline / 1000).unwrap_or(i64::MAX), 0)
}
