//! A store in a map that is right, or has one flaw on request: what the suite is proven with.
// tidy: long because one store has all the flaws, each of which is a line in its methods
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use mocha_session_core::store::{
    Bytes, Capabilities, Durability, Expiry, Revision, ScanCursor, ScanPage, SessionStore,
    StorageKey, Stored, SweepReport, async_trait,
};
use mocha_session_core::{Error, ErrorKind, Result};
use tokio::task::yield_now;

/// The flaw of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    UpdateUpserts,
    UpdateIgnoresTheRevision,
    UpdateIsCheckedThenDone,
    UpdateUpsertsLate,
    UpdateKeepsTheRevisionOfEqualBytes,
    UpdateKeepsTheOldExpiry,
    UpdateIsRefusedAlways,
    UpdateIsTornByCancelling,
    CreateOverwrites,
    CreateIsCheckedThenDone,
    CreateIsTornByCancelling,
    CreateIsRefusedAfterDelete,
    CreateIsRefusedAfterExpiry,
    RevisionsStartAgain,
    RevisionsFollowTheContent,
    RevisionOfLoadIsItsOwn,
    DeleteForgets,
    DeleteAlwaysSaysYes,
    LoadInventsAnEntry,
    LoadCreates,
    LoadLagsBehind,
    AnswersMixAfterCancelling,
    ExpiryIsDropped,
    ExpiryIsEarly,
    ExpiryOverThirtyDaysIsAnInstant,
    SweepDeletesTheRefreshed,
    SweepIgnoresItsTime,
    SweepIsUnbounded,
    ScanShowsOnePage,
    ScanCountsPositions,
    ScanIsUnsupportedYetClaimed,
    ScanWorksYetUnclaimed,
    KeysAreTruncated,
    KeysFoldCase,
    KeysFoldCaseInBase64,
    KeysAreLossyText,
    KeysEndAtNul,
    KeysAreTrimmed,
    ValuesEndAtNul,
    ValuesAreTrimmed,
    ValuesEndAt65535,
    OversizedDropsTheOld,
    LargestValueIsOverstated,
    PingPanics,
    CapabilitiesChange,
    DebugShowsAll,
    HandlesAreApartYetDurable,
    OpeningsBreakEachOther,
}

#[derive(Clone)]
struct Entry {
    value: Bytes,
    revision: Revision,
    expires: SystemTime,
}

type Map = BTreeMap<Vec<u8>, (StorageKey, Entry)>;
type Page = (Vec<(Vec<u8>, StorageKey, Entry)>, Option<ScanCursor>);

/// The store. A clone is another handle.
#[derive(Clone)]
pub(crate) struct Flawed {
    flaw: Flaw,
    native: bool,
    limit: Option<usize>,
    map: Arc<Mutex<Map>>,
    lagging: Arc<Mutex<Map>>,
    calls: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
    unread: Arc<Mutex<Vec<Option<Stored>>>>,
}

impl Flawed {
    pub(crate) fn new(flaw: Flaw) -> Self {
        let limit = matches!(flaw, Flaw::OversizedDropsTheOld | Flaw::LargestValueIsOverstated)
            .then_some(1_000);
        Self {
            flaw,
            native: false,
            limit,
            map: Arc::default(),
            lagging: Arc::default(),
            calls: Arc::default(),
            opened: Arc::default(),
            unread: Arc::default(),
        }
    }

    pub(crate) fn expiring_by_itself(mut self) -> Self {
        self.native = true;
        self
    }

    pub(crate) fn limited_to(mut self, bytes: usize) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// Opens the same store again.
    pub(crate) fn another_handle(&self) -> Self {
        let mut it = self.clone();
        let opened = self.opened.fetch_add(1, Ordering::Relaxed);
        if self.has(Flaw::HandlesAreApartYetDurable) {
            it.map = Arc::default();
        }
        assert!(!self.has(Flaw::OpeningsBreakEachOther) || opened < 4, "the table exists already");
        it
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map().is_empty()
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// The map, without what has expired where the store does that by itself.
    fn map(&self) -> MutexGuard<'_, Map> {
        let mut map = self.map.lock().unwrap();
        if self.native {
            let now = SystemTime::now();
            map.retain(|_, (_, entry)| entry.expires > now);
        }
        map
    }

