//! The store: a bucket under the logic that all object stores share.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use mocha_session_core::backend::objects::ObjectStore;
use mocha_session_core::store::{Capabilities, Durability, KeySpace, Revision};
use mocha_session_core::{BoxFuture, Error, Result, StoreUrl, forward_store};

use crate::ENGINE;
use crate::bucket::Bucket;
use crate::url::Target;

/// Keeps sessions as objects of a bucket, one each, written and removed under conditions on their
/// `ETag`.
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
#[derive(Clone, Debug)]
pub struct S3Store {
    bucket: Bucket,
    objects: ObjectStore,
    aws: bool,
}

forward_store!(S3Store, |store| store.objects);

impl S3Store {
    /// A store over a client of your own. Sends nothing; see [`prepare`](Self::prepare).
    ///
    /// The client's credentials, endpoint, HTTP client and connect timeout are used. Its retries
    /// are not: the store repeats what may be repeated.
    pub fn new(client: Client, bucket: impl Into<String>, space: KeySpace) -> Self {
        let bucket = Bucket::new(&client, bucket.into(), &space);
        let can = Capabilities::new(ENGINE).with_durability(Durability::Disk);
        let objects =
            ObjectStore::new(Arc::new(bucket.clone()), space, can).with_conditional_delete(false);
        Self { bucket, objects, aws: false }
    }

    /// Relies on what Amazon's S3 promises: conditional deletes, and several copies of each
    /// acknowledged write.
    #[must_use]
    pub fn on_aws(self) -> Self {
        let objects =
            self.objects.with_conditional_delete(true).with_durability(Durability::Replicated);
        Self { objects, aws: true, ..self }
    }

    /// Sets the time that one call may take, instead of five seconds.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { objects: self.objects.with_deadline(deadline), ..self }
    }

    /// Reads a URL, and returns what connects and [prepares](Self::prepare) the bucket when it is
    /// awaited.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is wrong. The future fails as `prepare` does.
    ///
    /// ```no_run
    /// # async fn doc() -> mocha_session_core::Result<()> {
    /// use mocha_session_core::StoreUrl;
    /// use mocha_session_s3::S3Store;
    ///
    /// let mut url = StoreUrl::parse("s3://key:secret@s3.aws.amazon.com/my-bucket?region=eu-central-1")?;
    /// let store = S3Store::from_url(&mut url)?.await?;
    /// # Ok(()) }
    /// ```
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        let target = Target::read(url)?;
        Ok(Box::pin(async move {
            let (create, aws, deadline) =
                (target.create, target.endpoint.is_none(), target.deadline);
            let (client, bucket, space) = target.connect().await?;
            let store = Self::new(client, bucket, space).with_deadline(deadline);
            let store = if aws { store.on_aws() } else { store };
            store.prepare(create).await
        }))
    }

    /// Makes the bucket if there is none and `create` allows it. Finds out whether the endpoint
    /// honours conditions, because without them two requests overwrite each other's changes.
    ///
    /// One request on AWS, ten elsewhere. Any number of processes may do this at once.
    ///
    /// ```no_run
    /// # async fn doc(client: mocha_session_s3::aws_sdk_s3::Client) -> mocha_session_core::Result<()> {
    /// use mocha_session_core::store::KeySpace;
    /// use mocha_session_s3::S3Store;
    ///
    /// let store = S3Store::new(client, "my-bucket", KeySpace::new("sessions/")?).prepare(true).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Unsupported` when the endpoint ignores conditions; `Unavailable` when there is no bucket
    /// and none may be made; `Denied` when the credentials do not suffice; else whatever keeps the
    /// endpoint from answering.
    pub async fn prepare(mut self, create: bool) -> Result<Self> {
        let prepared = async {
            self.bucket.ensure(&self.objects, create).await?;
            if !self.aws {
                let wrong = Revision::from("\"00000000000000000000000000000000\"".to_owned());
                self.objects = self.objects.prove_conditions(wrong).await?;
            }
            Ok(self)
        };
        prepared.await.map_err(|error: Error| error.on(ENGINE).during("open"))
    }
}
