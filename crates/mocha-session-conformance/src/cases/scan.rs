//! A scan returns every entry at least once, page by page, also during other writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mocha_session_core::ErrorKind;
use mocha_session_core::store::{Revision, ScanCursor, SessionStore, StorageKey, Stored};

use crate::subject::{HOUR, Subject, Verdict, ensure, skip, value, within};

pub(crate) async fn scan_finds_every_entry_across_pages(it: &Subject) -> Verdict {
    needs_listing(it)?;
    let entries = some_entries(it, 40).await?;
    let deleted = it.key();
    it.create(&deleted, b"deleted").await?;
    it.store.delete(&deleted).await?;
    for limit in [7, 1_000, usize::MAX] {
        let found = scan_all(it, limit, Duration::ZERO).await?;
        for (key, (bytes, revision)) in &entries {
            let Some(stored) = found.get(key) else {
                ensure!(false, "a scan with pages of {limit} misses an entry");
                continue;
            };
            ensure!(
                stored.value()[..] == bytes[..],
                "a scan returns another value than was stored"
            );
            ensure!(
                stored.revision() == revision,
                "a scan returns another revision than the write did"
            );
        }
        ensure!(
            !found.contains_key(&deleted),
            "a scan finds an entry that was deleted before it began"
        );
    }
    Ok(())
}

pub(crate) async fn scan_while_writing_misses_nothing(it: &Subject) -> Verdict {
    needs_listing(it)?;
    let entries = some_entries(it, 40).await?;
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let keys = (0..20).map(|_| it.key()).collect();
            tokio::spawn(churn(Arc::clone(&it.store), keys, Arc::clone(&done)))
        })
        .collect();
    let mut verdict = Ok(());
    let start = Instant::now();
    while verdict.is_ok() && start.elapsed() < Duration::from_secs(2) {
        verdict = all_found(it, &entries).await;
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        if let Ok(result) = writer.await {
            result?;
        }
    }
    verdict
}

pub(crate) async fn scan_without_listing_is_unsupported(it: &Subject) -> Verdict {
    if it.store.capabilities().listing() {
        skip!("the store can list its entries");
    }
    match it.store.scan(None, 10).await {
        Ok(_) => {
            ensure!(false, "scan works, although capabilities() says that the store cannot list");
        }
        Err(error) => {
            let kind = error.kind();
            ensure!(
                kind == ErrorKind::Unsupported,
                "scan fails with {kind:?} and not with Unsupported: {error}"
            );
        }
    }
    Ok(())
}

fn needs_listing(it: &Subject) -> Verdict {
    if !it.store.capabilities().listing() {
        skip!("the store cannot list its entries");
    }
    Ok(())
}

type Entries = HashMap<StorageKey, (Vec<u8>, Revision)>;

async fn some_entries(it: &Subject, count: u8) -> Verdict<Entries> {
    let mut entries = Entries::new();
    for number in 0..count {
        let (key, bytes) = (it.key(), value(usize::from(number) * 10, number));
        let mut revision = it.create(&key, &bytes).await?;
        if number % 3 == 0 {
            revision = it.update(&key, &bytes, &revision).await?;
        }
        entries.insert(key, (bytes, revision));
    }
    Ok(entries)
}

async fn all_found(it: &Subject, entries: &Entries) -> Verdict {
    let found = scan_all(it, 7, Duration::from_millis(1)).await?;
    for (key, (_, revision)) in entries {
        ensure!(
            found.get(key).is_some_and(|stored| stored.revision() == revision),
            "a scan misses an entry that existed during the whole scan, while others were written"
        );
    }
    Ok(())
}

/// Reads all pages with pauses between them. They include entries of other tests.
async fn scan_all(
    it: &Subject,
    limit: usize,
    pause: Duration,
) -> Verdict<HashMap<StorageKey, Stored>> {
    let mut found = HashMap::new();
    let mut cursor: Option<ScanCursor> = None;
    loop {
        let page = it.store.scan(cursor, limit).await?;
        let size = page.entries().len();
        ensure!(
            size <= limit.saturating_mul(10).saturating_add(100),
            "a page of about {limit} entries holds {size}"
        );
        cursor = page.next().cloned();
        found.extend(page.into_entries());
        if cursor.is_none() {
            return Ok(found);
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// Creates, updates and deletes, so that pages shift under a scan.
async fn churn(
    store: Arc<dyn SessionStore>,
    keys: Vec<StorageKey>,
    done: Arc<AtomicBool>,
) -> Verdict {
    while !done.load(Ordering::Relaxed) {
        let key = keys[fastrand::usize(..keys.len())];
        if let Some(revision) = store.create(&key, b"churn", within(HOUR)).await? {
            store.update(&key, b"changed", within(HOUR), &revision).await?;
        } else {
            store.delete(&key).await?;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    Ok(())
}