    fn name(&self, key: &StorageKey) -> Vec<u8> {
        let bytes = key.as_bytes();
        match self.flaw {
            Flaw::KeysAreTruncated => bytes[..19].to_vec(),
            Flaw::KeysFoldCase => bytes.to_ascii_lowercase(),
            Flaw::KeysFoldCaseInBase64 => base64(bytes).to_ascii_lowercase().into_bytes(),
            Flaw::KeysEndAtNul => bytes.split(|byte| *byte == 0).next().unwrap().to_vec(),
            Flaw::KeysAreTrimmed => bytes.trim_ascii_end().to_vec(),
            Flaw::KeysAreLossyText => String::from_utf8_lossy(bytes).into_owned().into_bytes(),
            _ => bytes.to_vec(),
        }
    }

    fn entry(&self, value: &[u8], expiry: Expiry, before: Option<&Entry>) -> Entry {
        let value = match self.flaw {
            Flaw::ValuesEndAtNul => value.split(|byte| *byte == 0).next().unwrap_or_default(),
            Flaw::ValuesAreTrimmed => value.trim_ascii(),
            Flaw::ValuesEndAt65535 => &value[..value.len().min(65_535)],
            _ => value,
        };
        let revision = match (self.flaw, before) {
            (Flaw::UpdateKeepsTheRevisionOfEqualBytes, Some(before)) if before.value == value => {
                before.revision.clone()
            }
            (Flaw::RevisionsStartAgain, Some(before)) => {
                Revision::from(before.revision.as_u64().unwrap() + 1)
            }
            (Flaw::RevisionsStartAgain, None) => Revision::from(1),
            (Flaw::RevisionsFollowTheContent, _) => Revision::from(format!("{value:?}")),
            _ => Revision::random(),
        };
        let day = Duration::from_secs(24 * 60 * 60);
        let expires = match (self.flaw, before) {
            (Flaw::ExpiryIsDropped, _) => expiry.at() + 1_000 * day,
            (Flaw::ExpiryIsEarly, _) => expiry.at() - expiry.ttl() * 9 / 10,
            (Flaw::ExpiryOverThirtyDaysIsAnInstant, _) if expiry.ttl() > 30 * day => {
                SystemTime::UNIX_EPOCH + expiry.ttl()
            }
            (Flaw::UpdateKeepsTheOldExpiry, Some(before)) => before.expires,
            _ => expiry.at(),
        };
        Entry { value: Bytes::copy_from_slice(value), revision, expires }
    }

    fn check_size(&self, key: &StorageKey, value: &[u8]) -> Result<()> {
        if self.limit.is_some_and(|limit| value.len() > limit)
            || self.has(Flaw::LargestValueIsOverstated) && value.len() == 1_000
        {
            if self.has(Flaw::OversizedDropsTheOld) {
                self.map().remove(&self.name(key));
            }
            return Err(Error::new(ErrorKind::TooLarge, "").on("flawed"));
        }
        Ok(())
    }

    /// The state that another machine sees a moment later.
    fn lag(&self) {
        let copy = self.map.lock().unwrap().clone();
        let lagging = Arc::clone(&self.lagging);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            *lagging.lock().unwrap() = copy;
        });
    }
}

impl fmt::Debug for Flawed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Flawed");
        if self.has(Flaw::DebugShowsAll) {
            let map = self.map();
            out.field(
                "map",
                &map.values()
                    .map(|(key, entry)| (key.to_string(), entry.value.clone()))
                    .collect::<Vec<_>>(),
            );
        }
        out.finish_non_exhaustive()
    }
}

