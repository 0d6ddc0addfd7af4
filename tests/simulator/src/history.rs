//! What a run looked like from outside.

use mocha_session_core::store::StorageKey;

use crate::client::{Failure, Report, Seen};
use crate::ops::{Case, Op};
use crate::text::Step;

/// A cookie that was given to a browser.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Its value.
    pub value: String,
    /// The operation whose response brought it; `None` for the setup.
    pub by: Option<usize>,
}

/// What became of an operation, and when.
#[derive(Clone, Debug)]
pub struct Record {
    /// The operation.
    pub op: Op,
    /// The cookies that it brought.
    pub cookies: Vec<String>,
    /// What it met with.
    pub report: Report,
    /// The step at which it began.
    pub started: Option<u32>,
    /// The step at which its response was ready.
    pub finished: Option<u32>,
    /// What the clock showed then.
    pub finished_at: u64,
    /// The step at which its browser had the response.
    pub responded: Option<u32>,
    /// Whether its client or process went away before.
    pub gone: bool,
}

/// What there was to see at some time after the run.
#[derive(Clone, Debug)]
pub struct Later {
    /// How many seconds after the look before.
    pub at: u64,
    /// What the clock showed.
    pub now: u64,
    /// The session of each cookie that was ever issued.
    pub seen: Vec<Result<Seen, Failure>>,
    /// The handles that are listed for u and for v.
    pub listed: [Result<Vec<String>, Failure>; 2],
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct History {
    /// The case.
    pub case: Case,
    /// Its operations.
    pub records: Vec<Record>,
    /// All cookies.
    pub issued: Vec<Issue>,
    /// The browsers' cookies at the end.
    pub jars: [Option<String>; 2],
    /// The first browser's first cookie.
    pub first: Option<String>,
    /// The second browser's first cookie.
    pub second: Option<String>,
    /// The handle of the first session.
    pub first_handle: Option<String>,
    /// What there was to see: at once, later, and last after everything was revoked.
    pub later: Vec<Later>,
    /// Whether the first browser was logged out while it used its live session now and then.
    pub dropped: bool,
    /// Final revocations that failed.
    pub revoke_failed: Vec<Failure>,
    /// Which process wrote what, in order.
    pub writes: Vec<(u8, StorageKey)>,
    /// How many entries the engines keep after everything was ended and has expired.
    pub left: usize,
    /// How many faults there were.
    pub faults: u32,
    /// Whether time passed.
    pub jumped: bool,
    /// Whether responses were delivered in another order than they were sent.
    pub reordered: bool,
    /// Whether it did not come to an end.
    pub hung: bool,
    /// The steps that were taken.
    pub trace: Vec<Step>,
}
