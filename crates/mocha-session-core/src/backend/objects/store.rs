//! The session store on top of an object store's client.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;

use super::line::Line;
use super::{Condition, Content, Listed, ObjectClient, Outcome, body};
use crate::error::{Error, ErrorKind, Result};
use crate::future::BoxFuture;
use crate::open::url::{DEFAULT_DEADLINE, StoreUrl};
use crate::store::{
    Capabilities, Durability, Effect, Expiry, Failure, KeySpace, Revision, ScanCursor, ScanPage,
    SessionStore, StorageKey, Stored, SweepReport,
};
use crate::time::to_millis;

const DEFAULT_PREFIX: &str = "sessions/";
/// The largest value. A larger one could not be transferred within the deadline on an ordinary
/// network.
const MAX_VALUE: usize = 4 * 1024 * 1024;
/// The largest object that this store writes.
const MAX_BODY: usize = MAX_VALUE + body::MAX_OVERHEAD;
/// The maximum number of concurrent requests of a sweep or a scan.
const PARALLEL: usize = 16;
/// The largest page that the services list.
const MAX_PAGE: usize = 1000;
/// The time for which a grave blocks its key, in addition to the deadline of the delete that
/// follows. A delete whose caller timed out can still be in a kernel's or a proxy's queue, which
/// keeps it for up to two minutes.
const GRAVE_RESTS: Duration = Duration::from_secs(120).saturating_add(body::SKEW);

/// A store that keeps each session as one object, written and removed conditionally.
///
/// See [`ObjectClient`] for an example.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    client: Arc<dyn ObjectClient>,
    line: Arc<Line>,
    space: KeySpace,
    capabilities: Capabilities,
    pub(super) conditional_delete: bool,
    deadline: Duration,
}

impl ObjectStore {
    /// Creates a store on top of this client, which relies on conditional deletes. Adds listing and
    /// the largest value to the capabilities.
    pub fn new(client: Arc<dyn ObjectClient>, space: KeySpace, capabilities: Capabilities) -> Self {
        let capabilities = capabilities.with_listing(true).with_max_value(MAX_VALUE);
        let (line, deadline) = (Arc::new(Line::new()), DEFAULT_DEADLINE);
        Self { client, line, space, capabilities, conditional_delete: true, deadline }
    }