#[async_trait]
impl SessionStore for Flawed {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let name = self.name(key);
        let found = |map: &Map| {
            map.get(&name).map(|(_, e)| Stored::new(e.value.clone(), e.revision.clone()))
        };
        match self.flaw {
            Flaw::LoadLagsBehind => return Ok(found(&self.lagging.lock().unwrap())),
            Flaw::LoadInventsAnEntry => {
                return Ok(Some(
                    found(&self.map())
                        .unwrap_or_else(|| Stored::new(Bytes::new(), Revision::random())),
                ));
            }
            Flaw::LoadCreates if found(&self.map()).is_none() => {
                let entry = self.entry(
                    b"",
                    Expiry::after(Duration::from_secs(60), SystemTime::now()),
                    None,
                );
                self.map().insert(name, (*key, entry));
                return Ok(None);
            }
            Flaw::AnswersMixAfterCancelling => {
                // The answer is left on the wire while we wait, and whoever comes next reads it.
                let mine = found(&self.map());
                let before = self.unread.lock().unwrap().pop();
                self.unread.lock().unwrap().push(mine);
                yield_now().await;
                let mine = self.unread.lock().unwrap().pop().flatten();
                return Ok(before.unwrap_or(mine));
            }
            Flaw::RevisionOfLoadIsItsOwn => {
                return Ok(found(&self.map())
                    .map(|stored| Stored::new(stored.into_parts().0, Revision::random())));
            }
            _ => {}
        }
        Ok(found(&self.map()))
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        self.check_size(key, value)?;
        let name = self.name(key);
        let taken = self.map().contains_key(&name) && !self.has(Flaw::CreateOverwrites);
        if self.has(Flaw::CreateIsCheckedThenDone) {
            yield_now().await;
        } else if self.has(Flaw::CreateIsTornByCancelling) && !taken {
            let half = self.entry(&[value, b"half"].concat(), expiry, None);
            self.map().insert(name.clone(), (*key, half));
            yield_now().await;
            self.map().remove(&name);
        }
        let entry = self.entry(value, expiry, None);
        let revision = entry.revision.clone();
        let mut map = self.map();
        let refused = match self.flaw {
            Flaw::CreateIsCheckedThenDone => taken,
            Flaw::CreateOverwrites => false,
            Flaw::CreateIsRefusedAfterDelete | Flaw::CreateIsRefusedAfterExpiry => {
                map.contains_key(&name) || self.lagging.lock().unwrap().contains_key(&name)
            }
            _ => map.contains_key(&name),
        };
        if refused {
            return Ok(None);
        }
        map.insert(name, (*key, entry));
        drop(map);
        if self.has(Flaw::LoadLagsBehind) {
            self.lag();
        }
        Ok(Some(revision))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        self.check_size(key, value)?;
        let name = self.name(key);
        let fits = |map: &Map| match map.get(&name) {
            Some((_, entry)) => {
                entry.revision == *expected || self.has(Flaw::UpdateIgnoresTheRevision)
            }
            None => self.has(Flaw::UpdateUpserts),
        };
        let before = fits(&self.map());
        match self.flaw {
            Flaw::UpdateIsCheckedThenDone | Flaw::UpdateUpsertsLate => yield_now().await,
            Flaw::UpdateIsTornByCancelling if before => {
                if let Some((_, entry)) = self.map().get_mut(&name) {
                    let (new, old) =
                        (&value[..value.len() / 2], &entry.value[entry.value.len() / 2..]);
                    entry.value = [new, old].concat().into();
                }
                yield_now().await;
            }
            _ => {}
        }
        let mut map = self.map();
        let fits = match self.flaw {
            Flaw::UpdateIsCheckedThenDone => before && map.contains_key(&name),
            Flaw::UpdateUpsertsLate => fits(&map) || before && !map.contains_key(&name),
            Flaw::UpdateIsRefusedAlways => false,
            _ => fits(&map),
        };
        if !fits {
            return Ok(None);
        }
        let entry = self.entry(value, expiry, map.get(&name).map(|(_, entry)| entry));
        let revision = entry.revision.clone();
        map.insert(name, (*key, entry));
        drop(map);
        if self.has(Flaw::LoadLagsBehind) {
            self.lag();
        }
        Ok(Some(revision))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let name = self.name(key);
        if self.has(Flaw::DeleteForgets) {
            return Ok(self.map().contains_key(&name));
        }
        let removed = self.map().remove(&name);
        let was_there = removed.is_some();
        if let Some(removed) = removed.filter(|_| self.has(Flaw::CreateIsRefusedAfterDelete)) {
            self.lagging.lock().unwrap().insert(name, removed);
        }
        if self.has(Flaw::LoadLagsBehind) {
            self.lag();
        }
        Ok(was_there || self.has(Flaw::DeleteAlwaysSaysYes))
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        if self.native {
            return Ok(SweepReport::native());
        }
        let now = if self.has(Flaw::SweepIgnoresItsTime) {
            SystemTime::now() + Duration::from_secs(1 << 30)
        } else {
            now
        };
        let limit = if self.has(Flaw::SweepIsUnbounded) { usize::MAX } else { limit };
        let (examined, next) = self.page(cursor.as_ref(), limit);
        let expired = |entry: &Entry| entry.expires < now;
        let expired_names: Vec<_> =
            examined.iter().filter(|(_, _, entry)| expired(entry)).map(|(name, ..)| name).collect();
        let mut removed = 0;
        if self.has(Flaw::SweepDeletesTheRefreshed) && !expired_names.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for name in expired_names {
            let mut map = self.map();
            if self.has(Flaw::SweepDeletesTheRefreshed)
                || map.get(name).is_some_and(|(_, entry)| expired(entry))
            {
                let gone = map.remove(name);
                removed += u64::from(gone.is_some());
                if let Some(gone) = gone.filter(|_| self.has(Flaw::CreateIsRefusedAfterExpiry)) {
                    self.lagging.lock().unwrap().insert(name.clone(), gone);
                }
            }
        }
        Ok(SweepReport::new(examined.len() as u64, removed, next))
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        if self.has(Flaw::ScanIsUnsupportedYetClaimed) {
            return Err(Error::new(ErrorKind::Unsupported, "").on("flawed"));
        }
        let (entries, next) = self.page(cursor.as_ref(), limit);
        let next = if self.has(Flaw::ScanShowsOnePage) { None } else { next };
        let entries = entries
            .into_iter()
            .map(|(_, key, e)| (key, Stored::new(e.value, e.revision)))
            .collect();
        Ok(ScanPage::new(entries, next))
    }

    async fn ping(&self) -> Result<()> {
        assert!(!self.has(Flaw::PingPanics), "no connection");
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut it = Capabilities::new("flawed")
            .with_listing(!self.has(Flaw::ScanWorksYetUnclaimed))
            .with_native_expiry(self.native)
            .with_eviction(self.has(Flaw::CapabilitiesChange) && calls % 2 == 1);
        if self.has(Flaw::HandlesAreApartYetDurable) {
            it = it.with_durability(Durability::Disk);
        }
        match self.limit {
            Some(limit) => it.with_max_value(limit),
            None => it,
        }
    }
}

