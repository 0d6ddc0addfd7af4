//! A store that does as it is told: it fails, hangs, loses answers and waits at gates.
// tidy: long because one store does all that tests ask of it

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use mocha_session_core::store::{
    Bytes, Capabilities, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored,
    SweepReport, async_trait,
};
use mocha_session_core::{Clock, Error, ErrorKind, ManualClock, Result};
use tokio::sync::oneshot;

/// What a store call shall do instead of just working.
pub enum Fault {
    /// Wait at the gate, then work.
    Wait(Gate),
    /// Work, then wait at the gate before answering.
    WaitAfter(Gate),
    /// Fail without having done anything.
    Fail(ErrorKind),
    /// Do it, and fail all the same: the answer is lost.
    LoseAnswer,
    /// An update whose answer is lost and that is done as soon as the clock shows another time.
    Late,
    /// Never answer.
    Hang,
    /// Do it, wait at the gate, and do it again, as a client library that repeats a write: the
    /// second answer counts.
    Repeat(Gate),
}

pub struct Gate {
    arrived: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

/// The test's side of a gate.
pub struct Gatekeeper {
    arrived: Option<oneshot::Receiver<()>>,
    release: Option<oneshot::Sender<()>>,
}

pub fn gate() -> (Gate, Gatekeeper) {
    let (arrived, has_arrived) = oneshot::channel();
    let (release, released) = oneshot::channel();
    (Gate { arrived, released }, Gatekeeper { arrived: Some(has_arrived), release: Some(release) })
}

impl Gatekeeper {
    /// Waits until the call stands at the gate.
    pub async fn arrived(&mut self) {
        let arrived = self.arrived.take().expect("once");
        let arrived = tokio::time::timeout(std::time::Duration::from_secs(10), arrived).await;
        arrived.expect("the call never came").expect("the store is gone");
    }

    pub fn release(&mut self) {
        let _ = self.release.take().expect("once").send(());
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub load: usize,
    pub create: usize,
    pub update: usize,
    pub delete: usize,
}

impl Calls {
    pub fn all(self) -> usize {
        self.load + self.create + self.update + self.delete
    }

    pub fn writes(self) -> usize {
        self.create + self.update + self.delete
    }
}

#[derive(Clone)]
struct Entry {
    value: Bytes,
    revision: u64,
    until: SystemTime,
    expiry: Expiry,
}

struct Inner {
    entries: Mutex<HashMap<StorageKey, Entry>>,
    calls: Mutex<Calls>,
    faults: Mutex<Vec<(&'static str, usize, Fault)>>,
    clock: Arc<dyn Clock>,
    capabilities: Mutex<Capabilities>,
    keeps_expired: AtomicBool,
    shuffles: AtomicBool,
    late: Mutex<Vec<Late>>,
}

/// An update that is on its way.
struct Late {
    lost: SystemTime,
    key: StorageKey,
    expected: Option<u64>,
    entry: Entry,
}

/// The store. Clones are the same store: the same engine, seen by several processes.
#[derive(Clone)]
pub struct ScriptedStore(Arc<Inner>);

impl std::fmt::Debug for ScriptedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedStore")
    }
}

impl ScriptedStore {
    pub fn new(clock: &ManualClock) -> Self {
        Self::on_clock(clock.clone())
    }

    pub fn on_clock(clock: impl Clock) -> Self {
        Self(Arc::new(Inner {
            entries: Mutex::default(),
            calls: Mutex::default(),
            faults: Mutex::default(),
            clock: Arc::new(clock),
            capabilities: Mutex::new(Capabilities::new("scripted").with_listing(true)),
            keeps_expired: AtomicBool::new(false),
            shuffles: AtomicBool::new(false),
            late: Mutex::default(),
        }))
    }

    pub fn set_capabilities(&self, capabilities: Capabilities) {
        *self.0.capabilities.lock().unwrap() = capabilities;
    }

    /// What expired stays until it is swept: it is returned by `load` and in the way of `create`,
    /// as on object stores.
    pub fn keep_expired(&self) {
        self.0.keeps_expired.store(true, Ordering::SeqCst);
    }

    /// From here on every call gives way to other tasks a few times first, as `fastrand` says: on a
    /// runtime of one thread each seed is another order of the calls of all requests.
    pub fn shuffle(&self) {
        self.0.shuffles.store(true, Ordering::SeqCst);
    }

    fn is_there(&self, entry: &Entry, now: SystemTime) -> bool {
        entry.until > now || self.0.keeps_expired.load(Ordering::SeqCst)
    }

    /// The `nth` call (from 0, counted from now) of this operation meets the fault.
    pub fn on(&self, operation: &'static str, nth: usize, fault: Fault) {
        self.0.faults.lock().unwrap().push((operation, nth, fault));
    }

