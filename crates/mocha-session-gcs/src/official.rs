//! The lane of the official client: reads and writes over REST, deletes and lists over gRPC.

use std::time::Duration;

use async_trait::async_trait;
use google_cloud_gax::exponential_backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use google_cloud_gax::options::RequestOptionsBuilder;
use google_cloud_gax::retry_policy::{NeverRetry, RetryPolicy, RetryPolicyExt};
use google_cloud_storage::client::{Storage, StorageControl};
use google_cloud_storage::model::{Bucket, ListObjectsResponse};
use google_cloud_storage::retry_policy::RetryableErrors;
use mocha_session_core::store::{Bytes, Expiry, Revision, Stored};
use mocha_session_core::{Error, ErrorKind, Result};

use crate::failure::{Answer, Effect, google};
use crate::lane::{
    CACHE_CONTROL, CONTENT_TYPE, EXPIRES, Found, Lane, Listing, MAX_VALUE, Seen, custom_time, oversized,
    within,
};
use crate::target::Creation;

/// A bucket, reached with the official client's two halves.
#[derive(Debug)]
pub(crate) struct Official {
    objects: Storage,
    control: StorageControl,
    bucket: String,
    deadline: Duration,
}

impl Official {
    pub(crate) fn new(objects: Storage, control: StorageControl, bucket: &str, deadline: Duration) -> Self {
        Self { objects, control, bucket: format!("projects/_/buckets/{bucket}"), deadline }
    }

    async fn page(&self, prefix: &str, limit: usize, after: &str) -> Result<ListObjectsResponse, Answer> {
        let call = self
            .control
            .list_objects()
            .set_parent(&self.bucket)
            .set_prefix(prefix)
            .set_page_size(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_page_token(after)
            .with_retry_policy(patience())
            .with_backoff_policy(backoff());
        let page = within(self.deadline, call.send()).await.map_err(Answer::Failed)?;
        page.map_err(|error| google(&error, Effect::Read))
    }

    /// Google's 404 without a known sentence may mean the object or the bucket: the bucket is asked for.
    async fn is_only_the_object_missing(&self) -> Result<()> {
        if self.bucket_exists().await? { Ok(()) } else { Err(Answer::NoBucket.into_error()) }
    }

    async fn absent<T>(&self, answer: Answer) -> Result<Option<T>> {
        match answer {
            Answer::Absent => Ok(None),
            Answer::ObjectOrBucketMissing => self.is_only_the_object_missing().await.map(|()| None),
            other => Err(other.into_error()),
        }
    }
}

#[async_trait]
impl Lane for Official {
    fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    async fn read(&self, name: &str) -> Result<Option<Stored>> {
        let read = async {
            let call = self
                .objects
                .read_object(&self.bucket, name)
                .with_retry_policy(patience())
                .with_backoff_policy(backoff());
            let mut object = call.send().await?;
            let mut value = Vec::new();
            while let Some(chunk) = object.next().await.transpose()? {
                if value.len() + chunk.len() > MAX_VALUE {
                    return Ok(Err(oversized()));
                }
                value.extend_from_slice(&chunk);
            }
            Ok(revision(object.object().generation).map(|revision| Stored::new(value, revision)))
        };
        match within(self.deadline, read).await? {
            Ok(stored) => stored.map(Some),
            Err(error) => self.absent(google(&error, Effect::Read)).await,
        }
    }

    async fn write(
        &self,
        name: &str,
        value: &[u8],
        expiry: Expiry,
        generation: u64,
    ) -> Result<Option<Revision>> {
        let Ok(generation) = i64::try_from(generation) else { return Ok(None) };
        // Left alone, the client takes a conditional write for repeatable, and answers "does not match" to its own
        // repetition of a write whose answer was lost.
        let call = self
            .objects
            .write_object(&self.bucket, name, Bytes::copy_from_slice(value))
            .set_if_generation_match(generation)
            .set_metadata([(EXPIRES, expiry.at_millis().to_string())])
            .set_custom_time(custom_time(expiry))
            .set_content_type(CONTENT_TYPE)
            .set_cache_control(CACHE_CONTROL)
            .with_idempotency(false)
            .with_retry_policy(NeverRetry)
            .with_resumable_upload_threshold(usize::MAX);
        match within(self.deadline, call.send_unbuffered()).await? {
            Ok(object) => revision(object.generation).map(Some),
            Err(error) => match google(&error, Effect::Write) {
                Answer::Mismatch | Answer::Absent => Ok(None),
                other => Err(other.into_error()),
            },
        }
    }

    async fn remove(&self, name: &str, generation: Option<u64>) -> Result<bool> {
        let mut call = self
            .control
            .delete_object()
            .set_bucket(&self.bucket)
            .set_object(name)
            .with_idempotency(false)
            .with_retry_policy(NeverRetry);
        if let Some(generation) = generation {
            let Ok(generation) = i64::try_from(generation) else { return Ok(false) };
            call = call.set_if_generation_match(generation);
        }
        match within(self.deadline, call.send()).await? {
            Ok(()) => Ok(true),
            Err(error) => match google(&error, Effect::Write) {
                Answer::Mismatch if generation.is_some() => Ok(false),
                other => Ok(self.absent::<()>(other).await?.is_some()),
            },
        }
    }

    async fn list(&self, prefix: &str, limit: usize, after: Option<&str>) -> Result<Listing> {
        let page = self.page(prefix, limit, after.unwrap_or_default()).await.map_err(Answer::into_error)?;
        let found = page.objects.into_iter().map(|object| {
            let generation = u64::try_from(object.generation).unwrap_or_default();
            let expires = object.metadata.get(EXPIRES).and_then(|text| text.parse().ok());
            Found { name: object.name, seen: Some(Seen { generation, expires }) }
        });
        let next = Some(page.next_page_token).filter(|token| !token.is_empty());
        Ok(Listing { found: found.collect(), next })
    }

    async fn examine(&self, found: &Found) -> Result<Option<Seen>> {
        Ok(found.seen)
    }

    async fn bucket_exists(&self) -> Result<bool> {
        match self.page("", 1, "").await {
            Ok(_) => Ok(true),
            Err(Answer::NoBucket | Answer::ObjectOrBucketMissing) => Ok(false),
            Err(other) => Err(other.into_error()),
        }
    }

    async fn create_bucket(&self, creation: &Creation) -> Result<()> {
        let bucket = Bucket::new()
            .set_project(format!("projects/{}", creation.project))
            .set_location(creation.location.clone().unwrap_or_default());
        let call = self
            .control
            .create_bucket()
            .set_parent("projects/_")
            .set_bucket_id(self.bucket.rsplit('/').next().unwrap_or_default())
            .set_bucket(bucket)
            .with_idempotency(false)
            .with_retry_policy(NeverRetry);
        match within(self.deadline, call.send()).await? {
            Ok(_) => Ok(()),
            Err(error) => match google(&error, Effect::Write) {
                Answer::Taken => Ok(()),
                other => Err(other.into_error()),
            },
        }
    }
}

fn revision(generation: i64) -> Result<Revision> {
    match u64::try_from(generation) {
        Ok(generation) if generation > 0 => Ok(Revision::from(generation)),
        _ => Err(Error::new(ErrorKind::Internal, "an answer of Google Cloud Storage names no generation")),
    }
}

/// Reads are tried three times; the client's own default goes on for five minutes.
fn patience() -> impl RetryPolicy {
    RetryableErrors.with_attempt_limit(3)
}

fn backoff() -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_delay(Duration::from_millis(100))
        .with_maximum_delay(Duration::from_secs(1))
        .clamp()
}
