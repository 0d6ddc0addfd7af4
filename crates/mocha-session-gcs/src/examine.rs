//! Examines the bucket for what is dangerous to sessions, for operators.

use google_cloud_gax::options::RequestOptionsBuilder;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_storage::client::StorageControl;
use google_cloud_storage::model::Bucket;
use mocha_session_core::store::Finding;

/// Asks for the rules of a bucket (`projects/_/buckets/NAME`).
pub(crate) async fn examine(control: &StorageControl, bucket: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let asking = control.get_bucket().set_name(bucket).with_retry_policy(NeverRetry).send();
    // Boxed, because the client's futures are up to 60 kB large.
    match Box::pin(asking).await {
        Ok(about) => of_rules(&about, &mut found),
        Err(_) => found.push(Finding::note(
            "the bucket does not tell its rules to these credentials; grant them \
             storage.buckets.get",
        )),
    }
    let asking = control.get_iam_policy().set_resource(bucket).with_retry_policy(NeverRetry).send();
    match Box::pin(asking).await {
        Ok(policy) => {
            let everyone =
                |member: &String| matches!(member.as_str(), "allUsers" | "allAuthenticatedUsers");
            if policy.bindings.iter().any(|binding| binding.members.iter().any(everyone)) {
                found.push(Finding::danger(
                    "anyone can reach the bucket: its sessions are encrypted, but whoever may write \
                     can end them or bring ended ones back; enforce public access prevention",
                ));
            }
        }
        Err(_) => found.push(Finding::note(
            "the bucket does not tell who may reach it to these credentials; grant them \
             storage.buckets.getIamPolicy",
        )),
    }
    found
}

/// The finding for HMAC keys, whose API does not tell a bucket's rules.
pub(crate) fn by_xml() -> Vec<Finding> {
    vec![Finding::note(
        "with HMAC keys the rules of the bucket cannot be asked for; use gs://BUCKET with a service \
         account to see them",
    )]
}

fn of_rules(bucket: &Bucket, found: &mut Vec<Finding>) {
    let deletes = bucket.lifecycle.iter().flat_map(|rules| &rules.rule).any(|rule| {
        rule.action.as_ref().is_some_and(|action| action.r#type.eq_ignore_ascii_case("delete"))
    });
    if !deletes {
        found.push(Finding::danger(
            "the bucket has no lifecycle rule that deletes objects: what no sweep removes stays, and \
             is paid for, for ever; add one with `daysSinceCustomTime: 1`, because the custom time \
             of an object is the end of its session",
        ));
    }
    if bucket.versioning.as_ref().is_some_and(|versioning| versioning.enabled) {
        found.push(Finding::danger(
            "the bucket keeps old versions: every write of every session stays, and is paid for, for \
             ever; turn object versioning off",
        ));
    }
    let kept = bucket.soft_delete_policy.as_ref();
    let kept = kept.and_then(|policy| policy.retention_duration.as_ref());
    if kept.is_some_and(|kept| kept.seconds() > 0) {
        found.push(Finding::danger(
            "the bucket has a soft delete policy: every write of every session is paid for some days \
             longer; clear the policy",
        ));
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_storage::model::bucket::lifecycle::{Rule, rule::Action};
    use google_cloud_storage::model::bucket::{Lifecycle, Versioning};

    use super::*;

    fn found(bucket: &Bucket) -> Vec<String> {
        let mut found = Vec::new();
        of_rules(bucket, &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_bucket_without_a_rule_and_one_that_keeps_versions_are_dangers() {
        let bare = found(&Bucket::new());
        assert!(bare.len() == 1 && bare[0].contains("no lifecycle rule"), "{bare:?}");
        let rule = Rule::new().set_action(Action::new().set_type("Delete"));
        let ruled = Bucket::new().set_lifecycle(Lifecycle::new().set_rule([rule]));
        assert_eq!(found(&ruled), [""; 0]);
        let versions = ruled.set_versioning(Versioning::new().set_enabled(true));
        assert!(found(&versions)[0].contains("keeps old versions"));
    }
}
