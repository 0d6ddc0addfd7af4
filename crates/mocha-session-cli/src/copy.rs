//! `copy`: moves all sessions to another engine with `Migrating`, during live traffic.
//!
//! No state is kept between two runs: the entries that are still in the old engine remain to be
//! moved. So the command continues where it was killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use mocha_session::store::{Expiry, SessionStore, StorageKey};
use mocha_session::{Migrating, MoveOutcome, RecordKind};
use serde_json::json;
use tokio::task::JoinSet;

use crate::args::{Copy, open};
use crate::count::{Census, server_side};
use crate::output::{Failure, Report};

/// The maximum number of passes over the old engine. A later pass moves the sessions that began
/// there, or were written while they were moved, during an earlier one.
const PASSES: usize = 8;
/// How long the probe for two names of one store lives, should it be left behind.
const PROBE: Duration = Duration::from_secs(60);

type Store = Arc<dyn SessionStore>;
type Mover = Arc<Migrating<Store, Store>>;
type Tally = BTreeMap<MoveOutcome, u64>;

pub(crate) async fn run(copy: &Copy) -> Result<Report, Failure> {
    let (from, to) = (open(&copy.from).await?, open(&copy.to).await?);
    let (old, new) = (server_side(&from)?, server_side(&to)?);
    refuse_one_store(&**old, &**new).await?;
    let before = Census::take(&**old).await?;
    if before.interrupted {
        return Ok(Report::new().interrupted());
    }
    let mover = Arc::new(Migrating::new(Arc::clone(old), Arc::clone(new)));
    let (bar, interrupt, since) = (progress("moving"), Interrupt::listen(), Instant::now());
    bar.set_length(before.sessions());
    bar.set_style(style("{msg} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left"));
    let (mut moved, mut evicted, mut last) = (0, 0, Tally::new());
    for _ in 0..PASSES {
        last = Tally::new();
        let passed = pass(&mover, &**old, copy, &bar, &interrupt, &mut last).await;
        let count = |outcome| last.get(&outcome).copied().unwrap_or_default();
        moved += count(MoveOutcome::Moved);
        evicted += count(MoveOutcome::Evicted);
        passed.map_err(|failure| {
            failure.after(&format!("{moved} entries were moved before; run it again to go on"))
        })?;
        if interrupt.came() || count(MoveOutcome::Moved) == 0 {
            break;
        }
    }
    bar.finish_and_clear();
    let mut report = Report::new();
    report.fact("moved", moved);
    report.fact("per_second", rate(moved, since.elapsed()));
    if interrupt.came() {
        return Ok(report.interrupted());
    }
    skipped(&last, evicted, &mut report);
    let left = Census::take(&**old).await?;
    if left.interrupted {
        return Ok(report.interrupted());
    }
    let sessions = left.sessions() + left.of(&[RecordKind::OwnerIndex]);
    report.fact("left_in_the_old_engine", sessions);
    report.fact(
        "tombstones_left",
        left.of(&[RecordKind::Moved, RecordKind::Ended, RecordKind::Revoked]),
    );
    if sessions > 0 {
        report.warning(format!(
            "{sessions} records are in the old engine still: does every process of the application \
             use `Migrating` by now? Run the command again"
        ));
    }
    Ok(report)
}

/// Goes over the old engine once. After Ctrl-C or an error, the current entries are finished.
async fn pass(
    mover: &Mover,
    old: &dyn SessionStore,
    copy: &Copy,
    bar: &ProgressBar,
    interrupt: &Interrupt,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let (mut in_hand, mut cursor, mut failure) = (JoinSet::new(), None, None);
    loop {
        let page = match old.scan(cursor, copy.page as usize).await {
            Ok(page) => page,
            Err(error) => {
                failure.get_or_insert(Failure::from(error));
                break;
            }
        };
        cursor = page.next().cloned();
        for (key, stored) in page.into_entries() {
            if in_hand.len() >= copy.at_once as usize {
                note(in_hand.join_next().await, bar, tally, &mut failure);
            }
            if failure.is_some() || interrupt.came() {
                break;
            }
            let mover = Arc::clone(mover);
            in_hand.spawn(async move { mover.move_entry(&key, &stored).await });
        }
        if cursor.is_none() || failure.is_some() || interrupt.came() {
            break;
        }
    }
    while let Some(done) = in_hand.join_next().await {
        note(Some(done), bar, tally, &mut failure);
    }
    failure.map_or(Ok(()), Err)
}