    /// Pauses the `nth` call of this operation before it does anything.
    pub fn pause(&self, operation: &'static str, nth: usize) -> Gatekeeper {
        let (gate, keeper) = gate();
        self.on(operation, nth, Fault::Wait(gate));
        keeper
    }

    /// Pauses the `nth` call of this operation after it has done its work.
    pub fn pause_after(&self, operation: &'static str, nth: usize) -> Gatekeeper {
        let (gate, keeper) = gate();
        self.on(operation, nth, Fault::WaitAfter(gate));
        keeper
    }

    /// The `nth` call of this operation is done, waits at the gate, and is done again.
    pub fn repeat(&self, operation: &'static str, nth: usize) -> Gatekeeper {
        let (gate, keeper) = gate();
        self.on(operation, nth, Fault::Repeat(gate));
        keeper
    }

    /// The next calls of this operation fail.
    pub fn fail(&self, operation: &'static str, times: usize, kind: ErrorKind) {
        for _ in 0..times {
            self.on(operation, 0, Fault::Fail(kind));
        }
    }

    /// Forgets all faults that were not met.
    pub fn repair(&self) {
        self.0.faults.lock().unwrap().clear();
    }

    pub fn calls(&self) -> Calls {
        *self.0.calls.lock().unwrap()
    }

    pub fn reset_calls(&self) {
        *self.0.calls.lock().unwrap() = Calls::default();
    }

    /// How many live entries there are.
    pub fn len(&self) -> usize {
        let now = self.0.clock.now();
        self.0.entries.lock().unwrap().values().filter(|entry| entry.until > now).count()
    }

    /// How many live entries are no tombstones.
    pub fn sessions(&self) -> usize {
        self.kinds().iter().filter(|kind| **kind == 1).count()
    }

    /// The kinds of the live entries: 1 a session, 2 and 3 tombstones, 4 an index.
    pub fn kinds(&self) -> Vec<u8> {
        let now = self.0.clock.now();
        let entries = self.0.entries.lock().unwrap();
        let mut kinds: Vec<_> = entries
            .values()
            .filter(|entry| entry.until > now)
            .map(|entry| entry.value[2] & 0x3f)
            .collect();
        kinds.sort_unstable();
        kinds
    }

    /// Every byte of every key and value.
    pub fn dump(&self) -> Vec<u8> {
        let entries = self.0.entries.lock().unwrap();
        entries
            .iter()
            .flat_map(|(key, entry)| [key.to_string().into_bytes(), entry.value.to_vec()].concat())
            .collect()
    }

    pub fn expiries(&self) -> Vec<Expiry> {
        self.0.entries.lock().unwrap().values().map(|entry| entry.expiry).collect()
    }

    /// Changes every stored value in place, under a new revision.
    pub fn tamper(&self, mut change: impl FnMut(&mut Vec<u8>)) {
        for entry in self.0.entries.lock().unwrap().values_mut() {
            let mut value = entry.value.to_vec();
            change(&mut value);
            entry.value = value.into();
            entry.revision = fastrand::u64(..);
        }
    }

    pub fn snapshot(&self) -> Vec<(StorageKey, Bytes)> {
        self.0
            .entries
            .lock()
            .unwrap()
            .iter()
            .map(|(key, entry)| (*key, entry.value.clone()))
            .collect()
    }

    /// Makes room by dropping everything of this kind.
    pub fn evict(&self, kind: u8) {
        self.0.entries.lock().unwrap().retain(|_, entry| entry.value[2] & 0x3f != kind);
    }

    /// Deletes every entry and creates it again with the same bytes: another revision, as the
    /// contract asks.
    pub fn recreate_all(&self) {
        self.tamper(|_| ());
    }

    fn fault(&self, operation: &'static str) -> Option<Fault> {
        {
            let mut calls = self.0.calls.lock().unwrap();
            match operation {
                "load" => calls.load += 1,
                "create" => calls.create += 1,
                "update" => calls.update += 1,
                "delete" => calls.delete += 1,
                _ => {}
            }
        }
        let mut faults = self.0.faults.lock().unwrap();
        let mut found = None;
        for (at, (own, nth, _)) in faults.iter_mut().enumerate() {
            if *own == operation {
                if *nth == 0 && found.is_none() {
                    found = Some(at);
                } else {
                    *nth = nth.saturating_sub(1);
                }
            }
        }
        found.map(|at| faults.remove(at).2)
    }

    /// Does the updates that were on their way, if time has passed.
    fn land(&self) {
        let now = self.0.clock.now();
        let mut entries = self.0.entries.lock().unwrap();
        let all = std::mem::take(&mut *self.0.late.lock().unwrap());
        let (due, early): (Vec<_>, Vec<_>) = all.into_iter().partition(|late| late.lost < now);
        *self.0.late.lock().unwrap() = early;
        for late in due {
            let entry = entries.get_mut(&late.key);
            if let Some(entry) = entry.filter(|entry| late.expected == Some(entry.revision)) {
                *entry = late.entry;
            }
        }
    }

