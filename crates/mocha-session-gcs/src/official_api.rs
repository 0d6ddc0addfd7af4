//! The official client's API: it reads and writes over REST, deletes and lists over gRPC.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use google_cloud_gax::options::RequestOptionsBuilder;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_storage::client::{Storage, StorageControl};
use google_cloud_storage::model::{
    Bucket as NewBucket, ListObjectsResponse, Object as GoogleObject,
};
use mocha_session_core::Result;
use mocha_session_core::backend::objects::{
    Condition, Content, Head, Listed, Object, ObjectClient, Outcome, Page, too_large,
};
use mocha_session_core::store::{Effect, Revision};

use crate::bucket::{
    Bucket, CACHE_CONTROL, CONTENT_TYPE, Connection, EXPIRES, acknowledged, custom_time,
    no_generation,
};
use crate::error::{Answer, of_call};
use crate::examine::{self, Told};
use crate::url::Creation;

/// A bucket behind the two halves of the official client.
#[derive(Debug)]
pub(crate) struct OfficialApi {
    clients: RwLock<Clients>,
    /// Makes the clients anew; `None` for clients of the application's own.
    connection: Option<Connection>,
    bucket: String,
}

/// The two halves of the client: one reads and writes, the other deletes and lists.
pub(crate) type Clients = (Storage, StorageControl);

impl OfficialApi {
    pub(crate) fn new(clients: Clients, connection: Option<Connection>, bucket: &str) -> Self {
        let bucket = format!("projects/_/buckets/{bucket}");
        Self { clients: RwLock::new(clients), connection, bucket }
    }

