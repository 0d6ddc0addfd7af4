//! Tests of the object store: calls side by side, and prefixes.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test(start_paused = true)]
async fn calls_run_side_by_side_and_never_more_than_allowed() {
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let calls = (0..50_u64).map(|number| {
        let (running, most) = (&running, &most);
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(number % 7)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            number
        }
    });
    let mut results = side_by_side(calls).await;
    results.sort_unstable();
    assert_eq!(results, (0..50).collect::<Vec<_>>());
    assert_eq!(most.into_inner(), PARALLEL);
    assert!(side_by_side(std::iter::empty::<std::future::Ready<()>>()).await.is_empty());
}

#[test]
fn a_prefix_lies_inside_the_folder() {
    for (url, prefix) in [
        ("s3://h/bucket", "sessions/"),
        ("s3://h/bucket/", "sessions/"),
        ("s3://h/bucket/a/b/", "a/b/"),
        ("s3://h/bucket/a?prefix=s-", "a/s-"),
        ("s3://h/bucket?prefix=s-", "s-"),
        ("s3://h/bucket?prefix=", ""),
    ] {
        let mut url = StoreUrl::parse(url).unwrap();
        let folder = url.split_path().1.to_owned();
        assert_eq!(ObjectStore::space_of(&mut url, &folder).unwrap().prefix(), prefix);
    }
}
