//! Ctrl-C in commands that take long: what is in hand is finished, and the next run goes on.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use mocha_session::RequestInfo;
use mocha_session::store::{Expiry, SessionStore, StorageKey};
use tokio::task::JoinSet;

use super::bucket::Bucket;
use super::copying::{KILLED_AFTER, filled};
use super::{command, json, manager, run, sqlite, stderr};

const MINUTE: Duration = Duration::from_secs(60);

/// Starts the command, and sends it a Ctrl-C when `midway` is over.
async fn interrupted(arguments: &[&str], midway: impl Future<Output = ()>) -> Output {
    let mut child = command("", arguments);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    midway.await;
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert_eq!(json(&output)["interrupted"], true);
    output
}

fn number(output: &Output, name: &str) -> u64 {
    json(output)[name].as_u64().unwrap()
}

#[tokio::test]
async fn a_copy_finishes_the_entry_in_hand_and_the_next_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (sqlite(folder.path(), "old.db"), sqlite(folder.path(), "new.db"));
    let cookies = filled(&manager(&old).await, 1_000).await;
    let arguments = ["copy", &old, &new, "--page", "5", "--at-once", "1", "--json"];
    let first = interrupted(&arguments, tokio::time::sleep(KILLED_AFTER)).await;
    let counted = json(&run(&old, &["count", "--json"]));
    assert_eq!(counted.get("moving"), None, "no entry is half moved: {counted}");
    let next = run("", &["copy", &old, &new, "--json"]);
    assert_eq!(number(&first, "moved") + number(&next, "moved"), 1_000 + 1, "with an index");
    let after = manager(&new).await;
    for cookie in cookies.into_iter().step_by(20) {
        assert!(!after.open(RequestInfo::new(cookie)).load().await.unwrap().is_new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_finishes_the_entries_in_hand_and_the_next_run_goes_on() {
    let (bucket, url) = Bucket::start(Duration::from_millis(5)).await;
    let storage = mocha_session::open(&url).await.unwrap();
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
    // More than the command sweeps between two looks for a Ctrl-C.
    let count: u16 = 510;
    let mut creating = JoinSet::new();
    for worker in 0..16 {
        let store = storage.store().unwrap().clone();
        creating.spawn(async move {
            for n in (worker..count).step_by(16) {
                let mut key = [0; StorageKey::BYTES];
                key[..2].copy_from_slice(&n.to_be_bytes());
                let (key, expiry) = (StorageKey::from_bytes(key), Expiry::after(MINUTE, yesterday));
                store.create(&key, b"expired", expiry).await.unwrap().unwrap();
            }
        });
    }
    creating.join_all().await;
    assert_eq!(bucket.len(), usize::from(count));
    let begun = async {
        while bucket.len() >= usize::from(count) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let midway = async {
        tokio::time::timeout(MINUTE / 4, begun).await.expect("the sweep begins in time");
    };
    let first = number(&interrupted(&["sweep", &url, "--json"], midway).await, "removed");
    assert_eq!(usize::try_from(first).unwrap() + bucket.len(), usize::from(count));
    let next = run(&url, &["sweep", "--json"]);
    assert_eq!(first + number(&next, "removed"), u64::from(count));
    assert_eq!(bucket.len(), 0);
}
