//! `count` and `sweep`: counts a store's records, and removes expired ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mocha_session::store::SessionStore;
use mocha_session::{Error, ErrorKind, RecordInfo, RecordKind, Storage};
use serde_json::json;

use crate::args::{Store, Sweep, open};
use crate::copy::{Interrupt, progress};
use crate::output::{Failure, Report};

const PAGE: usize = 500;
/// A sweep keeps records that expired more recently than this, because a clock may be wrong.
const SKEW: Duration = Duration::from_secs(60);

/// The records of a store, counted. Only those that have not expired are counted by kind.
#[derive(Debug, Default)]
pub(crate) struct Census {
    kinds: BTreeMap<RecordKind, u64>,
    expired: u64,
    /// The expired records that a sweep would remove.
    due: u64,
    pub(crate) unreadable: u64,
    bytes: u64,
    pub(crate) interrupted: bool,
}

impl Census {
    /// Scans a whole store.
    pub(crate) async fn take(store: &dyn SessionStore) -> Result<Self, Failure> {
        let (mut census, mut cursor) = (Self::default(), None);
        let (bar, interrupt) = (progress("counting"), Interrupt::listen());
        loop {
            let page = store.scan(cursor, PAGE).await?;
            let next = page.next().cloned();
            let now = SystemTime::now();
            for (_, stored) in page.into_entries() {
                census.bytes += stored.value().len() as u64;
                match RecordInfo::read(&stored) {
                    Ok(info) if info.expires_at() <= now => {
                        census.expired += 1;
                        census.due += u64::from(info.expires_at() + SKEW <= now);
                    }
                    Ok(info) => *census.kinds.entry(info.kind()).or_default() += 1,
                    Err(_) => census.unreadable += 1,
                }
                bar.inc(1);
            }
            match next {
                Some(_) if interrupt.came() => {
                    census.interrupted = true;
                    break;
                }
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        bar.finish_and_clear();
        Ok(census)
    }

    /// Returns the number of live sessions, including those that are being moved to another engine.
    pub(crate) fn sessions(&self) -> u64 {
        self.of(&[RecordKind::Session, RecordKind::Moving])
    }

    /// Returns the number of live records of these kinds.
    pub(crate) fn of(&self, kinds: &[RecordKind]) -> u64 {
        kinds.iter().filter_map(|kind| self.kinds.get(kind)).sum()
    }

    fn report(&self) -> Report {
        let mut report = Report::new();
        report.fact("sessions", self.sessions());
        for (kind, count) in &self.kinds {
            if *kind != RecordKind::Session {
                report.fact(kind.as_str(), *count);
            }
        }
        report.fact("expired", self.expired);
        report.fact("unreadable", self.unreadable);
        report.fact("bytes", self.bytes);
        let records = self.expired + self.unreadable + self.kinds.values().sum::<u64>();
        report.fact("bytes_per_record", self.bytes / records.max(1));
        if self.interrupted { report.interrupted() } else { report }
    }
}

pub(crate) async fn count(store: &Store) -> Result<Report, Failure> {
    let storage = open(&store.url).await?;
    Ok(Census::take(&**server_side(&storage)?).await?.report())
}

pub(crate) async fn sweep(sweep: &Sweep) -> Result<Report, Failure> {
    let storage = open(&sweep.store.url).await?;
    let store = server_side(&storage)?;
    if sweep.dry_run {
        let census = Census::take(&**store).await?;
        let mut report = Report::new();
        report.fact("would_remove", census.due);
        return Ok(if census.interrupted { report.interrupted() } else { report });
    }
    let (mut removed, mut examined, mut failed, mut cursor) = (0, 0, 0, None);
    let (bar, interrupt) = (progress("sweeping"), Interrupt::listen());
    let (mut native, mut stopped, mut why) = (false, false, None);
    loop {
        let before = SystemTime::now().checked_sub(SKEW).unwrap_or(SystemTime::UNIX_EPOCH);
        let batch = store.sweep(before, cursor, PAGE).await?;
        (removed, examined) = (removed + batch.removed(), examined + batch.examined());
        failed += batch.failed();
        native |= batch.is_native();
        why = batch.failure().map(ToOwned::to_owned).or(why);
        bar.set_position(examined);
        match batch.next() {
            Some(_) if interrupt.came() => {
                stopped = true;
                break;
            }
            Some(next) => cursor = Some(next.clone()),
            None => break,
        }
    }
    bar.finish_and_clear();
    let mut report = Report::new();
    report.fact("removed", removed);
    report.fact("examined", examined);
    if native {
        report.fact("expires_by_itself", true);
    }
    if failed > 0 {
        let why = why.unwrap_or_default();
        report.field("failed", json!(failed));
        report.warning(format!("{failed} entries could not be removed: {why}"));
    }
    Ok(if stopped { report.interrupted() } else { report })
}

/// Returns the store of a storage.
pub(crate) fn server_side(storage: &Storage) -> Result<&Arc<dyn SessionStore>, Failure> {
    storage.store().ok_or_else(|| {
        let why = "these sessions are in the clients' cookies; there is no store to look into";
        Error::new(ErrorKind::Unsupported, why).into()
    })
}