type Done = Result<mocha_session::Result<MoveOutcome>, tokio::task::JoinError>;

fn note(done: Option<Done>, bar: &ProgressBar, tally: &mut Tally, failure: &mut Option<Failure>) {
    match done {
        None => {}
        Some(Ok(Ok(outcome))) => {
            *tally.entry(outcome).or_default() += 1;
            bar.inc(u64::from(outcome == MoveOutcome::Moved));
        }
        Some(Ok(Err(error))) => {
            _ = failure.get_or_insert(error.into());
        }
        Some(Err(_)) => {
            let why = "a move ended before its time";
            _ = failure.get_or_insert_with(|| Failure::internal(why));
        }
    }
}

/// Reports the entries that the last pass did not move, and the reasons.
fn skipped(last: &Tally, evicted: u64, report: &mut Report) {
    let count = |outcome| last.get(&outcome).copied().unwrap_or_default();
    let skipped = |outcome| !matches!(outcome, MoveOutcome::Moved | MoveOutcome::Guard);
    let reasons = last.iter().filter(|(outcome, _)| skipped(**outcome));
    let reasons: serde_json::Map<_, _> =
        reasons.map(|(outcome, count)| (outcome.as_str().to_owned(), json!(count))).collect();
    for (outcome, why) in [
        (MoveOutcome::Ended, "sessions that have ended were left: their tombstones expire"),
        (MoveOutcome::Expired, "records that have expired were left: sweep them"),
    ] {
        if count(outcome) > 0 {
            report.line(format!("{} {why}", count(outcome)));
        }
    }
    for (outcome, why) in [
        (MoveOutcome::Unreadable, "records cannot be read by this version, and were left"),
        (MoveOutcome::TooLarge, "records are larger than the new engine allows, and were left"),
        (MoveOutcome::Changed, "records were written at every try, and were left"),
    ] {
        if count(outcome) > 0 {
            report.warning(format!("{} {why}", count(outcome)));
        }
    }
    if evicted > 0 {
        report.warning(format!("the new engine evicted {evicted} records that were moved"));
    }
    report.field("skipped", reasons);
}

/// Refuses two URLs that name the same store.
async fn refuse_one_store(old: &dyn SessionStore, new: &dyn SessionStore) -> Result<(), Failure> {
    let mut key = [0; StorageKey::BYTES];
    key.fill_with(|| fastrand::u8(..));
    let key = StorageKey::from_bytes(key);
    let engine = new.capabilities().engine();
    let probe = new.create(&key, b"probe", Expiry::after(PROBE, SystemTime::now())).await;
    probe.map_err(|error| error.on(engine).during("create"))?;
    let seen = old.load(&key).await;
    new.delete(&key).await?;
    if seen?.is_some() {
        return Err(Failure::config("both URLs name the same store; there is nothing to move"));
    }
    Ok(())
}

/// A Ctrl-C or SIGTERM, which is noticed between two entries.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn listen() -> Self {
        let came = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&came);
        tokio::spawn(async move {
            if asked_to_end().await.is_ok() {
                note.store(true, Ordering::SeqCst);
            }
        });
        Self(came)
    }

    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(unix)]
async fn asked_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn asked_to_end() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Creates a progress bar on the terminal. If there is no terminal, it shows nothing.
pub(crate) fn progress(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.set_style(style("{msg} {human_pos}, {per_sec}"));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a rate for people"
)]
fn rate(count: u64, took: Duration) -> u64 {
    (count as f64 / took.as_secs_f64().max(0.001)) as u64
}