    /// Sets the deadline of a call. More than a day counts as a day. A read is tried up to three
    /// times within it.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        let deadline = deadline.min(Duration::from_secs(86_400));
        self.deadline = deadline;
        self.capabilities = self.capabilities.with_deadline(deadline);
        self
    }

    /// Returns the deadline of a call.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Sets what an acknowledged write survives.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.capabilities = self.capabilities.with_durability(durability);
        self
    }

    /// Sets whether the service honours conditional deletes.
    ///
    /// If it does not, a sweep first replaces an expired entry with a *grave*, conditionally: an
    /// empty object, which cannot be loaded or updated. Then it deletes the grave.
    #[must_use]
    pub fn with_conditional_delete(mut self, honoured: bool) -> Self {
        self.conditional_delete = honoured;
        self
    }

    /// Returns the key space of a URL: the folder after the bucket, then the option `prefix`. The
    /// default is `sessions/` if there is neither.
    ///
    /// # Errors
    /// `InvalidConfig` as for [`KeySpace::new`].
    pub fn space_of(url: &mut StoreUrl, folder: &str) -> Result<KeySpace> {
        let folder = folder.trim_matches('/');
        if folder.is_empty() {
            return url.take_key_space(DEFAULT_PREFIX);
        }
        KeySpace::new(&format!("{folder}/{}", url.take_key_space("")?.prefix()))
    }

    /// Runs a read within the deadline, up to three times.
    pub(super) async fn read<'f, T>(
        &self,
        call: impl Fn() -> BoxFuture<'f, Result<T>>,
    ) -> Result<T> {
        let tries = async {
            for pause in [self.deadline / 50, self.deadline / 15] {
                // Limits each attempt, so that one that hangs leaves time for another.
                let answer = self.line.ask(&*self.client, &call);
                match within(self.deadline * 2 / 5, Effect::Read, answer).await {
                    Err(error) if error.is_unavailable() => tokio::time::sleep(pause).await,
                    answer => return answer,
                }
            }
            self.line.ask(&*self.client, &call).await
        };
        within(self.whole(), Effect::Read, tries).await
    }

    /// Runs a write within the deadline. Retries only if the service reports that it did nothing.
    async fn write<'f, T>(
        &self,
        call: impl Fn() -> BoxFuture<'f, Result<Outcome<T>>>,
    ) -> Result<Option<T>> {
        let (begun, mut pause) = (Instant::now(), self.deadline / 50);
        let tries = async {
            loop {
                match self.line.ask(&*self.client, &call).await? {
                    Outcome::Done(value) => return Ok(Some(value)),
                    Outcome::Unmet => return Ok(None),
                    // Does not retry without enough time for the answer, because the outcome would
                    // be unknown.
                    Outcome::Busy(error) if begun.elapsed() + pause > self.deadline / 2 => {
                        return Err(error);
                    }
                    Outcome::Busy(_) => {
                        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                    }
                }
                pause *= 2;
            }
        };
        within(self.whole(), Effect::Write, tries).await
    }

    /// The time limit of a call. It is shorter than the core's, because this timeout's error is
    /// more precise.
    fn whole(&self) -> Duration {
        self.deadline * 9 / 10
    }

    async fn get(&self, name: &str) -> Result<Option<Stored>> {
        let Some(object) = self.read(|| self.client.get(name, MAX_BODY)).await? else {
            return Ok(None);
        };
        let value = body::unwrap(&object.body).map_err(|body::NotOurs| {
            let why = format!(
                "an object under a session's name was not written by this store; {}",
                body::FOREIGN
            );
            Error::new(ErrorKind::Corrupt, why)
        })?;
        Ok(value.map(|value| Stored::new(value, object.head.revision)))
    }

    pub(super) async fn head(&self, name: &str) -> Result<Option<super::Head>> {
        self.read(|| self.client.head(name)).await
    }

    pub(super) async fn put(
        &self,
        name: &str,
        to: Content,
        when: Condition<'_>,
    ) -> Result<Option<Revision>> {
        self.write(|| self.client.put(name, to.clone(), when)).await
    }

    pub(super) async fn remove(&self, name: &str, expected: Option<&Revision>) -> Result<bool> {
        Ok(self.write(|| self.client.delete(name, expected)).await?.is_some())
    }

    pub(super) fn name(&self, key: &StorageKey) -> String {
        self.space.name(key)
    }

    /// Lists one page and returns its objects that belong to this store. Others may have the same
    /// prefix.
    async fn page(
        &self,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<(Vec<(StorageKey, Listed)>, Option<ScanCursor>)> {
        let (prefix, limit) = (self.space.prefix(), limit.clamp(1, MAX_PAGE));
        let after = cursor.as_ref().map(ScanCursor::as_str);
        let page = self.read(|| self.client.list(prefix, limit, after)).await?;
        let ours =
            page.objects.into_iter().filter_map(|it| Some((self.space.parse(&it.name)?, it)));
        Ok((ours.collect(), page.next.map(ScanCursor::new)))
    }

    /// Removes an entry if it has expired, unless it is refreshed at the same time. Returns whether
    /// it was removed.
    async fn remove_expired(&self, listed: Listed, now: u64) -> Result<bool> {
        let name = listed.name;
        let head = match listed.head {
            Some(head) => head,
            None => match self.head(&name).await? {
                Some(head) => head,
                None => return Ok(false),
            },
        };
        if head.deadline.is_none_or(|deadline| deadline >= now) {
            return Ok(false);
        }
        if self.conditional_delete {
            return self.remove(&name, Some(&head.revision)).await;
        }
        // Deletes of this service are unconditional. A grave makes that safe: no update knows its
        // revision, and no create and no other sweep touches it while the delete may be in flight.
        let present = to_millis(SystemTime::now());
        let rests = (self.deadline + GRAVE_RESTS).as_millis();
        let until = present.saturating_add(u64::try_from(rests).unwrap_or(u64::MAX));
        let when = Condition::Is(&head.revision);
        let Some(grave) = self.put(&name, body::grave(until), when).await? else {
            return Ok(false);
        };
        let removed = self.remove(&name, None).await;
        if removed.as_ref().is_err_and(|error| !error.is_ambiguous()) {
            // No delete is in flight, so a create may use the key at once.
            self.put(&name, body::grave(present), Condition::Is(&grave)).await?;
        }
        removed
    }
}

