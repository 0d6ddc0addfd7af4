#![doc = include_str!("../README.md")]

mod address;
mod body;
mod failure;
mod objects;
mod prepare;

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use mocha_session_core::store::{
    Capabilities, Durability, Expiry, KeySpace, Revision, ScanCursor, ScanPage, SessionStore, StorageKey,
    Stored, SweepReport, async_trait,
};
use mocha_session_core::{Driver, Error, ErrorKind, Result};

use crate::failure::Call;
use crate::objects::Condition;

/// The client library, in the version that [`S3Store::new`] takes a client of.
pub use aws_sdk_s3;

/// Opens `s3://` URLs. The crate's front page has their forms and options.
///
/// ```no_run
/// # async fn doc() -> mocha_session_core::Result<()> {
/// let registry = mocha_session_core::Registry::new().register(mocha_session_s3::DRIVER);
/// let storage = registry.open("s3://username:password@s3.aws.amazon.com/my-bucket?region=eu-central-1").await?;
/// # Ok(()) }
/// ```
pub const DRIVER: Driver = Driver::new(&["s3"], |url| {
    let address = address::Address::read(url)?;
    Ok(Box::pin(async move { Ok(Arc::new(address.open().await?) as Arc<dyn SessionStore>) }))
});

const ENGINE: &str = "s3";
/// Above this a write would outlast its deadline on an ordinary line.
const MAX_VALUE: usize = 4 * 1024 * 1024;
/// How many requests a sweep or a scan has under way at once.
const PARALLEL: usize = 16;
/// How long a grave is left to the one who dug it. Longer than a signed request is good for (15 minutes).
const GRAVE_RESTS: Duration = Duration::from_hours(1);

/// Keeps sessions as objects of a bucket, one each, written and removed under conditions on their `ETag`.
///
/// ```no_run
/// # async fn doc() -> mocha_session_core::Result<()> {
/// use mocha_session_core::store::KeySpace;
/// use mocha_session_s3::{S3Store, aws_sdk_s3};
///
/// # let config = aws_sdk_s3::Config::builder().build();
/// let client = aws_sdk_s3::Client::from_conf(config);
/// let store = S3Store::new(client, "my-bucket", KeySpace::new("sessions/")?).on_aws();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    space: KeySpace,
    aws: bool,
    conditional_delete: bool,
}

impl S3Store {
    /// A store over a client of your own. Asks nothing of the endpoint: see [`prepare`](Self::prepare).
    ///
    /// The client's retries serve for reads; writes are never retried.
    pub fn new(client: Client, bucket: impl Into<String>, space: KeySpace) -> Self {
        Self { client, bucket: bucket.into(), space, aws: false, conditional_delete: false }
    }

    /// Takes for granted what Amazon's S3 promises: conditional deletes, and several copies of what it acknowledged.
    #[must_use]
    pub fn on_aws(mut self) -> Self {
        self.aws = true;
        self.conditional_delete = true;
        self
    }

    /// Stores a value if the condition holds.
    async fn write(
        &self,
        operation: &'static str,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<Option<Revision>> {
        if value.len() > MAX_VALUE {
            let why =
                format!("{} bytes are more than the {MAX_VALUE} that one session may have", value.len());
            return Err(Error::new(ErrorKind::TooLarge, why).on(ENGINE).during(operation));
        }
        let body = body::wrap(value, expiry);
        self.put(operation, &self.space.name(key), body, expiry.at_millis(), condition).await
    }

    /// Removes an entry if it has expired and nobody refreshes it meanwhile; whether it did.
    async fn remove_expired(&self, key: StorageKey, now: SystemTime) -> Result<bool> {
        let name = self.space.name(&key);
        let Some(head) = self.head("sweep", &name).await? else { return Ok(false) };
        let millis = millis(now);
        if head.deadline.is_none_or(|deadline| deadline >= millis) {
            return Ok(false);
        }
        if self.conditional_delete {
            return self.remove("sweep", &name, Some(&head.etag)).await;
        }
        // This endpoint deletes whatever is there by then. So the entry is first replaced, on condition, by a grave: no
        // update knows its revision, no create overwrites it, and no other sweep touches it for an hour.
        let rests = millis.saturating_add(i64::try_from(GRAVE_RESTS.as_millis()).unwrap_or(i64::MAX));
        let expected = Revision::from(head.etag);
        let grave = body::grave().to_vec();
        if self.put("sweep", &name, grave, rests, Condition::Is(&expected)).await?.is_none() {
            return Ok(false);
        }
        self.remove("sweep", &name, None).await
    }
}

#[async_trait]
impl SessionStore for S3Store {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        self.get("load", &self.space.name(key)).await
    }

    async fn create(&self, key: &StorageKey, value: &[u8], expiry: Expiry) -> Result<Option<Revision>> {
        self.write("create", key, value, expiry, Condition::Absent).await
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        self.write("update", key, value, expiry, Condition::Is(expected)).await
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let name = self.space.name(key);
        // S3's delete does not say whether it found anything.
        let found = self.head("delete", &name).await?.is_some_and(|head| !head.is_grave);
        self.remove("delete", &name, None).await?;
        Ok(found)
    }

    async fn sweep(&self, now: SystemTime, cursor: Option<ScanCursor>, limit: usize) -> Result<SweepReport> {
        let (listed, next) = self.list("sweep", cursor, limit).await?;
        let examined = listed.len() as u64;
        let old = listed.into_iter().filter(|entry| !body::is_fresh(entry.size, entry.written, now));
        let removed = stream::iter(old.map(|entry| self.remove_expired(entry.key, now)))
            .buffer_unordered(PARALLEL)
            .try_fold(0, |sum, removed| ready(Ok(sum + u64::from(removed))))
            .await?;
        Ok(SweepReport::new(examined, removed, next))
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        let (listed, next) = self.list("scan", cursor, limit).await?;
        let reads = listed.into_iter().map(|entry| async move {
            let stored = self.get("scan", &self.space.name(&entry.key)).await?;
            Ok::<_, Error>(stored.map(|stored| (entry.key, stored)))
        });
        let entries = stream::iter(reads).buffer_unordered(PARALLEL).try_filter_map(|entry| ready(Ok(entry)));
        Ok(ScanPage::new(entries.try_collect().await?, next))
    }

    async fn ping(&self) -> Result<()> {
        self.look().await.map_err(|failure| failure::explain("ping", Call::Read, &failure))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(ENGINE)
            .with_listing(true)
            .with_durability(if self.aws { Durability::Replicated } else { Durability::Disk })
            .with_max_value(MAX_VALUE)
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: its configuration holds credentials.
        f.debug_struct("S3Store")
            .field("bucket", &self.bucket)
            .field("prefix", &self.space.prefix())
            .field("aws", &self.aws)
            .field("conditional_delete", &self.conditional_delete)
            .finish_non_exhaustive()
    }
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
