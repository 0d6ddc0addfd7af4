//! Examines the bucket for what is dangerous to sessions, for operators.

use std::time::{Duration, SystemTime};

use google_cloud_gax::options::RequestOptionsBuilder;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_storage::client::{Storage, StorageControl};
use google_cloud_storage::model::Bucket;
use mocha_session_core::store::Finding;
use tokio::time::timeout;

/// The name of an object that no session has. Only the date of the answer is of interest.
pub(crate) const UNUSED: &str = "mocha-session-clock";

/// The answers of a bucket about itself. `None` if it did not answer these credentials.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) rules: Option<Rules>,
    pub(crate) access: Option<Access>,
    pub(crate) clock: Option<Finding>,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a rule of its own")]
pub(crate) struct Rules {
    /// A lifecycle rule deletes objects.
    pub(crate) deletes: bool,
    pub(crate) keeps_versions: bool,
    pub(crate) keeps_deleted: bool,
    /// Google refuses public access, whatever the access lists say.
    pub(crate) prevents_public: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Public,
    Private,
}

impl Told {
    pub(crate) fn findings(self) -> Vec<Finding> {
        let mut found = Vec::new();
        match &self.rules {
            Some(rules) => rules.findings(&mut found),
            None => found.push(Finding::note(
                "the bucket does not tell its rules to these credentials; grant them \
                 storage.buckets.get",
            )),
        }
        match self.access {
            Some(Access::Public) if self.rules.is_some_and(|rules| rules.prevents_public) => {
                found.push(Finding::note(
                    "the bucket's access list names everyone, and public access prevention keeps \
                     them out; remove them from the list",
                ));
            }
            Some(Access::Public) => found.push(Finding::danger(
                "anyone can reach the bucket: its sessions are encrypted, but whoever may write \
                 can end them or bring ended ones back; enforce public access prevention",
            )),
            Some(Access::Private) => {}
            None => found.push(Finding::note(
                "the bucket does not tell who may reach it to these credentials; grant them \
                 storage.buckets.getIamPolicy, and use gs://BUCKET where they are an HMAC key",
            )),
        }
        found.extend(self.clock);
        found
    }
}

impl Rules {
    fn of(bucket: &Bucket) -> Self {
        let mut rules = bucket.lifecycle.iter().flat_map(|rules| &rules.rule);
        let kept = bucket.soft_delete_policy.as_ref();
        let kept = kept.and_then(|policy| policy.retention_duration.as_ref());
        let prevention = bucket.iam_config.as_ref().map(|config| &*config.public_access_prevention);
        Self {
            deletes: rules.any(|rule| {
                rule.action.as_ref().is_some_and(|it| it.r#type.eq_ignore_ascii_case("delete"))
            }),
            keeps_versions: bucket.versioning.as_ref().is_some_and(|it| it.enabled),
            keeps_deleted: kept.is_some_and(|kept| kept.seconds() > 0),
            prevents_public: prevention == Some("enforced"),
        }
    }

    fn findings(&self, found: &mut Vec<Finding>) {
        if !self.deletes {
            found.push(Finding::danger(
                "the bucket has no lifecycle rule that deletes objects: what no sweep removes stays \
                 and costs money; add one with `daysSinceCustomTime: 1`, because the custom time of \
                 an object is the end of its session",
            ));
        }
        if self.keeps_versions {
            found.push(Finding::danger(
                "the bucket keeps old versions: every write of every session stays and costs money; \
                 turn object versioning off",
            ));
        }
        if self.keeps_deleted {
            found.push(Finding::danger(
                "the bucket has a soft delete policy: every write of every session costs money for \
                 some days longer; clear the policy",
            ));
        }
    }
}

/// Asks a bucket (`projects/_/buckets/NAME`) through the official client. `limit` is the longest
/// wait for an answer.
pub(crate) async fn ask(
    objects: &Storage,
    control: &StorageControl,
    bucket: &str,
    limit: Duration,
) -> Told {
    // Boxed, because the client's futures are up to 60 kB large.
    let asking = control.get_bucket().set_name(bucket).with_retry_policy(NeverRetry).send();
    let rules = told(limit, Box::pin(asking)).await.map(|bucket| Rules::of(&bucket));
    let asking = control.get_iam_policy().set_resource(bucket).with_retry_policy(NeverRetry).send();
    let access = told(limit, Box::pin(asking)).await.map(|policy| {
        let everyone =
            |member: &String| matches!(member.as_str(), "allUsers" | "allAuthenticatedUsers");
        if policy.bindings.iter().any(|binding| binding.members.iter().any(everyone)) {
            Access::Public
        } else {
            Access::Private
        }
    });
    let begun = SystemTime::now();
    let reading = objects.read_object(bucket, UNUSED).with_retry_policy(NeverRetry).send();
    // The client shows the headers of errors only.
    let error = timeout(limit, Box::pin(reading)).await.ok().and_then(Result::err);
    let date = error.as_ref().and_then(|error| error.http_headers()?.get("date")?.to_str().ok());
    Told { rules, access, clock: Some(clock(begun, date)) }
}

/// Returns the answer, if one comes within the limit.
pub(crate) async fn told<T, E>(
    limit: Duration,
    asking: impl Future<Output = Result<T, E>>,
) -> Option<T> {
    timeout(limit, asking).await.ok()?.ok()
}

/// Compares the clock of an answer, which was asked for at `begun`, with this machine's.
pub(crate) fn clock(begun: SystemTime, date: Option<&str>) -> Finding {
    Finding::of_date(begun, date.and_then(|date| httpdate::parse_http_date(date).ok()))
}

#[cfg(test)]
mod tests {
    use google_cloud_storage::model::bucket::lifecycle::{Rule, rule::Action};
    use google_cloud_storage::model::bucket::{IamConfig, Lifecycle, Versioning};

    use super::*;

    fn found(bucket: &Bucket, access: Access) -> Vec<String> {
        let told = Told { rules: Some(Rules::of(bucket)), access: Some(access), clock: None };
        told.findings().into_iter().filter(Finding::is_danger).map(|it| it.to_string()).collect()
    }

    #[test]
    fn a_bucket_without_a_rule_and_one_that_keeps_versions_are_dangers() {
        let bare = found(&Bucket::new(), Access::Private);
        assert!(bare.len() == 1 && bare[0].contains("no lifecycle rule"), "{bare:?}");
        let rule = Rule::new().set_action(Action::new().set_type("Delete"));
        let ruled = Bucket::new().set_lifecycle(Lifecycle::new().set_rule([rule]));
        assert_eq!(found(&ruled, Access::Private), [""; 0]);
        let versions = ruled.set_versioning(Versioning::new().set_enabled(true));
        assert!(found(&versions, Access::Private)[0].contains("keeps old versions"));
    }

    #[test]
    fn a_public_bucket_is_a_danger_unless_public_access_is_prevented() {
        let public = found(&Bucket::new(), Access::Public);
        assert!(public[1].contains("anyone can reach the bucket"), "{public:?}");
        let config = IamConfig::new().set_public_access_prevention("enforced");
        assert_eq!(found(&Bucket::new().set_iam_config(config), Access::Public).len(), 1);
    }
}
