#![doc = include_str!("../README.md")]

mod failure;
mod lane;
mod markup;
mod official;
mod signature;
mod target;
mod xml;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use google_cloud_auth::credentials::{Credentials as GoogleCredentials, anonymous, service_account};
use google_cloud_storage::client::{Storage, StorageControl};
use mocha_session_core::store::{
    Capabilities, Durability, Expiry, KeySpace, Revision, ScanCursor, ScanPage, SessionStore, StorageKey,
    Stored, SweepReport,
};
use mocha_session_core::{BoxFuture, Driver, Error, ErrorKind, Result, StoreUrl};

use failure::Answer;
use lane::{Found, Lane, MAX_VALUE};
use official::Official;
use target::{Credentials, GOOGLE, Target};
use xml::Xml;

const ENGINE: &str = "gcs";
/// A backstop: the session manager's own deadline is shorter, unless it was set longer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many objects a sweep or a scan handles at the same time.
const PARALLEL: usize = 16;
/// Google lists no more at once.
const MAX_PAGE: usize = 1000;

/// Opens `gs://` and `google_storage://` URLs.
///
/// ```
/// use mocha_session_core::Registry;
///
/// let registry = Registry::new().register(mocha_session_gcs::DRIVER);
/// registry.check("gs://bucket/sessions").unwrap();
/// registry.check("google_storage://GOOG1ACCESS:secret@cloud.google.com/bucket").unwrap();
/// assert!(registry.check("gs://bucket?projcet=typo").is_err());
/// ```
pub const DRIVER: Driver = Driver::new(&["gs", "google_storage"], |url| {
    let opening = GcsStore::from_url(url)?;
    Ok(Box::pin(async move { Ok(Arc::new(opening.await?) as Arc<dyn SessionStore>) }))
});

/// Sessions as objects of a bucket of Google Cloud Storage.
///
/// ```no_run
/// use google_cloud_storage::client::{Storage, StorageControl};
/// use mocha_session_core::store::{KeySpace, SessionStore};
/// use mocha_session_gcs::GcsStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let objects = Storage::builder().build().await?;
/// let control = StorageControl::builder().build().await?;
/// let store = GcsStore::new(objects, control, "my-bucket", KeySpace::new("sessions/")?);
/// store.ping().await?;
/// # Ok(()) }
/// ```
pub struct GcsStore {
    lane: Box<dyn Lane>,
    space: KeySpace,
}

impl GcsStore {
    /// A store over clients of your own. Both clients are needed: objects are read and written with the one, deleted
    /// and listed with the other. Retries of reads, and that there are none of writes, are set for each call.
    pub fn new(objects: Storage, control: StorageControl, bucket: &str, space: KeySpace) -> Self {
        Self { lane: Box::new(Official::new(objects, control, bucket, DEADLINE)), space }
    }

    /// Reads a URL, and gives what connects and looks for the bucket when it is awaited.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is wrong. The future fails when the bucket is missing and is not to be created
    /// (`Unavailable`), the credentials are refused (`Denied`) or Google cannot be reached (`Unavailable`, `Timeout`).
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
        Ok(Box::pin(async move { open(target).await.map_err(|error| error.on(ENGINE).during("open")) }))
    }

    /// Gives up a call to Google after so long, instead of ten seconds. One call of the store can make several, when it
    /// sweeps or scans.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.lane.set_deadline(deadline);
        self
    }

    /// The objects of a page that are this store's: others may share the prefix.
    async fn page(
        &self,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<(Vec<(StorageKey, Found)>, Option<ScanCursor>)> {
        let after = cursor.as_ref().map(ScanCursor::as_str);
        let listing = self.lane.list(self.space.prefix(), limit.clamp(1, MAX_PAGE), after).await?;
        let found = listing.found.into_iter();
        let ours = found.filter_map(|found| Some((self.space.parse(&found.name)?, found))).collect();
        Ok((ours, listing.next.map(ScanCursor::new)))
    }

    /// Whether an object had expired and was removed: that very one, not what has replaced it meanwhile.
    async fn remove_if_expired(&self, found: &Found, now: u64) -> Result<bool> {
        match self.lane.examine(found).await? {
            Some(seen) if seen.expires.is_some_and(|expires| expires < now) => {
                self.lane.remove(&found.name, Some(seen.generation)).await
            }
            _ => Ok(false),
        }
    }
}

