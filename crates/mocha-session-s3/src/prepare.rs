//! What is done before the first session: make the bucket, and prove that the endpoint honours conditions.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use mocha_session_core::store::{Expiry, Revision, StorageKey};
use mocha_session_core::{Error, ErrorKind, Result};

use crate::failure::{self, Call};
use crate::objects::Condition;
use crate::{S3Store, body};

/// A bucket that someone else is making in this moment answers after so many looks at the latest.
const LOOKS: u32 = 25;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

impl S3Store {
    /// Makes the bucket if there is none and `create` allows it, and finds out whether the endpoint honours conditions,
    /// without which two requests could overwrite each other's changes unseen.
    ///
    /// One request on AWS, which is known to; ten elsewhere. Any number of processes may do this at once.
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
    /// `Unsupported` when the endpoint ignores conditions; `Unavailable` when there is no bucket and none may be made;
    /// `Denied` when the credentials do not suffice; else whatever keeps the endpoint from answering.
    pub async fn prepare(mut self, create: bool) -> Result<Self> {
        self.ensure_bucket(create).await?;
        if !self.aws {
            self.conditional_delete = self.probe().await?;
        }
        Ok(self)
    }

    async fn ensure_bucket(&self, create: bool) -> Result<()> {
        for _ in 0..LOOKS {
            match self.look().await {
                Ok(()) => return Ok(()),
                Err(failure) if create && failure::is_without_bucket(&failure) => {}
                Err(failure) => return Err(failure::explain("open", Call::Read, &failure)),
            }
            let region = self.client.config().region().map(AsRef::as_ref);
            let place = match region {
                None | Some("us-east-1" | "auto") => None,
                Some(region) => Some(
                    CreateBucketConfiguration::builder()
                        .location_constraint(BucketLocationConstraint::from(region))
                        .build(),
                ),
            };
            let request =
                self.client.create_bucket().bucket(&self.bucket).set_create_bucket_configuration(place);
            match request.send().await {
                Ok(_) => {}
                Err(failure) => match aws_sdk_s3::error::ProvideErrorMetadata::code(&failure) {
                    // Another process was faster, or is about to be.
                    Some("BucketAlreadyOwnedByYou") => {}
                    Some("OperationAborted") => tokio::time::sleep(BETWEEN_LOOKS).await,
                    _ => return Err(failure::explain("create the bucket", Call::Read, &failure)),
                },
            }
        }
        let why = "the bucket was made, and still does not answer; try again";
        Err(Error::new(ErrorKind::Unavailable, why).on(crate::ENGINE).during("open"))
    }

    /// Whether deletes can be conditional. Writes must be: an error otherwise.
    ///
    /// Tried on a name that nobody else has, with graves, which no one takes for a session and a sweep would remove.
    async fn probe(&self) -> Result<bool> {
        let name = self.space.name(&StorageKey::from_bytes(std::array::from_fn(|_| fastrand::u8(..))));
        let answer = self.try_conditions(&name).await;
        // Whatever was found. The errors of `answer` come first.
        let removed = self.remove("open", &name, None).await;
        let answer = answer?;
        removed?;
        Ok(answer)
    }

    async fn try_conditions(&self, name: &str) -> Result<bool> {
        let wrong = Revision::from("\"00000000000000000000000000000000\"".to_owned());
        self.must("If-Match on a put", name, Some(&wrong), false).await?;
        let first = self.must("If-None-Match on a put", name, None, true).await?;
        self.must("If-None-Match on a put", name, None, false).await?;
        self.must("If-Match on a put", name, Some(&wrong), false).await?;
        let second = self.must("If-Match on a put", name, first.as_ref(), true).await?;
        self.must("If-Match on a put", name, first.as_ref(), false).await?;
        let (Some(first), Some(second)) = (first, second) else { return Ok(false) };
        // `second` is the entry's; a delete that is told `first` must leave it alone.
        let deleted = self.remove("open", name, Some(&first.as_str())).await;
        match deleted {
            Ok(true) => Ok(false),
            Ok(false) => Ok(self.head("open", name).await?.is_some_and(|head| head.etag == second.as_str())),
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Internal) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One conditional put, which must succeed or must be refused.
    async fn must(
        &self,
        what: &str,
        name: &str,
        old: Option<&Revision>,
        succeed: bool,
    ) -> Result<Option<Revision>> {
        let expiry = Expiry::after(Duration::from_mins(1), SystemTime::now());
        let condition = old.map_or(Condition::Absent, Condition::Is);
        let written = self.put("open", name, body::grave().to_vec(), expiry.at_millis(), condition).await?;
        if written.is_some() == succeed {
            return Ok(written);
        }
        let why = format!(
            "the endpoint does not honour {what}: simultaneous requests would overwrite each other's sessions, so it \
             cannot be used; ask for conditional writes there, or choose another engine"
        );
        Err(Error::new(ErrorKind::Unsupported, why).on(crate::ENGINE).during("open"))
    }
}
