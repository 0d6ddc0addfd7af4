//! A request of the simulation, and the report of what it met with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mocha_session_core::{Error, ErrorKind, Result};

use crate::gate::Shared;
use crate::ops::{By, Op};

/// A session as it looks from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether there is one.
    pub live: bool,
    /// Whose it is.
    pub owner: Option<String>,
    /// Which of its owner's.
    pub handle: Option<String>,
    /// What it holds, as JSON.
    pub values: BTreeMap<String, String>,
    /// The messages that wait.
    pub flash: Vec<String>,
    /// When it expires.
    pub expires: u64,
}

/// A cookie line of a response, or its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Its value, and for how many seconds it was told to live.
    Set(String, Option<u64>),
    /// It goes.
    Remove,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it wanted to be answered.
    Answered,
    /// With an error.
    Failed(ErrorKind),
}

/// What an operation has met with so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the request saw when it loaded its session.
    pub loaded: Option<Seen>,
    /// Whether it was given the token.
    pub took: bool,
    /// The messages that it was shown.
    pub shown: Vec<String>,
    /// The messages that it claimed.
    pub claimed: Vec<String>,
    /// What its own commit said.
    pub committed: Option<std::result::Result<(), ErrorKind>>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The response's line for its client: the cookie, or the token of a client that has no
    /// cookie.
    pub line: Option<Line>,
    /// The response's line in the other way.
    pub beside: Option<Line>,
}

/// A report that an operation writes while others read it.
pub type Reporting = Arc<Mutex<Report>>;

/// What an operation needs.
#[derive(Debug)]
pub struct Request {
    /// Which one it is.
    pub number: u8,
    /// What it does.
    pub op: Op,
    /// The sessions that it brings.
    pub sessions: Vec<String>,
    /// The way in which it carries them.
    pub by: By,
    /// The handle of the first session of u.
    pub first: Option<String>,
    /// Where it writes what it met with.
    pub report: Reporting,
    /// Where its handler waits.
    pub gates: Shared,
}

impl Request {
    /// Notes what a commit in the handler said.
    pub(super) fn note(&self, done: Result<()>) -> Result<()> {
        self.report().committed = Some(done.as_ref().copied().map_err(Error::kind));
        done
    }

    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
