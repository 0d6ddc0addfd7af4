//! The store under test, with fresh keys, and the helpers of the cases.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mocha_session_core::store::{Bytes, Expiry, Revision, ScanCursor, SessionStore, StorageKey};
use mocha_session_core::{BoxFuture, Error};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Opens another handle of the same store.
pub(crate) type Opener =
    Arc<dyn Fn() -> BoxFuture<'static, Option<Arc<dyn SessionStore>>> + Send + Sync>;

/// The result of a case.
pub(crate) type Verdict<T = ()> = Result<T, Stop>;

/// The reason why a case ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The case does not apply to this store.
    Skip(String),
    /// The store broke the contract.
    Fail(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fail(format!("unexpected error ({:?}): {error}", error.kind()))
    }
}

/// Ends the case as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::subject::Stop::Fail(format!($($why)+)));
        }
    };
}

/// Ends the case as skipped.
macro_rules! skip {
    ($($why:tt)+) => {
        return Err($crate::subject::Stop::Skip(format!($($why)+)))
    };
}

pub(crate) use {ensure, skip};

/// The maximum delay of a native expiry. memcached counts whole seconds and rounds up.
const LATEST_EXPIRY: Duration = Duration::from_secs(10);

/// The store under test. It makes the keys, so that they can be removed after the case.
pub(crate) struct Subject {
    pub(crate) store: Arc<dyn SessionStore>,
    again: Option<Opener>,
    keys: Mutex<Vec<StorageKey>>,
}

impl Subject {
    pub(crate) fn new(store: Arc<dyn SessionStore>, again: Option<Opener>) -> Self {
        Self { store, again, keys: Mutex::default() }
    }

    /// Returns the function that opens another handle, if the suite has one.
    pub(crate) fn opener(&self) -> Verdict<&Opener> {
        let Some(open) = &self.again else {
            skip!("a single handle was given; `suite!` can open another")
        };
        Ok(open)
    }

    /// Returns a key that was never used.
    pub(crate) fn key(&self) -> StorageKey {
        self.own(std::array::from_fn(|_| fastrand::u8(..)))
    }

    /// Returns a key of these bytes, which must be random enough to be unused.
    pub(crate) fn own(&self, bytes: [u8; StorageKey::BYTES]) -> StorageKey {
        let key = StorageKey::from_bytes(bytes);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        key
    }

    /// Creates an entry that lives for an hour under an unused key.
    pub(crate) async fn create(&self, key: &StorageKey, value: &[u8]) -> Verdict<Revision> {
        self.create_for(key, value, HOUR).await
    }

    /// Creates an entry with this lifetime under an unused key.
    pub(crate) async fn create_for(
        &self,
        key: &StorageKey,
        value: &[u8],
        ttl: Duration,
    ) -> Verdict<Revision> {
        match self.store.create(key, value, within(ttl)).await? {
            Some(revision) => Ok(revision),
            None => Err(Stop::Fail("create was refused although the key was free".to_owned())),
        }
    }