    async fn run<T>(
        &self,
        operation: &'static str,
        mut work: impl FnMut(&mut HashMap<StorageKey, Entry>) -> T,
    ) -> Result<T> {
        if self.0.shuffles.load(Ordering::SeqCst) {
            for _ in 0..fastrand::usize(0..4) {
                tokio::task::yield_now().await;
            }
        }
        self.land();
        let lost = || Error::new(ErrorKind::Ambiguous, "the answer was lost");
        let fault = self.fault(operation);
        match fault {
            None => Ok(work(&mut self.0.entries.lock().unwrap())),
            Some(Fault::Wait(gate)) => {
                let _ = gate.arrived.send(());
                let _ = gate.released.await;
                Ok(work(&mut self.0.entries.lock().unwrap()))
            }
            Some(Fault::WaitAfter(gate)) => {
                let done = work(&mut self.0.entries.lock().unwrap());
                let _ = gate.arrived.send(());
                let _ = gate.released.await;
                Ok(done)
            }
            Some(Fault::Late) => Err(lost()),
            Some(Fault::Fail(kind)) => Err(Error::new(kind, "told to fail")),
            Some(Fault::LoseAnswer) => {
                work(&mut self.0.entries.lock().unwrap());
                Err(lost())
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Repeat(gate)) => {
                work(&mut self.0.entries.lock().unwrap());
                let _ = gate.arrived.send(());
                let _ = gate.released.await;
                Ok(work(&mut self.0.entries.lock().unwrap()))
            }
        }
    }
}

#[async_trait]
impl SessionStore for ScriptedStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let now = self.0.clock.now();
        self.run("load", |entries| {
            let entry = entries.get(key).filter(|entry| self.is_there(entry, now))?;
            Some(Stored::new(entry.value.clone(), Revision::from(entry.revision)))
        })
        .await
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        let now = self.0.clock.now();
        self.run("create", |entries| {
            if entries.get(key).is_some_and(|entry| self.is_there(entry, now)) {
                return None;
            }
            let revision = fastrand::u64(..);
            let value = Bytes::copy_from_slice(value);
            entries.insert(*key, Entry { value, revision, until: expiry.at(), expiry });
            Some(Revision::from(revision))
        })
        .await
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let comes_late = |(own, nth, fault): &(_, usize, Fault)| {
            *own == "update" && *nth == 0 && matches!(fault, Fault::Late)
        };
        if self.0.faults.lock().unwrap().iter().any(comes_late) {
            let (value, revision) = (Bytes::copy_from_slice(value), fastrand::u64(..));
            let entry = Entry { value, revision, until: expiry.at(), expiry };
            let (lost, expected) = (self.0.clock.now(), expected.as_u64());
            self.0.late.lock().unwrap().push(Late { lost, key: *key, expected, entry });
        }
        self.run("update", |entries| {
            let entry =
                entries.get_mut(key).filter(|entry| expected.as_u64() == Some(entry.revision))?;
            let revision = fastrand::u64(..);
            *entry = Entry {
                value: Bytes::copy_from_slice(value),
                revision,
                until: expiry.at(),
                expiry,
            };
            Some(Revision::from(revision))
        })
        .await
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        self.run("delete", |entries| entries.remove(key).is_some()).await
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        self.run("sweep", |entries| {
            let (keys, next) = page(entries, cursor.clone(), limit);
            let before = entries.len();
            entries.retain(|key, entry| entry.until > now || !keys.contains(key));
            SweepReport::new(keys.len() as u64, (before - entries.len()) as u64, next)
        })
        .await
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        self.run("scan", |entries| {
            let (keys, next) = page(entries, cursor.clone(), limit);
            let stored =
                |entry: &Entry| Stored::new(entry.value.clone(), Revision::from(entry.revision));
            ScanPage::new(keys.into_iter().map(|key| (key, stored(&entries[&key]))).collect(), next)
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.run("ping", |_| ()).await
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities.lock().unwrap().clone()
    }
}

/// The keys after the cursor, in order, and where to go on.
fn page(
    entries: &HashMap<StorageKey, Entry>,
    cursor: Option<ScanCursor>,
    limit: usize,
) -> (Vec<StorageKey>, Option<ScanCursor>) {
    let after = cursor.and_then(|cursor| StorageKey::parse(cursor.as_str()));
    let mut keys: Vec<_> =
        entries.keys().copied().filter(|key| after.is_none_or(|after| *key > after)).collect();
    keys.sort_unstable();
    let more = keys.len() > limit;
    keys.truncate(limit);
    let next = keys.last().filter(|_| more).map(|key| ScanCursor::new(key.to_string()));
    (keys, next)
}
