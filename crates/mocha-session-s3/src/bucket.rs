//! The requests to a bucket: one object each, or one page of a listing.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use mocha_session_core::backend::objects::{
    Condition, Content, Head, Listed, Object, ObjectClient, ObjectStore, Outcome, Page, too_large,
};
use mocha_session_core::store::{
    Effect, Failure, KeySpace, Revision, SessionStore, StorageKey, async_trait,
};
use mocha_session_core::{Error, ErrorKind, Result};

use crate::error;

/// The metadata of an object with the expiry of its entry, in milliseconds since 1970.
const DEADLINE: &str = "session-deadline";
/// The number of times to look for a bucket that another process is creating.
const LOOKS: u32 = 25;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
const NO_ETAG: &str =
    "the endpoint's answer has no ETag, which conditional writes need; use another endpoint";

/// A bucket and its client.
#[derive(Clone)]
pub(crate) struct Bucket {
    client: Arc<RwLock<Client>>,
    pub(crate) name: String,
    /// The name of an object that no session has. "No such object" shows that the bucket exists.
    unused: String,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: its configuration holds credentials.
        f.debug_struct("Bucket").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Bucket {
    /// Switches the SDK's retries off. It would repeat a write whose answer was lost, and report
    /// its own first write as another writer's.
    pub(crate) fn new(client: &Client, name: String, space: &KeySpace) -> Self {
        let config = client.config().to_builder().retry_config(RetryConfig::disabled()).build();
        let unused = space.name(&StorageKey::from_bytes([0; StorageKey::BYTES]));
        Self { client: Arc::new(RwLock::new(Client::from_conf(config))), name, unused }
    }

    /// The client with the present connections.
    pub(crate) fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client whose requests have this limit, for those that do not pass through the
    /// [`ObjectStore`].
    pub(crate) fn limited(&self, limit: Duration) -> Client {
        let limits = TimeoutConfig::builder().operation_timeout(limit).build();
        let config = self.client().config().to_builder();
        Client::from_conf(config.timeout_config(limits).build())
    }

    /// Asks for an object that does not exist, and returns the date of the answer.
    pub(crate) async fn date(&self, client: &Client) -> Option<SystemTime> {
        let looking = client.head_object().bucket(&self.name).key(&self.unused).send();
        // The SDK shows the headers of errors only.
        let failure = looking.await.err()?;
        let date = failure.raw_response()?.headers().get("date")?;
        let second = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?;
        second.try_into().ok()
    }

    /// Creates the bucket if it does not exist and `create` allows it.
    pub(crate) async fn ensure(&self, objects: &ObjectStore, create: bool) -> Result<()> {
        let client = self.limited(objects.deadline());
        for _ in 0..LOOKS {
            match client.get_object().bucket(&self.name).key(&self.unused).send().await {
                Ok(_) => return Ok(()),
                Err(failure) if error::is_absent(&failure) => return Ok(()),
                Err(failure) if create && error::is_without_bucket(&failure) => {}
                Err(failure) if error::is_without_bucket(&failure) => {
                    return Err(error::of_read(&failure));
                }
                // Repeats and explains the failure as for any read.
                Err(_) => return objects.ping().await,
            }
            let region = client.config().region().map(AsRef::as_ref);
            let place = match region {
                None | Some("us-east-1" | "auto") => None,
                Some(region) => Some(
                    CreateBucketConfiguration::builder()
                        .location_constraint(BucketLocationConstraint::from(region))
                        .build(),
                ),
            };
            let request =
                client.create_bucket().bucket(&self.name).set_create_bucket_configuration(place);
            match request.send().await {
                Ok(_) => {}
                Err(failure) => match aws_sdk_s3::error::ProvideErrorMetadata::code(&failure) {
                    // Another process has created the bucket, or is creating it.
                    Some("BucketAlreadyOwnedByYou") => {}
                    Some("OperationAborted") => tokio::time::sleep(BETWEEN_LOOKS).await,
                    _ => return Err(error::of_read(&failure).during("create the bucket")),
                },
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the bucket was created and does not answer yet; try again",
        ))
    }
}

#[async_trait]
impl ObjectClient for Bucket {
    async fn get(&self, name: &str, most: usize) -> Result<Option<Object>> {
        let object = match self.client().get_object().bucket(&self.name).key(name).send().await {
            Ok(object) => object,
            Err(failure) if error::is_absent(&failure) => return Ok(None),
            Err(failure) => return Err(error::of_read(&failure)),
        };
        let size = object.content_length.and_then(|length| usize::try_from(length).ok());
        if size.is_some_and(|size| size > most) {
            return Err(too_large(most));
        }
        let (mut stream, mut body) = (object.body, Vec::with_capacity(size.unwrap_or_default()));
        while let Some(chunk) = stream.next().await {
            let broken = "the connection broke before the object's end";
            let chunk = chunk.map_err(|_| Failure::Unanswered.error(Effect::Read, broken))?;
            if body.len() + chunk.len() > most {
                return Err(too_large(most));
            }
            body.extend_from_slice(&chunk);
        }
        let deadline = object.metadata.and_then(|all| all.get(DEADLINE)?.parse().ok());
        let head = Head { revision: revision(object.e_tag)?, size: body.len() as u64, deadline };
        Ok(Some(Object { head, body: body.into() }))
    }

