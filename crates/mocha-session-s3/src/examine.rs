//! Examines the bucket for what is dangerous to sessions, for operators.

use std::time::SystemTime;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketVersioningStatus, ExpirationStatus, PolicyStatus};
use mocha_session_core::Result;
use mocha_session_core::store::Finding;

use crate::bucket::Bucket;
use crate::store::S3Store;

impl S3Store {
    /// Asks the bucket for what is dangerous about its rules: no lifecycle rule, public access,
    /// versioning. Compares the endpoint's clock with this machine's. What the credentials may not
    /// ask for is a note.
    ///
    /// # Errors
    /// The errors of [`prepare`](Self::prepare): an endpoint without conditions is refused there.
    pub async fn examine(&self) -> Result<Vec<Finding>> {
        let (bucket, name) = (self.bucket(), &self.bucket().name);
        let client = bucket.limited(self.objects().deadline());
        let mut found = Vec::new();
        lifecycle(&client, name, &mut found).await;
        public(&client, name, &mut found).await;
        versioning(&client, name, &mut found).await;
        found.push(clock(bucket, &client).await);
        Ok(found)
    }
}

async fn lifecycle(client: &Client, bucket: &str, found: &mut Vec<Finding>) {
    const MISSING: &str = "the bucket has no lifecycle rule that expires objects: what no sweep \
        removes stays and costs money; add a rule whose days are longer than the longest session, \
        and run a sweeper";
    match client.get_bucket_lifecycle_configuration().bucket(bucket).send().await {
        Ok(rules) => {
            let expires = rules.rules().iter().any(|rule| {
                *rule.status() == ExpirationStatus::Enabled && rule.expiration().is_some()
            });
            if !expires {
                found.push(Finding::danger(MISSING));
            }
        }
        Err(failure) if failure.code() == Some("NoSuchLifecycleConfiguration") => {
            found.push(Finding::danger(MISSING));
        }
        Err(failure) => found.push(unknown("its lifecycle rules", failure.code())),
    }
}

async fn public(client: &Client, bucket: &str, found: &mut Vec<Finding>) {
    const PUBLIC: &str = "anyone can reach the bucket: its sessions are encrypted, but whoever may \
        write can end them or bring ended ones back; block public access";
    let by_list = match client.get_bucket_acl().bucket(bucket).send().await {
        Ok(list) => list.grants().iter().any(|grant| {
            let group = grant.grantee().and_then(|grantee| grantee.uri()).unwrap_or_default();
            group.ends_with("/AllUsers") || group.ends_with("/AuthenticatedUsers")
        }),
        Err(failure) => {
            found.push(unknown("its access list", failure.code()));
            false
        }
    };
    let by_policy = match client.get_bucket_policy_status().bucket(bucket).send().await {
        Ok(status) => status.policy_status().and_then(PolicyStatus::is_public) == Some(true),
        Err(failure) if failure.code() == Some("NoSuchBucketPolicy") => false,
        Err(failure) => {
            found.push(unknown("whether its policy is public", failure.code()));
            false
        }
    };
    if by_list || by_policy {
        found.push(Finding::danger(PUBLIC));
    }
}

async fn versioning(client: &Client, bucket: &str, found: &mut Vec<Finding>) {
    match client.get_bucket_versioning().bucket(bucket).send().await {
        Ok(answer) if answer.status() == Some(&BucketVersioningStatus::Enabled) => {
            found.push(Finding::danger(
                "the bucket keeps old versions: every write of every session stays and costs \
                 money; suspend versioning, or expire noncurrent versions",
            ));
        }
        Ok(_) => {}
        Err(failure) => found.push(unknown("its versioning", failure.code())),
    }
}

async fn clock(bucket: &Bucket, client: &Client) -> Finding {
    let begun = SystemTime::now();
    Finding::of_date(begun, bucket.date(client).await)
}

fn unknown(what: &str, code: Option<&str>) -> Finding {
    let code = code.unwrap_or("no answer");
    Finding::note(format!("the bucket does not tell {what} to these credentials ({code})"))
}
