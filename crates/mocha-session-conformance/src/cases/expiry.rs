//! Entries live exactly until their expiry.

use std::time::{Duration, Instant, SystemTime};

use crate::subject::{HOUR, Subject, Verdict, ensure, within};

const MOMENT: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) async fn entry_is_there_before_its_time(it: &Subject) -> Verdict {
    let (key, life, start) = (it.key(), Duration::from_secs(2), Instant::now());
    let revision = it.create_for(&key, b"short", life).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    it.sweep(SystemTime::now()).await?;
    let found = it.load(&key).await?;
    // On a busy machine, the lifetime may be over when the answer arrives. Then nothing is tested.
    let too_late = start.elapsed() + Duration::from_millis(50) > life;
    match found {
        Some((_, its)) => ensure!(its == revision, "an entry changed before its time was over"),
        None => ensure!(
            too_late,
            "an entry that lives 2 s is gone after {} ms",
            start.elapsed().as_millis()
        ),
    }
    Ok(())
}

/// The store expires entries by itself, or by a sweep. Until then it may return the entry
/// unchanged.
pub(crate) async fn entry_is_gone_after_its_time(it: &Subject) -> Verdict {
    let key = it.key();
    it.create_for(&key, b"short", MOMENT).await?;
    tokio::time::sleep(Duration::from_millis(5)).await;
    if let Some((found, _)) = it.load(&key).await? {
        ensure!(found == b"short"[..], "an expired entry came back changed");
    }
    it.wait_until_gone(&key).await
}

/// memcached reads a lifetime over thirty days as an instant. A hundred years overflow a signed
/// 32-bit instant.
pub(crate) async fn long_expiry_is_kept(it: &Subject) -> Verdict {
    let mut entries = Vec::new();
    for ttl in [29 * DAY, 31 * DAY, 400 * DAY, 20 * 365 * DAY, Duration::MAX] {
        let (created, updated) = (it.key(), it.key());
        let revision = it.create_for(&created, b"long", ttl).await?;
        entries.push((created, revision));
        let revision = it.create(&updated, b"an hour").await?;
        let Some(revision) = it.store.update(&updated, b"long", within(ttl), &revision).await?
        else {
            return ensure_updated(false);
        };
        entries.push((updated, revision));
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    it.sweep(SystemTime::now()).await?;
    for (key, revision) in &entries {
        it.holds(key, b"long", revision).await?;
    }
    Ok(())
}

pub(crate) async fn update_to_a_longer_expiry_lives_on(it: &Subject) -> Verdict {
    let (life, mut attempts) = (Duration::from_secs(1), 0);
    loop {
        let (key, start) = (it.key(), Instant::now());
        let revision = it.create_for(&key, b"short", life).await?;
        let updated = it.store.update(&key, b"long", within(HOUR), &revision).await?;
        if let Some(revision) = updated {
            // Longer than the rounding of an engine that counts whole seconds.
            tokio::time::sleep(Duration::from_millis(3_200)).await;
            it.sweep(SystemTime::now()).await?;
            return it.holds(&key, b"long", &revision).await;
        }
        // On a busy machine its lifetime may be over already.
        attempts += 1;
        ensure_updated(attempts < 5 && start.elapsed() + Duration::from_millis(50) > life)?;
    }
}

pub(crate) async fn update_to_a_shorter_expiry_goes(it: &Subject) -> Verdict {
    let (key, other) = (it.key(), it.key());
    let revision = it.create(&key, b"long").await?;
    let stays = it.create(&other, b"long").await?;
    ensure_updated(it.store.update(&key, b"short", within(MOMENT), &revision).await?.is_some())?;
    it.wait_until_gone(&key).await?;
    it.holds(&other, b"long", &stays).await
}

pub(crate) async fn update_does_not_revive_what_is_gone(it: &Subject) -> Verdict {
    let key = it.key();
    let revision = it.create_for(&key, b"short", MOMENT).await?;
    it.wait_until_gone(&key).await?;
    let refused = it.store.update(&key, b"late", within(HOUR), &revision).await?;
    ensure!(refused.is_none(), "update succeeded on an entry that had expired and was gone");
    it.is_absent(&key, "after an update of an entry that had expired: it came back").await
}

pub(crate) async fn create_takes_the_place_of_what_is_gone(it: &Subject) -> Verdict {
    let key = it.key();
    let old = it.create_for(&key, b"same", MOMENT).await?;
    it.wait_until_gone(&key).await?;
    let new = it.create(&key, b"same").await?;
    ensure!(old != new, "a create after expiry brought the old revision back");
    let refused = it.store.update(&key, b"late", within(HOUR), &old).await?;
    ensure!(refused.is_none(), "update succeeded with the revision of an entry that had expired");
    // The old entry's expiry must not apply to the new one.
    tokio::time::sleep(Duration::from_millis(20)).await;
    it.sweep(SystemTime::now()).await?;
    it.holds(&key, b"same", &new).await
}

fn ensure_updated(yes: bool) -> Verdict {
    ensure!(yes, "update was refused although the revision was the entry's");
    Ok(())
}
