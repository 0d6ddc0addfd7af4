#![doc = include_str!("../README.md")]

mod address;
mod body;
mod failure;
mod prepare;

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Config;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use mocha_session_core::store::{
    Capabilities, Durability, Expiry, KeySpace, Revision, ScanCursor, ScanPage, SessionStore, StorageKey,
    Stored, SweepReport, async_trait,
};
use mocha_session_core::{Driver, Error, ErrorKind, Result};

use crate::failure::{Call, Failure};

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
/// In an object's metadata: when its entry expires, in milliseconds since 1970.
const DEADLINE: &str = "session-deadline";
/// Above this a write would outlast its deadline on an ordinary line.
const MAX_VALUE: usize = 16 * 1024 * 1024;
/// The most that one listing gives.
const MAX_PAGE: usize = 1000;
/// How many requests a sweep or a scan has under way at once.
const PARALLEL: usize = 16;
/// How long a grave is left to the one who dug it. Longer than a signed request is good for (15 minutes).
const GRAVE_RESTS: Duration = Duration::from_secs(60 * 60);

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

    async fn get(&self, operation: &'static str, name: &str) -> Result<Option<Stored>> {
        let object = match self.client.get_object().bucket(&self.bucket).key(name).send().await {
            Ok(object) => object,
            Err(failure) if failure::is_absent(&failure) => return Ok(None),
            Err(failure) => return Err(failure::explain(operation, Call::Read, &failure)),
        };
        let revision = revision(operation, object.e_tag)?;
        let body = object.body.collect().await.map_err(|_| {
            let why = "the connection broke in the middle of the object";
            Error::new(ErrorKind::Unavailable, why).on(ENGINE).during(operation)
        })?;
        match body::unwrap(&body.into_bytes()) {
            Ok(value) => Ok(value.map(|value| Stored::new(value, revision))),
            Err(body::NotOurs) => {
                let why = "an object in the sessions' place was not written by this store; give it a prefix of its own";
                Err(Error::new(ErrorKind::Corrupt, why).on(ENGINE).during(operation))
            }
        }
    }

    /// Writes if the condition holds; `None` if it does not.
    async fn put(
        &self,
        operation: &'static str,
        name: &str,
        body: Vec<u8>,
        deadline: i64,
        condition: Condition<'_>,
    ) -> Result<Option<Revision>> {
        let request = self.client.put_object().bucket(&self.bucket).key(name);
        let request = request.metadata(DEADLINE, deadline.to_string()).body(ByteStream::from(body));
        let request = match condition {
            Condition::Absent => request.if_none_match("*"),
            Condition::Is(expected) => request.if_match(expected.as_str()),
        };
        match request.customize().config_override(only_once()).send().await {
            Ok(written) => revision(operation, written.e_tag).map(Some),
            Err(failure) if failure::is_condition(&failure) => Ok(None),
            Err(failure) => Err(failure::explain(operation, Call::Write, &failure)),
        }
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

    /// Removes, if it is still what was looked at (or whatever it is); whether that was so.
    async fn remove(&self, operation: &'static str, name: &str, expected: Option<&str>) -> Result<bool> {
        let request = self.client.delete_object().bucket(&self.bucket).key(name);
        let request = request.set_if_match(expected.map(str::to_owned));
        match request.customize().config_override(only_once()).send().await {
            Ok(_) => Ok(true),
            Err(failure) if failure::is_condition(&failure) => Ok(false),
            Err(failure) => Err(failure::explain(operation, Call::Write, &failure)),
        }
    }

    async fn head(&self, operation: &'static str, name: &str) -> Result<Option<Head>> {
        let head = match self.client.head_object().bucket(&self.bucket).key(name).send().await {
            Ok(head) => head,
            // The answer to a HEAD has no body that could say more.
            Err(failure) if failure::status(&failure) == Some(404) => return Ok(None),
            Err(failure) => return Err(failure::explain(operation, Call::Read, &failure)),
        };
        let etag = revision(operation, head.e_tag)?.as_str().into_owned();
        let deadline = head.metadata.and_then(|all| all.get(DEADLINE)?.parse().ok());
        Ok(Some(Head { etag, deadline, is_grave: head.content_length.is_some_and(body::is_grave) }))
    }

    async fn list(
        &self,
        operation: &'static str,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<(Vec<Listed>, Option<ScanCursor>)> {
        let limit = i32::try_from(limit.clamp(1, MAX_PAGE)).unwrap_or(i32::MAX);
        let request =
            self.client.list_objects_v2().bucket(&self.bucket).prefix(self.space.prefix()).max_keys(limit);
        let request = request.set_continuation_token(cursor.map(|cursor| cursor.as_str().to_owned()));
        let page =
            request.send().await.map_err(|failure| failure::explain(operation, Call::Read, &failure))?;
        let ours = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            Some(Listed {
                key: self.space.parse(object.key.as_deref()?)?,
                size: object.size.unwrap_or_default(),
                written: object.last_modified.map_or(0, |at| at.secs()),
            })
        });
        Ok((ours.collect(), page.next_continuation_token.map(ScanCursor::new)))
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

    /// Asks for a name that nobody uses: that there is none is the answer of an endpoint in order.
    async fn look(&self) -> Result<(), Failure<GetObjectError>> {
        let name = format!("{}ping", self.space.prefix());
        match self.client.get_object().bucket(&self.bucket).key(name).send().await {
            Ok(_) => Ok(()),
            Err(failure) if failure::is_absent(&failure) => Ok(()),
            Err(failure) => Err(failure),
        }
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

/// On what a write depends.
#[derive(Clone, Copy)]
enum Condition<'a> {
    Absent,
    Is(&'a Revision),
}

/// What a HEAD tells of an entry.
struct Head {
    etag: String,
    deadline: Option<i64>,
    is_grave: bool,
}

/// What a listing tells of an entry.
struct Listed {
    key: StorageKey,
    size: i64,
    /// Seconds since 1970.
    written: i64,
}

/// For writes: the SDK would repeat one whose answer was lost, and report our own first write as somebody else's.
fn only_once() -> aws_sdk_s3::config::Builder {
    Config::builder().retry_config(RetryConfig::disabled())
}

fn revision(operation: &'static str, etag: Option<String>) -> Result<Revision> {
    etag.map(Revision::from).ok_or_else(|| {
        let why = "the endpoint's answer has no ETag, without which nothing can be written on condition";
        Error::new(ErrorKind::Unsupported, why).on(ENGINE).during(operation)
    })
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
