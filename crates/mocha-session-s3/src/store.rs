//! The store: sessions as objects of a bucket, by the core's logic for object stores.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use mocha_session_core::backend::objects::ObjectStore;
use mocha_session_core::store::{Capabilities, Durability, KeySpace, Revision};
use mocha_session_core::{BoxFuture, Error, Result, StoreUrl, forward_store};

use crate::bucket::Bucket;
use crate::url;

/// The engine's name in errors and capabilities.
pub(crate) const ENGINE: &str = "s3";

/// A session store in a bucket of Amazon S3 or of a compatible endpoint.
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
    /// A store on a client of your own, with its objects under the prefix of `space`. Does no I/O;
    /// see [`prepare`](Self::prepare).
    ///
    /// The store uses the client's credentials, endpoint, HTTP client and connect timeout. It does
    /// not use its retries, because it repeats by itself the calls that may be repeated. After a
    /// silence of the network it opens new connections, if the client has the SDK's default HTTP
    /// client; the connections of an HTTP client of your own are not the store's.
    pub fn new(client: Client, bucket: impl Into<String>, space: KeySpace) -> Self {
        let bucket = Bucket::new(&client, bucket.into(), &space);
        let can = Capabilities::new(ENGINE).with_durability(Durability::Disk);
        let objects =
            ObjectStore::new(Arc::new(bucket.clone()), space, can).with_conditional_delete(false);
        Self { bucket, objects, aws: false }
    }

    /// Reads a URL, and returns the future that opens the store: what [`DRIVER`](crate::DRIVER)
    /// does, with the type of this store.
    ///
    /// ```no_run
    /// use mocha_session_core::StoreUrl;
    /// use mocha_session_s3::S3Store;
    ///
    /// # async fn doc() -> mocha_session_core::Result<()> {
    /// let mut url = StoreUrl::parse("s3://key:secret@s3.aws.amazon.com/my-bucket")?;
    /// let opening = S3Store::from_url(&mut url)?;
    /// url.finish()?; // no unknown option
    /// let store = opening.await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` for a wrong URL, before any I/O. The future fails as
    /// [`prepare`](Self::prepare) does.
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        url::open(url)
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    pub(crate) fn objects(&self) -> &ObjectStore {
        &self.objects
    }

    /// Relies on two properties of Amazon's S3: conditional deletes, and several copies of each
    /// acknowledged write.
    #[must_use]
    pub fn on_aws(self) -> Self {
        let objects =
            self.objects.with_conditional_delete(true).with_durability(Durability::Replicated);
        Self { objects, aws: true, ..self }
    }

    /// Sets the deadline of a call. The default is five seconds.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { objects: self.objects.with_deadline(deadline), ..self }
    }

    /// Creates the bucket if it does not exist and `create` allows it. Checks that the endpoint
    /// honours conditions, because without them two requests overwrite each other's changes.
    ///
    /// It sends one request on AWS, ten elsewhere. Several processes may do this at once.
    ///
    /// ```no_run
    /// # async fn doc(client: mocha_session_s3::aws_sdk_s3::Client) -> mocha_session_core::Result<()> {
    /// use mocha_session_core::store::KeySpace;
    /// use mocha_session_s3::S3Store;
    ///
    /// let store = S3Store::new(client, "my-bucket", KeySpace::new("sessions/")?);
    /// let store = store.prepare(true).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Unsupported` when the endpoint ignores conditions, `Unavailable` when the bucket is missing
    /// and `create` is false, `Denied` when the credentials do not suffice, `Unavailable` or
    /// `Timeout` when the endpoint does not answer.
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
