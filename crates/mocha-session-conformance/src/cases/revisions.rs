//! A revision belongs to one write and never comes back.

use std::collections::HashSet;

use crate::subject::{HOUR, Subject, Verdict, ensure, within};

pub(crate) async fn load_gives_the_revision_of_the_write(it: &Subject) -> Verdict {
    let (key, other) = (it.key(), it.key());
    let created = it.create(&key, b"one").await?;
    it.create(&other, b"other").await?;
    it.holds(&key, b"one", &created).await?;
    let updated = it.update(&key, b"two", &created).await?;
    ensure!(updated != created, "an update left the revision as it was");
    it.holds(&key, b"two", &updated).await?;
    // For an update, the revision of a load is equivalent to that of the write.
    let Some((_, loaded)) = it.load(&key).await? else {
        return it.holds(&key, b"two", &updated).await;
    };
    it.update(&key, b"three", &loaded).await.map(drop)
}

pub(crate) async fn update_with_the_same_bytes_changes_the_revision(it: &Subject) -> Verdict {
    let key = it.key();
    let first = it.create(&key, b"same").await?;
    let second = it.update(&key, b"same", &first).await?;
    ensure!(first != second, "an update with the same bytes left the revision as it was");
    it.holds(&key, b"same", &second).await?;
    let refused = it.store.update(&key, b"same", within(HOUR), &first).await?;
    ensure!(
        refused.is_none(),
        "update succeeded with a revision that an update with the same bytes had replaced"
    );
    Ok(())
}

pub(crate) async fn revisions_never_come_back(it: &Subject) -> Verdict {
    let key = it.key();
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let mut revision = it.create(&key, b"same").await?;
        ensure!(seen.insert(revision.clone()), "delete and create brought an old revision back");
        for bytes in [&b"same"[..], b"other"] {
            revision = it.update(&key, bytes, &revision).await?;
            ensure!(seen.insert(revision.clone()), "an update brought an old revision back");
        }
        it.store.delete(&key).await?;
    }
    Ok(())
}

pub(crate) async fn stale_update_after_delete_and_create_of_the_same_bytes_is_refused(
    it: &Subject,
) -> Verdict {
    let key = it.key();
    let mut stale = Vec::new();
    for _ in 0..5 {
        let revision = it.create(&key, b"same").await?;
        for old in &stale {
            let refused = it.store.update(&key, b"late", within(HOUR), old).await?;
            ensure!(
                refused.is_none(),
                "update succeeded with the revision of an entry that was deleted and created again"
            );
        }
        it.holds(&key, b"same", &revision).await?;
        it.store.delete(&key).await?;
        stale.push(revision);
    }
    Ok(())
}