    async fn head(&self, name: &str) -> Result<Option<Head>> {
        let head = match self.client().head_object().bucket(&self.name).key(name).send().await {
            Ok(head) => head,
            // The answer to a HEAD has no body with S3's error code.
            Err(failure) if error::status(&failure) == Some(404) => return Ok(None),
            Err(failure) => return Err(error::of_read(&failure)),
        };
        let deadline = head.metadata.and_then(|all| all.get(DEADLINE)?.parse().ok());
        let size =
            head.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
        Ok(Some(Head { revision: revision(head.e_tag)?, size, deadline }))
    }

    async fn put(&self, name: &str, to: Content, when: Condition<'_>) -> Result<Outcome<Revision>> {
        let Content { body, deadline } = to;
        let request = self.client().put_object().bucket(&self.name).key(name);
        let request = request.metadata(DEADLINE, deadline.to_string()).body(ByteStream::from(body));
        let request = match when {
            Condition::Absent => request.if_none_match("*"),
            Condition::Is(expected) => request.if_match(expected.as_str()),
        };
        match request.send().await {
            Ok(written) => written
                .e_tag
                .map(|etag| Outcome::Done(etag.into()))
                .ok_or_else(|| Failure::Unanswered.error(Effect::Write, NO_ETAG)),
            Err(failure) if error::is_condition(&failure) => Ok(Outcome::Unmet),
            Err(failure) => error::of_write(&failure),
        }
    }

    async fn delete(&self, name: &str, expected: Option<&Revision>) -> Result<Outcome<()>> {
        let request = self.client().delete_object().bucket(&self.name).key(name);
        match request.set_if_match(expected.map(|it| it.as_str().into_owned())).send().await {
            Ok(_) => Ok(Outcome::Done(())),
            Err(failure) if error::is_absent(&failure) => Ok(Outcome::Unmet),
            Err(failure) if expected.is_some() && error::is_condition(&failure) => {
                Ok(Outcome::Unmet)
            }
            Err(failure) => error::of_write(&failure),
        }
    }

    async fn list(&self, prefix: &str, limit: usize, after: Option<&str>) -> Result<Page> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let request =
            self.client().list_objects_v2().bucket(&self.name).prefix(prefix).max_keys(limit);
        let page = request.set_continuation_token(after.map(str::to_owned)).send().await;
        let page = page.map_err(|failure| error::of_read(&failure))?;
        let listed = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let size = object.size.and_then(|size| u64::try_from(size).ok())?;
            let written = object.last_modified.as_ref().map_or(0, DateTime::secs);
            let written =
                SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(written).unwrap_or(0));
            Some(Listed { name: object.key?, size, written, head: None })
        });
        Ok(Page { objects: listed.collect(), next: page.next_continuation_token })
    }

    fn delete_tells(&self) -> bool {
        false
    }

    /// A new client has a new pool, unless its HTTP client is the application's own.
    async fn reconnect(&self) {
        let renewed = Client::from_conf(self.client().config().clone());
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = renewed;
    }
}

fn revision(etag: Option<String>) -> Result<Revision> {
    etag.map(Revision::from).ok_or_else(|| Error::new(ErrorKind::Unsupported, NO_ETAG))
}
