//! Counters and histograms of the `metrics` crate, made of what an observer is told.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `mocha_session_loads_total` | counter | `outcome`: `found`, `absent`, `expired`, `superseded`, `refused` |
//! | `mocha_session_changes_total` | counter | `change`: `created`, `committed`, `refreshed`, `rotated`, `logged_in`, `dropped` |
//! | `mocha_session_conflicts_total` | counter | |
//! | `mocha_session_logins_refused_total` | counter | |
//! | `mocha_session_ended_total` | counter | `how`: `destroyed`, `revoked`, `made_room`, `emptied` |
//! | `mocha_session_failures_total` | counter | `during`: `load`, `commit`; `kind`: that of the error |
//! | `mocha_session_commit_rounds` | histogram | |
//! | `mocha_session_record_bytes` | histogram | |
//! | `mocha_session_store_call_seconds` | histogram | `engine`, `operation`; `outcome`: `ok`, or the kind of the error |
//!
//! No label names a session or an owner, so their number is small and known.

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::observe::{Event, Observer};

const LOADS: &str = "mocha_session_loads_total";
const CHANGES: &str = "mocha_session_changes_total";
const CONFLICTS: &str = "mocha_session_conflicts_total";
const REFUSED: &str = "mocha_session_logins_refused_total";
const ENDED: &str = "mocha_session_ended_total";
const FAILURES: &str = "mocha_session_failures_total";
const ROUNDS: &str = "mocha_session_commit_rounds";
const BYTES: &str = "mocha_session_record_bytes";
const STORE_CALL: &str = "mocha_session_store_call_seconds";

/// An observer that reports to the recorder that the application has installed.
///
/// ```
/// use mocha_session::metrics::Metrics;
/// use mocha_session::{SessionManager, Storage, Secrets};
///
/// let storage = Storage::client_side().with_secrets(Secrets::generate()?);
/// let manager = SessionManager::builder(storage).observer(Metrics::new()).build()?;
/// # drop(manager);
/// # Ok::<(), mocha_session::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Metrics(());

impl Metrics {
    /// Describes the metrics to the recorder. Install the recorder first.
    pub fn new() -> Self {
        describe_counter!(LOADS, "Looks for a request's session.");
        describe_counter!(CHANGES, "What commits did to sessions.");
        describe_counter!(CONFLICTS, "Commits that another request's write made try again.");
        describe_counter!(REFUSED, "Logins that were refused: their users have too many sessions.");
        describe_counter!(ENDED, "Sessions that ended before their time.");
        describe_counter!(FAILURES, "Loads and commits that failed.");
        describe_histogram!(ROUNDS, Unit::Count, "How many tries a write took.");
        describe_histogram!(BYTES, Unit::Bytes, "The size of a written record.");
        describe_histogram!(STORE_CALL, Unit::Seconds, "Calls of the store.");
        Self(())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        let change = |change: &'static str| counter!(CHANGES, "change" => change).increment(1);
        match event {
            Event::Loaded { outcome, .. } => {
                counter!(LOADS, "outcome" => outcome.as_str()).increment(1);
            }
            Event::Created { .. } => change("created"),
            Event::Refreshed { .. } => change("refreshed"),
            Event::Rotated { .. } => change("rotated"),
            Event::LoggedIn { .. } => change("logged_in"),
            Event::Dropped { .. } => change("dropped"),
            Event::Committed { rounds, bytes, .. } => {
                change("committed");
                histogram!(ROUNDS).record(*rounds);
                #[allow(
                    clippy::cast_precision_loss,
                    reason = "records are far smaller than 2^52 bytes"
                )]
                histogram!(BYTES).record(*bytes as f64);
            }
            Event::Conflicted { .. } => counter!(CONFLICTS).increment(1),
            Event::LoginRefused { .. } => counter!(REFUSED).increment(1),
            Event::Ended { how, .. } => counter!(ENDED, "how" => how.as_str()).increment(1),
            Event::Failed { during, error, .. } => {
                let kind = error.kind().as_str();
                counter!(FAILURES, "during" => *during, "kind" => kind).increment(1);
            }
            Event::StoreCall { engine, operation, error, took, .. } => {
                let outcome = error.map_or("ok", |error| error.kind().as_str());
                let labels = [("engine", *engine), ("operation", *operation), ("outcome", outcome)];
                histogram!(STORE_CALL, &labels).record(took.as_secs_f64());
            }
            _ => {}
        }
    }
}
