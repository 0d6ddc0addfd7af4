//! `copy`: moves all sessions to another engine with `Migrating`, during live traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use mocha_session::{Migrating, RecordKind};

use crate::args::{Copy, open};
use crate::count::{Census, server_side};
use crate::output::{Failure, Report};

/// The maximum number of passes over the old engine. A later pass moves the sessions that began
/// there during an earlier one.
const PASSES: usize = 8;

pub(crate) async fn run(copy: &Copy) -> Result<Report, Failure> {
    let (from, to) = (open(&copy.from).await?, open(&copy.to).await?);
    let (old, new) = (server_side(&from)?, server_side(&to)?);
    let before = Census::take(&**old).await?;
    if before.interrupted {
        return Ok(Report::new().interrupted());
    }
    let migrating = Migrating::new(Arc::clone(old), Arc::clone(new));
    let (bar, interrupt, since) = (progress("moving"), Interrupt::listen(), Instant::now());
    bar.set_length(before.sessions());
    bar.set_style(style("{msg} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left"));
    let (mut moved, mut stopped) = (0, false);
    for _ in 0..PASSES {
        let (mut cursor, mut in_pass) = (None, 0);
        loop {
            let (next, count) = migrating.move_page(cursor, copy.page as usize).await?;
            in_pass += count;
            bar.inc(count);
            cursor = next;
            stopped = interrupt.came();
            if stopped || cursor.is_none() {
                break;
            }
        }
        moved += in_pass;
        if stopped || in_pass == 0 {
            break;
        }
    }
    bar.finish_and_clear();
    let took = since.elapsed();
    let mut report = Report::new();
    report.fact("moved", moved);
    report.fact("per_second", rate(moved, took));
    if stopped {
        return Ok(report.interrupted());
    }
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
    if left.unreadable > 0 {
        report.warning(format!(
            "{} records of the old engine cannot be read by this version, and were left there",
            left.unreadable
        ));
    }
    if sessions > 0 {
        report.warning(format!(
            "{sessions} sessions are in the old engine still: does every process of the \
             application use `Migrating` by now? Run the command again"
        ));
    }
    Ok(report)
}

/// A Ctrl-C, which is noticed between two entries.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn listen() -> Self {
        let came = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&came);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                note.store(true, Ordering::SeqCst);
            }
        });
        Self(came)
    }

    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
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