impl Flawed {
    /// A page in the order of names, and the name (or, with a flaw, the position) where the next
    /// begins.
    fn page(&self, cursor: Option<&ScanCursor>, limit: usize) -> Page {
        let map = self.map();
        let by_position = self.has(Flaw::ScanCountsPositions);
        let start = cursor.map(ScanCursor::as_str);
        let position: usize =
            if by_position { start.map_or(0, |at| at.parse().unwrap()) } else { 0 };
        let after = start.filter(|_| !by_position).map(|at| StorageKey::parse(at).unwrap());
        let mut rest = map
            .iter()
            .filter(|(_, (key, _))| after.is_none_or(|after| *key > after))
            .skip(position)
            .map(|(name, (key, entry))| (name.clone(), *key, entry.clone()));
        let page: Vec<_> = rest.by_ref().take(limit).collect();
        let more = rest.next().is_some();
        let next = page.last().filter(|_| more).map(|(_, key, _)| {
            ScanCursor::new(if by_position {
                (position + page.len()).to_string()
            } else {
                key.to_string()
            })
        });
        (page, next)
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let digit =
        |at: usize| (0..6).fold(0, |bits, bit_at| bits << 1 | usize::from(bit(at * 6 + bit_at)));
    (0..bytes.len() * 8).step_by(6).map(|at| char::from(DIGITS[digit(at / 6)])).collect()
}
