//! `create` never overwrites, `update` never creates, `delete` always removes.

use mocha_session_core::store::Revision;

use crate::subject::{HOUR, Subject, Verdict, ensure, within};

pub(crate) async fn create_on_a_taken_key_is_refused_and_the_other_untouched(
    it: &Subject,
) -> Verdict {
    let key = it.key();
    let revision = it.create(&key, b"first").await?;
    for second in [&b"second"[..], b"first"] {
        let refused = it.store.create(&key, second, within(HOUR)).await?;
        ensure!(refused.is_none(), "create succeeded on a key that holds a live entry");
        it.holds(&key, b"first", &revision).await?;
    }
    it.update(&key, b"third", &revision).await.map(drop)
}

pub(crate) async fn create_after_delete_works(it: &Subject) -> Verdict {
    let key = it.key();
    for round in 0..3u8 {
        let revision = it.create(&key, &[round]).await?;
        it.holds(&key, &[round], &revision).await?;
        it.store.delete(&key).await?;
        it.is_absent(&key, "that was deleted").await?;
    }
    Ok(())
}

pub(crate) async fn update_with_the_right_revision_replaces(it: &Subject) -> Verdict {
    let key = it.key();
    let mut revision = it.create(&key, b"0").await?;
    for round in 1..=20u8 {
        let next = vec![round; usize::from(round)];
        revision = it.update(&key, &next, &revision).await?;
        it.holds(&key, &next, &revision).await?;
    }
    Ok(())
}

pub(crate) async fn update_with_a_stale_revision_is_refused(it: &Subject) -> Verdict {
    let key = it.key();
    let first = it.create(&key, b"one").await?;
    let second = it.update(&key, b"two", &first).await?;
    let third = it.update(&key, b"three", &second).await?;
    for stale in [&first, &second] {
        let refused = it.store.update(&key, b"late", within(HOUR), stale).await?;
        ensure!(refused.is_none(), "update succeeded with a revision that an update had replaced");
        it.holds(&key, b"three", &third).await?;
    }
    Ok(())
}

pub(crate) async fn update_of_an_unknown_key_is_refused_and_still_absent(it: &Subject) -> Verdict {
    let (key, other) = (it.key(), it.key());
    // One revision of the store's own and one number, because not every engine's revisions are
    // numbers.
    for revision in [it.create(&other, b"other").await?, Revision::from(0)] {
        let refused = it.store.update(&key, b"new", within(HOUR), &revision).await?;
        ensure!(refused.is_none(), "update succeeded on an unused key");
        it.is_absent(&key, "after an update of an unused key").await?;
    }
    Ok(())
}

pub(crate) async fn update_of_a_deleted_key_is_refused_and_still_absent(it: &Subject) -> Verdict {
    let key = it.key();
    let first = it.create(&key, b"one").await?;
    let second = it.update(&key, b"two", &first).await?;
    it.store.delete(&key).await?;
    for revision in [&first, &second] {
        let refused = it.store.update(&key, b"late", within(HOUR), revision).await?;
        ensure!(refused.is_none(), "update succeeded on a deleted entry");
        it.is_absent(&key, "after an update of a deleted entry: it came back").await?;
    }
    Ok(())
}

pub(crate) async fn delete_says_whether_something_was_there(it: &Subject) -> Verdict {
    let key = it.key();
    ensure!(!it.store.delete(&key).await?, "delete found something under an unused key");
    let revision = it.create(&key, b"one").await?;
    it.update(&key, b"two", &revision).await?;
    ensure!(it.store.delete(&key).await?, "delete found nothing although the entry existed");
    it.is_absent(&key, "that was deleted").await?;
    ensure!(!it.store.delete(&key).await?, "a second delete found something");
    it.is_absent(&key, "that was deleted twice").await
}