impl fmt::Debug for GcsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsStore").field("space", &self.space).finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for GcsStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        self.lane.read(&self.space.name(key)).await.map_err(during("load"))
    }

    async fn create(&self, key: &StorageKey, value: &[u8], expiry: Expiry) -> Result<Option<Revision>> {
        check_size(value).map_err(during("create"))?;
        self.lane.write(&self.space.name(key), value, expiry, 0).await.map_err(during("create"))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        check_size(value).map_err(during("update"))?;
        // 0 would mean "where nothing is" to Google: an update never creates.
        let Some(generation) = expected.as_u64().filter(|generation| *generation > 0) else {
            return Ok(None);
        };
        self.lane.write(&self.space.name(key), value, expiry, generation).await.map_err(during("update"))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        self.lane.remove(&self.space.name(key), None).await.map_err(during("delete"))
    }

    async fn sweep(&self, now: SystemTime, cursor: Option<ScanCursor>, limit: usize) -> Result<SweepReport> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let (found, next) = self.page(cursor, limit).await.map_err(during("sweep"))?;
        let examined = found.len() as u64;
        let removed = stream::iter(found)
            .map(async |(_, found)| self.remove_if_expired(&found, now).await)
            .buffer_unordered(PARALLEL)
            .try_fold(0, async |removed, more| Ok(removed + u64::from(more)))
            .await
            .map_err(during("sweep"))?;
        Ok(SweepReport::new(examined, removed, next))
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        let (found, next) = self.page(cursor, limit).await.map_err(during("scan"))?;
        let entries = stream::iter(found)
            .map(async |(key, found)| Ok(self.lane.read(&found.name).await?.map(|stored| (key, stored))))
            .buffer_unordered(PARALLEL)
            .try_filter_map(async |entry| Ok(entry))
            .try_collect()
            .await
            .map_err(during("scan"))?;
        Ok(ScanPage::new(entries, next))
    }

    async fn ping(&self) -> Result<()> {
        // That nothing is there is said of a bucket that is, to credentials that may read.
        let nobody = StorageKey::from_bytes([0; StorageKey::BYTES]);
        self.lane.read(&self.space.name(&nobody)).await.map(drop).map_err(during("ping"))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(ENGINE)
            .with_listing(true)
            .with_durability(Durability::Replicated)
            .with_max_value(MAX_VALUE)
    }
}

async fn open(target: Target) -> Result<GcsStore> {
    let lane = connect(&target).await?;
    if !lane.bucket_exists().await? {
        match &target.creation {
            Some(creation) => lane.create_bucket(creation).await?,
            None => return Err(Answer::NoBucket.into_error()),
        }
    }
    let store = GcsStore { lane, space: target.space };
    store.ping().await?;
    Ok(store)
}

async fn connect(target: &Target) -> Result<Box<dyn Lane>> {
    let endpoint = target.endpoint.as_deref().unwrap_or(GOOGLE);
    let credentials = match &target.credentials {
        Credentials::Hmac(key) => {
            return Ok(Box::new(Xml::new(endpoint, &target.bucket, key.clone(), DEADLINE)?));
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
    Ok(Box::new(Official::new(objects, control, &target.bucket, DEADLINE)))
}

/// Why a client cannot be built. What the error prints is not passed on: it may quote what it has read.
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

fn check_size(value: &[u8]) -> Result<()> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    Err(Error::new(ErrorKind::TooLarge, format!("a session of more than {MAX_VALUE} bytes is not written")))
}

fn during(operation: &'static str) -> impl Fn(Error) -> Error {
    move |error| error.on(ENGINE).during(operation)
}
