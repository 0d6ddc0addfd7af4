//! What must hold of every run: the promises, asked from outside.

mod browsers;
mod carried;
mod content;
mod ends;

use std::cell::RefCell;

use crate::client::{Failure, Line, Outcome, Seen, same};
use crate::history::{History, Record};
use crate::ops::Kind;
use crate::text::Act;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub rule: &'static str,
    /// What was seen.
    pub seen: String,
}

/// Which session of the setup a session goes back to.
type Root = Option<char>;

struct Check<'h> {
    history: &'h History,
    found: RefCell<Vec<Violation>>,
}

/// Every promise that the run broke.
pub fn check(history: &History) -> Vec<Violation> {
    let check = Check { history, found: RefCell::default() };
    if history.hung {
        check.break_("every request comes to an end", String::from("the run did not"));
        return check.found.into_inner();
    }
    check.readable();
    check.final_ends();
    check.listed();
    check.revoked();
    check.moved();
    check.tokens();
    check.values();
    check.flash();
    check.responses();
    check.carried();
    check.browsers();
    check.found.into_inner()
}

impl Record {
    /// Whether its response says that it was done.
    pub fn acked(&self) -> bool {
        self.report.outcome == Some(Outcome::Answered)
            && (self.op.commits() || self.op.kind.is_admin())
    }

    fn failed(&self) -> Option<Failure> {
        match self.report.outcome {
            Some(Outcome::Failed(kind)) => Some(kind),
            _ => None,
        }
    }

    /// Whether it is known that nothing of it was done.
    fn never(&self) -> bool {
        let unknown = |kind: Failure| matches!(kind, Failure::Ambiguous | Failure::Timeout);
        if self.started.is_none() {
            return true;
        }
        if self.gone {
            return false;
        }
        if let Some(committed) = self.report.committed {
            return committed.is_err_and(|kind| !unknown(kind));
        }
        match self.report.outcome {
            Some(Outcome::Failed(kind)) => !unknown(kind),
            Some(Outcome::Answered) => !self.op.commits(),
            None => false,
        }
    }

    fn was_live(&self) -> bool {
        self.report.loaded.as_ref().is_some_and(|loaded| loaded.live)
    }

    fn before(&self, other: &Self) -> bool {
        matches!((self.finished, other.started), (Some(end), Some(start)) if end <= start)
    }

    fn brought(&self, cookie: &str) -> bool {
        self.cookies.iter().any(|own| same(own, cookie))
    }

    fn new_cookie(&self) -> Option<&str> {
        match &self.report.line {
            Some(Line::Set(value, _)) if !self.brought(value) => Some(value),
            _ => None,
        }
    }
}

fn mark(seen: &Seen) -> Root {
    match seen.values.get("mark").map(String::as_str) {
        Some("\"S\"") => Some('S'),
        Some("\"T\"") => Some('T'),
        _ => None,
    }
}

impl Check<'_> {
    fn break_(&self, rule: &'static str, seen: String) {
        self.found.borrow_mut().push(Violation { rule, seen });
    }

    /// Whether the second must have seen what the first did. Where it may read from memory, that is
    /// so in the same process, or once the time of such reads has passed.
    fn knows(&self, first: &Record, second: &Record) -> bool {
        let (Some(end), Some(start)) = (first.finished, second.started) else { return false };
        let between = self.history.trace.iter().take(start as usize).skip(end as usize);
        let aged = || between.clone().any(|step| step.act == Act::Jump);
        let same = first.op.process == second.op.process;
        first.before(second) && (same || !self.history.case.reads_old(&second.op) || aged())
    }

    fn quiet(&self) -> bool {
        self.history.faults == 0
    }

    /// The name of a cookie in a report: its place in the order of issue.
    fn name(&self, value: &str) -> String {
        match self.history.issued.iter().position(|issue| same(&issue.value, value)) {
            Some(at) => format!("cookie {at}"),
            None => String::from("an unknown cookie"),
        }
    }

    fn seen(&self, later: usize, cookie: &str) -> Option<&Seen> {
        let at = self.history.issued.iter().position(|issue| same(&issue.value, cookie))?;
        self.history.later.get(later)?.seen.get(at)?.as_ref().ok()
    }

    fn is_live(&self, later: usize, cookie: &str) -> bool {
        self.seen(later, cookie).is_some_and(|seen| seen.live)
    }

    /// All looks but the one after the last revocation.
    fn looks(&self) -> usize {
        self.history.later.len().saturating_sub(1)
    }

    /// The live sessions at a look, with their cookies.
    fn live(&self, later: usize) -> Vec<(usize, &Seen)> {
        let Some(look) = self.history.later.get(later) else { return Vec::new() };
        let seen = look.seen.iter().enumerate();
        seen.filter_map(|(at, seen)| {
            seen.as_ref().ok().filter(|seen| seen.live).map(|seen| (at, seen))
        })
        .collect()
    }

    /// Where a cookie comes from, if no login lies between.
    fn root_of(&self, cookie: &str) -> Root {
        let mut cookie = cookie.to_owned();
        for _ in 0..16 {
            if self.history.second.as_deref().is_some_and(|second| same(second, &cookie)) {
                return Some('T');
            }
            let issue = self.history.issued.iter().find(|issue| same(&issue.value, &cookie))?;
            let Some(by) = issue.by else { return Some('S') };
            let record = &self.history.records[by];
            // Of two cookies it is not known which one was alive.
            let [own] = record.cookies.as_slice() else { return None };
            if !record.was_live() || !matches!(record.op.kind, Kind::Rotate) {
                return None;
            }
            cookie.clone_from(own);
        }
        None
    }

    fn root(&self, at: usize, seen: &Seen) -> Root {
        // A login may keep the handle and nothing else.
        let owned = seen.handle.is_some()
            && seen.handle == self.history.first_handle
            && !self.history.case.has(Kind::Login);
        mark(seen)
            .or_else(|| owned.then_some('S'))
            .or_else(|| self.root_of(&self.history.issued[at].value))
    }

    /// The session that a request worked on.
    fn root_of_record(&self, record: &Record) -> Root {
        let loaded = record.report.loaded.as_ref().filter(|loaded| loaded.live)?;
        mark(loaded).or_else(|| match record.cookies.as_slice() {
            [own] => self.root_of(own),
            _ => None,
        })
    }

    /// Whether any other operation may end or move a session.
    fn disturbed(&self, number: usize) -> bool {
        let kinds = self.history.records.iter().enumerate();
        kinds.filter(|(at, _)| *at != number).any(|(_, other)| {
            let kind = other.op.kind;
            other.started.is_some() && (kind.moves() || kind.ends() || kind.revokes())
        })
    }

    fn any_moves(&self) -> bool {
        self.disturbed(usize::MAX)
    }

    fn any_empties(&self) -> bool {
        self.history.case.has(Kind::Clear)
    }
}

/// Whether a session was emptied, and lives for another minute alone.
fn is_empty(seen: &Seen) -> bool {
    seen.owner.is_none() && seen.values.is_empty() && seen.flash.is_empty()
}

fn shape(line: Option<&Line>) -> &'static str {
    match line {
        Some(Line::Set(..)) => "set",
        Some(Line::Remove) => "remove",
        None => "none",
    }
}