    /// Updates an entry, whose revision must be the expected one.
    pub(crate) async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expected: &Revision,
    ) -> Verdict<Revision> {
        match self.store.update(key, value, within(HOUR), expected).await? {
            Some(revision) => Ok(revision),
            None => Err(Stop::Fail(
                "update was refused although the revision was the entry's".to_owned(),
            )),
        }
    }

    /// Returns the value and revision under a key.
    pub(crate) async fn load(&self, key: &StorageKey) -> Verdict<Option<(Bytes, Revision)>> {
        Ok(self.store.load(key).await?.map(mocha_session_core::store::Stored::into_parts))
    }

    /// Checks that the entry exists with this value and this revision.
    pub(crate) async fn holds(
        &self,
        key: &StorageKey,
        value: &[u8],
        revision: &Revision,
    ) -> Verdict {
        let Some((found, its)) = self.load(key).await? else {
            let why = if self.store.capabilities().evicts() {
                "an entry is missing (the engine evicts: was it full?)"
            } else {
                "an entry is missing"
            };
            return Err(Stop::Fail(why.to_owned()));
        };
        ensure!(
            found == value,
            "an entry of {} bytes came back as {} bytes{}",
            value.len(),
            found.len(),
            if found.len() == value.len() { " that differ" } else { "" }
        );
        ensure!(its == *revision, "load returns another revision than the write of that value");
        Ok(())
    }

    /// Checks that the entry does not exist.
    pub(crate) async fn is_absent(&self, key: &StorageKey, when: &str) -> Verdict {
        ensure!(self.load(key).await?.is_none(), "there is an entry {when}");
        Ok(())
    }

    /// Sweeps until no entry is left to examine. Returns `false` if the engine expires entries by
    /// itself.
    pub(crate) async fn sweep(&self, now: SystemTime) -> Verdict<bool> {
        sweep_all(&*self.store, now, 500).await
    }

    /// Waits until an expired entry is gone, by itself or with a sweep.
    pub(crate) async fn wait_until_gone(&self, key: &StorageKey) -> Verdict {
        let native = self.store.capabilities().native_expiry();
        if !native {
            // Longer than a sweep's granularity of a millisecond.
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.sweep(SystemTime::now()).await?;
        }
        let start = Instant::now();
        loop {
            if self.load(key).await?.is_none() {
                return Ok(());
            }
            ensure!(native, "an expired entry is still there after a sweep");
            ensure!(
                start.elapsed() < LATEST_EXPIRY,
                "an expired entry is still there {} s later, although the store expires by itself",
                LATEST_EXPIRY.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Removes the entries that the case left behind, on a best-effort basis.
    pub(crate) async fn clean_up(&self) {
        let keys = std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        for some in keys.chunks(16) {
            let mut tasks = JoinSet::new();
            for &key in some {
                let store = Arc::clone(&self.store);
                tasks.spawn(async move {
                    tokio::time::timeout(Duration::from_secs(5), store.delete(&key)).await
                });
            }
            while tasks.join_next().await.is_some() {}
        }
    }
}

/// Returns the reason to skip if an [`Opener`] returns `None`.
pub(crate) fn unavailable() -> Stop {
    Stop::Skip("the engine is not available here".to_owned())
}

/// The lifetime of entries that must outlive the case.
pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);

/// Returns an expiry this long from now.
pub(crate) fn within(ttl: Duration) -> Expiry {
    Expiry::after(ttl, SystemTime::now())
}

/// Returns bytes that are neither text nor all equal, and differ by `seed`.
pub(crate) fn value(size: usize, seed: u8) -> Vec<u8> {
    (0u8..=255).cycle().map(|at| at.wrapping_mul(31) ^ seed).take(size).collect()
}

/// Sweeps in batches until the sweep is complete. Returns `false` if the engine expires entries by
/// itself.
pub(crate) async fn sweep_all(
    store: &dyn SessionStore,
    now: SystemTime,
    limit: usize,
) -> Verdict<bool> {
    let mut cursor: Option<ScanCursor> = None;
    loop {
        let report = store.sweep(now, cursor, limit).await?;
        if report.is_native() {
            ensure!(
                store.capabilities().native_expiry(),
                "sweep says that the engine expires by itself, capabilities() that it does not"
            );
            return Ok(false);
        }
        ensure!(report.removed() <= report.examined(), "a sweep removed more than it examined");
        cursor = report.next().cloned();
        if cursor.is_none() {
            return Ok(true);
        }
    }
}

/// Runs `count` tasks that start at the same moment. Returns their results in order.
pub(crate) async fn at_once<T, F>(count: usize, task: impl Fn(usize) -> F) -> Verdict<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Verdict<T>> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let (barrier, work) = (Arc::clone(&barrier), task(number));
            tokio::spawn(async move {
                barrier.wait().await;
                work.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        results.push(
            task.await.map_err(|error| Stop::Fail(format!("the store panicked: {error}")))??,
        );
    }
    Ok(results)
}
