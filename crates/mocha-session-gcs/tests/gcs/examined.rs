//! Examinations of a bucket's rules, by both APIs, on the test double.

use std::time::{Duration, Instant};

use mocha_session_core::Registry;
use mocha_session_core::store::Finding;
use mocha_session_gcs_double::{BUCKET, Double, Fault, Operation, Rules};

use super::common::apis;

const RIGHT: Rules = Rules {
    deletes: true,
    keeps_versions: false,
    keeps_deleted: false,
    names_everyone: false,
    prevents_public: false,
};

/// The dangers and the notes.
async fn examined(url: &str) -> (Vec<String>, Vec<String>) {
    let registry = Registry::new().register(mocha_session_gcs::DRIVER);
    let found = registry.examine(url).await.unwrap();
    let (dangers, notes): (Vec<_>, Vec<_>) = found.into_iter().partition(Finding::is_danger);
    let texts = |found: Vec<Finding>| found.iter().map(ToString::to_string).collect();
    (texts(dangers), texts(notes))
}

#[tokio::test]
async fn a_bucket_that_keeps_what_it_should_not_or_that_anyone_can_reach_is_a_danger() {
    let double = Double::start().await;
    for (api, url) in apis(&double) {
        for (rules, danger) in [
            (Rules { deletes: false, ..RIGHT }, Some("no lifecycle rule that deletes")),
            (Rules { keeps_versions: true, ..RIGHT }, Some("keeps old versions")),
            (Rules { names_everyone: true, ..RIGHT }, Some("anyone can reach the bucket")),
            (RIGHT, None),
        ] {
            double.set_rules(BUCKET, rules);
            let (dangers, notes) = examined(&url).await;
            assert_eq!(dangers.len(), usize::from(danger.is_some()), "{api}: {dangers:?}");
            assert!(danger.is_none_or(|danger| dangers[0].contains(danger)), "{api}: {dangers:?}");
            // A bucket can be public by its policy too, of which the API of HMAC keys does not tell.
            let unknown = url == double.hmac_url() && !rules.names_everyone;
            assert_eq!(notes.len(), 1 + usize::from(unknown), "{api}: {notes:?}");
            let clock = notes.iter().any(|note| note.starts_with("the server's clock is "));
            assert!(clock, "{api}: {notes:?}");
        }
    }
}

#[tokio::test]
async fn soft_deletion_and_public_access_prevention_are_told_to_service_accounts() {
    let double = Double::start().await;
    double.set_rules(BUCKET, Rules { keeps_deleted: true, ..RIGHT });
    let (dangers, _) = examined(&double.gs_url()).await;
    assert!(dangers.len() == 1 && dangers[0].contains("soft delete policy"), "{dangers:?}");
    double.set_rules(BUCKET, Rules { names_everyone: true, prevents_public: true, ..RIGHT });
    let (dangers, notes) = examined(&double.gs_url()).await;
    assert_eq!(dangers, [""; 0]);
    assert!(notes[0].contains("public access prevention keeps them out"), "{notes:?}");
}

#[tokio::test]
async fn what_the_credentials_may_not_ask_for_is_a_note_that_names_the_right() {
    for (at, questions) in [(0, 2), (1, 3)] {
        let double = Double::start().await;
        for _ in 0..questions {
            double.inject(Operation::Examine, Fault::Status(403));
        }
        let (api, url) = apis(&double)[at].clone();
        let (dangers, notes) = examined(&url).await;
        assert_eq!(dangers, [""; 0], "{api}");
        for right in ["storage.buckets.get", "storage.buckets.getIamPolicy"] {
            assert!(notes.iter().any(|note| note.contains(right)), "{api}: {notes:?}");
        }
        assert_eq!(double.calls(Operation::Examine), questions, "{api}");
    }
}

#[tokio::test]
async fn examining_an_endpoint_that_never_answers_is_bounded() {
    // The system accepts connections, and nobody reads from them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("endpoint=http://{}&timeout=300ms", silent.local_addr().unwrap());
    let begun = Instant::now();
    for url in [
        format!("gs://bucket?{endpoint}&anonymous=true"),
        format!("google_storage://key:secret@cloud.google.com/bucket?{endpoint}"),
    ] {
        let (dangers, notes) = examined(&url).await;
        assert!(dangers.is_empty() && notes.len() >= 2, "{dangers:?} {notes:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