#[async_trait]
impl SessionStore for ObjectStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        self.get(&self.name(key)).await
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        self.capabilities.check_size(value)?;
        let (name, content) = (self.name(key), body::wrap(value, expiry));
        let created = self.put(&name, content.clone(), Condition::Absent).await?;
        if created.is_some() || self.conditional_delete {
            return Ok(created);
        }
        // A grave that a failed delete left behind must not block the key.
        match self.head(&name).await? {
            Some(head)
                if body::is_grave(head.size)
                    && head.deadline < Some(to_millis(SystemTime::now())) =>
            {
                self.put(&name, content, Condition::Is(&head.revision)).await
            }
            _ => Ok(None),
        }
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        self.capabilities.check_size(value)?;
        self.put(&self.name(key), body::wrap(value, expiry), Condition::Is(expected)).await
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let name = self.name(key);
        let found = self.client.delete_tells()
            || self.head(&name).await?.is_some_and(|head| !body::is_grave(head.size));
        Ok(self.remove(&name, None).await? && found)
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        let (ours, next) = self.page(cursor, limit).await?;
        let (examined, millis) = (ours.len() as u64, to_millis(now));
        let removals = ours
            .into_iter()
            .filter(|(_, it)| it.head.is_some() || !body::is_fresh(it.size, it.written, now))
            .map(|(_, it)| self.remove_expired(it, millis));
        let (mut removed, mut failed, mut first) = (0, 0, None);
        for result in side_by_side(removals).await {
            match result {
                Ok(done) => removed += u64::from(done),
                Err(error) => {
                    failed += 1;
                    first.get_or_insert(error);
                }
            }
        }
        Ok(SweepReport::new(examined, removed, next).with_failures(failed, first.as_ref()))
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        let (ours, next) = self.page(cursor, limit).await?;
        let reads = ours.into_iter().map(|(key, it)| async move {
            Ok(self.get(&it.name).await?.map(|stored| (key, stored)))
        });
        let entries: Result<Vec<_>> =
            side_by_side(reads).await.into_iter().filter_map(Result::transpose).collect();
        Ok(ScanPage::new(entries?, next))
    }

    async fn ping(&self) -> Result<()> {
        // A bucket answers "not found" only if it exists and the credentials may read it.
        self.get(&self.name(&StorageKey::from_bytes([0; StorageKey::BYTES]))).await.map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}

/// Returns the result of `call`, or an error if it takes longer than `time`.
async fn within<T>(
    time: Duration,
    effect: Effect,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(time, call).await.unwrap_or_else(|_| {
        Err(Failure::TimedOut.error(effect, format!("no answer within {time:?}")))
    })
}

/// Runs all calls, at most [`PARALLEL`] at a time, and returns their results in any order.
async fn side_by_side<'f, T>(
    calls: impl Iterator<Item = impl Future<Output = T> + Send + 'f>,
) -> Vec<T> {
    let mut waiting = calls.map(|call| Box::pin(call) as BoxFuture<'f, T>);
    let (mut running, mut done) = (Vec::with_capacity(PARALLEL), Vec::new());
    poll_fn(|context| {
        loop {
            running.extend(waiting.by_ref().take(PARALLEL - running.len()));
            let before = running.len();
            running.retain_mut(|call: &mut BoxFuture<'f, T>| match call.as_mut().poll(context) {
                Poll::Ready(result) => {
                    done.push(result);
                    false
                }
                Poll::Pending => true,
            });
            match running.len() {
                0 if before == 0 => return Poll::Ready(()),
                still if still == before => return Poll::Pending,
                _ => {}
            }
        }
    })
    .await;
    done
}

#[cfg(test)]
mod tests;