    fn objects(&self) -> Storage {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn control(&self) -> StorageControl {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    async fn page(
        &self,
        prefix: &str,
        limit: usize,
        after: &str,
    ) -> Result<ListObjectsResponse, Answer> {
        let call = self
            .control()
            .list_objects()
            .set_parent(&self.bucket)
            .set_prefix(prefix)
            .set_page_size(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_page_token(after)
            .with_retry_policy(NeverRetry);
        // Boxed, because the client's futures are up to 60 kB large.
        Box::pin(call.send()).await.map_err(|error| of_call(&error, Effect::Read))
    }
}

#[async_trait]
impl ObjectClient for OfficialApi {
    async fn get(&self, name: &str, most: usize) -> Result<Option<Object>> {
        let read = async {
            let call = self.objects().read_object(&self.bucket, name).with_retry_policy(NeverRetry);
            let mut object = call.send().await?;
            let (head, mut body) = (object.object(), Vec::new());
            while let Some(chunk) = object.next().await.transpose()? {
                if body.len() + chunk.len() > most {
                    return Ok(Err(too_large(most)));
                }
                body.extend_from_slice(&chunk);
            }
            let (size, deadline) = (body.len() as u64, expires(&head.metadata));
            let head = revision(head.generation).map(|revision| Head { revision, size, deadline });
            Ok(head.map(|head| Object { head, body: body.into() }))
        };
        match Box::pin(read).await {
            Ok(object) => object.map(Some),
            Err(error) => match of_call(&error, Effect::Read) {
                Answer::Absent => Ok(None),
                // Without a known text, the bucket may be missing.
                Answer::ObjectOrBucketMissing if self.exists().await? => Ok(None),
                other => Err(other.into_error()),
            },
        }
    }

    async fn put(&self, name: &str, to: Content, when: Condition<'_>) -> Result<Outcome<Revision>> {
        let Content { body, deadline } = to;
        let Some(generation) = generation(when) else { return Ok(Outcome::Unmet) };
        // By default the client repeats a conditional write whose answer was lost, and reports the
        // mismatch with its own first attempt.
        let call = self
            .objects()
            .write_object(&self.bucket, name, body)
            .set_if_generation_match(generation)
            .set_metadata([(EXPIRES, deadline.to_string())])
            .set_custom_time(custom_time(deadline))
            .set_content_type(CONTENT_TYPE)
            .set_cache_control(CACHE_CONTROL)
            .with_idempotency(false)
            .with_retry_policy(NeverRetry)
            .with_resumable_upload_threshold(usize::MAX);
        match Box::pin(call.send_unbuffered()).await {
            Ok(object) => acknowledged(revision(object.generation)),
            Err(error) => of_call(&error, Effect::Write).of_write(true),
        }
    }

    async fn delete(&self, name: &str, expected: Option<&Revision>) -> Result<Outcome<()>> {
        let mut call = self
            .control()
            .delete_object()
            .set_bucket(&self.bucket)
            .set_object(name)
            .with_idempotency(false)
            .with_retry_policy(NeverRetry);
        if let Some(expected) = expected {
            let Some(generation) = generation(Condition::Is(expected)) else {
                return Ok(Outcome::Unmet);
            };
            call = call.set_if_generation_match(generation);
        }
        match Box::pin(call.send()).await {
            Ok(()) => Ok(Outcome::Done(())),
            Err(error) => match of_call(&error, Effect::Write) {
                Answer::ObjectOrBucketMissing if self.exists().await? => Ok(Outcome::Unmet),
                other => other.of_write(expected.is_some()),
            },
        }
    }

    async fn list(&self, prefix: &str, limit: usize, after: Option<&str>) -> Result<Page> {
        let page = self
            .page(prefix, limit, after.unwrap_or_default())
            .await
            .map_err(Answer::into_error)?;
        let objects = page.objects.into_iter().map(listed).collect::<Result<_>>()?;
        Ok(Page { objects, next: Some(page.next_page_token).filter(|token| !token.is_empty()) })
    }

    fn delete_tells(&self) -> bool {
        true
    }

    async fn reconnect(&self) {
        let Some(connection) = &self.connection else { return };
        if let Ok(renewed) = connection.open().await {
            *self.clients.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        }
    }
}

#[async_trait]
impl Bucket for OfficialApi {
    async fn exists(&self) -> Result<bool> {
        match self.page("", 1, "").await {
            Ok(_) => Ok(true),
            Err(Answer::NoBucket | Answer::ObjectOrBucketMissing) => Ok(false),
            Err(other) => Err(other.into_error()),
        }
    }

    async fn create(&self, creation: &Creation) -> Result<()> {
        let bucket = NewBucket::new()
            .set_project(format!("projects/{}", creation.project))
            .set_location(creation.location.clone().unwrap_or_default());
        let call = self
            .control()
            .create_bucket()
            .set_parent("projects/_")
            .set_bucket_id(self.bucket.rsplit('/').next().unwrap_or_default())
            .set_bucket(bucket)
            .with_idempotency(false)
            .with_retry_policy(NeverRetry);
        match Box::pin(call.send()).await {
            Ok(_) => Ok(()),
            Err(error) => match of_call(&error, Effect::Write) {
                Answer::Taken => Ok(()),
                other => Err(other.into_error()),
            },
        }
    }

    async fn examine(&self, limit: Duration) -> Told {
        examine::ask(&self.objects(), &self.control(), &self.bucket, limit).await
    }
}

fn listed(object: GoogleObject) -> Result<Listed> {
    let (size, deadline) =
        (u64::try_from(object.size).unwrap_or_default(), expires(&object.metadata));
    let head = Head { revision: revision(object.generation)?, size, deadline };
    // The time of the write is not needed, because the deadline is known.
    Ok(Listed { name: object.name, size, written: SystemTime::UNIX_EPOCH, head: Some(head) })
}

fn expires(metadata: &std::collections::HashMap<String, String>) -> Option<u64> {
    metadata.get(EXPIRES).and_then(|text| text.parse().ok())
}

/// The generation of a condition; `None` for a revision that this store did not make.
fn generation(when: Condition<'_>) -> Option<i64> {
    match when {
        Condition::Absent => Some(0),
        // To Google 0 means "no object", and an update must not create one.
        Condition::Is(expected) => {
            i64::try_from(expected.as_u64()?).ok().filter(|generation| *generation > 0)
        }
    }
}

fn revision(generation: i64) -> Result<Revision> {
    match u64::try_from(generation) {
        Ok(generation) if generation > 0 => Ok(Revision::from(generation)),
        _ => Err(no_generation()),
    }
}
