//! What must hold of every run: the promises, asked from outside.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::client::{Failure, Line, Outcome, Seen};
use crate::history::{History, Record};
use crate::ops::{From, Kind, Setup};

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
    check.browsers();
    check.found.into_inner()
}

impl Record {
    /// Whether its response says that it was done.
    pub fn acked(&self) -> bool {
        self.report.outcome == Some(Outcome::Answered) && (self.op.commits() || self.op.kind.is_admin())
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

    fn new_cookie(&self) -> Option<&str> {
        match &self.report.line {
            Some(Line::Set(value, _)) if !self.cookies.contains(value) => Some(value),
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

    fn quiet(&self) -> bool {
        self.history.faults == 0
    }

    /// The name of a cookie in a report: its place in the order of issue.
    fn name(&self, value: &str) -> String {
        match self.history.issued.iter().position(|issue| issue.value == value) {
            Some(at) => format!("cookie {at}"),
            None => String::from("an unknown cookie"),
        }
    }

    fn seen(&self, later: usize, cookie: &str) -> Option<&Seen> {
        let at = self.history.issued.iter().position(|issue| issue.value == cookie)?;
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
        seen.filter_map(|(at, seen)| seen.as_ref().ok().filter(|seen| seen.live).map(|seen| (at, seen)))
            .collect()
    }

    /// Where a cookie comes from, if no login lies between.
    fn root_of(&self, cookie: &str) -> Root {
        let mut cookie = cookie.to_owned();
        for _ in 0..16 {
            if self.history.second.as_deref() == Some(&cookie) {
                return Some('T');
            }
            let issue = self.history.issued.iter().find(|issue| issue.value == cookie)?;
            let Some(by) = issue.by else { return Some('S') };
            let record = &self.history.records[by];
            if !record.was_live() || !matches!(record.op.kind, Kind::Rotate) {
                return None;
            }
            cookie.clone_from(record.cookies.first()?);
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
        mark(loaded).or_else(|| record.cookies.iter().find_map(|own| self.root_of(own)))
    }

    fn readable(&self) {
        let errors: Vec<_> = self
            .history
            .later
            .iter()
            .flat_map(|look| {
                let seen = look.seen.iter().filter_map(|seen| seen.as_ref().err());
                seen.chain(look.listed.iter().filter_map(|listed| listed.as_ref().err()))
            })
            .copied()
            .chain(self.history.revoke_failed.iter().copied())
            .collect();
        if let Some(kind) = errors.first() {
            self.break_("what is stored can be read", format!("{kind:?}"));
        }
        for later in 1..self.looks() {
            for at in 0..self.history.issued.len() {
                let value = &self.history.issued[at].value;
                if self.is_live(later, value) && !self.is_live(later - 1, value) {
                    self.break_("what is dead stays dead", format!("cookie {at} is alive again"));
                }
            }
        }
        if self.quiet() && self.history.left > 0 {
            let left = self.history.left;
            self.break_("nothing is stored that nobody can reach", format!("{left} entries are left"));
        }
    }

    fn final_ends(&self) {
        for (number, record) in (1..).zip(&self.history.records) {
            if !record.acked() || !record.op.kind.ends() {
                continue;
            }
            let two = record.op.from == From::Two;
            if !record.was_live() && !two {
                continue;
            }
            let roots: Vec<Root> =
                record.cookies.iter().map(|cookie| self.root_of(cookie)).filter(Option::is_some).collect();
            for later in 0..self.looks() {
                for (at, seen) in self.live(later) {
                    let same = record.cookies.contains(&self.history.issued[at].value);
                    let handle = seen.handle.is_some()
                        && !self.history.case.has(Kind::Login)
                        && seen.handle == record.report.loaded.as_ref().and_then(|seen| seen.handle.clone());
                    if same || handle || roots.contains(&mark(seen)) {
                        self.break_("logout is final", format!("cookie {at} is alive after operation {number}"));
                    }
                }
            }
        }
    }

    fn listed(&self) {
        for later in 0..self.looks() {
            let Some(look) = self.history.later.get(later) else { continue };
            for (at, seen) in self.live(later) {
                let Some(owner) = &seen.owner else { continue };
                let listed = &look.listed[usize::from(owner == "v")];
                let Ok(listed) = listed else { continue };
                let is = seen.handle.as_ref().is_some_and(|handle| listed.contains(handle));
                if !is {
                    let seen = format!("cookie {at} is alive and not listed ({later})");
                    self.break_("what lives is listed", seen);
                }
            }
            let live = self.live(later);
            let twice = live.iter().enumerate().any(|(at, (_, seen))| {
                seen.handle.is_some() && live[..at].iter().any(|(_, other)| other.handle == seen.handle)
            });
            if twice {
                self.break_("a handle names one session", String::from("two live ones have the same"));
            }
            if self.quiet() && later == 0 {
                for listed in look.listed.iter().filter_map(|listed| listed.as_ref().ok()).flatten() {
                    let lives = self.live(0).iter().any(|(_, seen)| seen.handle.as_ref() == Some(listed));
                    if !lives {
                        let seen = String::from("an entry without a session");
                        self.break_("what is listed lives", seen);
                    }
                }
            }
        }
        let last = self.looks();
        for (at, seen) in self.live(last) {
            if seen.owner.is_some() {
                let seen = format!("cookie {at} is alive");
                self.break_("nothing survives a final revoke_all", seen);
            }
        }
    }

    /// The operation that logged a session in last; `None` for the setup, `Err` where that cannot be told.
    fn login_of(&self, at: usize, seen: &Seen) -> Result<Option<usize>, ()> {
        if let Some(by) = seen.values.get("by").and_then(|by| by.parse().ok()) {
            return Ok(Some(by));
        }
        let logins = self.history.case.has(Kind::Login);
        if mark(seen).is_some() || !logins || self.root_of(&self.history.issued[at].value).is_some() {
            return Ok(None);
        }
        Err(())
    }

    fn revoked(&self) {
        for (number, record) in (1..).zip(&self.history.records) {
            if !record.acked() || !record.op.kind.revokes() {
                continue;
            }
            let loaded = record.report.loaded.as_ref();
            let own = loaded.and_then(|seen| seen.handle.clone());
            let by_user = matches!(record.op.kind, Kind::Others | Kind::AllBye);
            if by_user && loaded.and_then(|seen| seen.owner.as_deref()) != Some("u") {
                continue;
            }
            for later in 0..self.looks() {
                for (at, seen) in self.live(later) {
                    if seen.owner.as_deref() != Some("u") {
                        continue;
                    }
                    let meant = match record.op.kind {
                        Kind::Revoke => seen.handle == self.history.first_handle,
                        Kind::Others => seen.handle != own,
                        _ => true,
                    };
                    let earlier = match self.login_of(at, seen) {
                        Ok(None) => true,
                        Ok(Some(by)) => {
                            self.history.records.get(by).is_some_and(|login| login.before(record))
                        }
                        Err(()) => false,
                    };
                    if meant && earlier {
                        let seen = format!("cookie {at} is alive after operation {number} ({later})");
                        self.break_("revocation is final", seen);
                    }
                }
            }
        }
    }

    /// Whether any other operation may end or move a session.
    fn disturbed(&self, number: usize) -> bool {
        let kinds = self.history.records.iter().enumerate();
        kinds.filter(|(at, _)| *at != number).any(|(_, other)| {
            let kind = other.op.kind;
            other.started.is_some() && (kind.moves() || kind.ends() || kind.revokes())
        })
    }

    fn moved(&self) {
        for (number, record) in self.history.records.iter().enumerate() {
            let login = matches!(record.op.kind, Kind::Login | Kind::LoginOther);
            if !record.acked() || !record.op.kind.moves() {
                continue;
            }
            let new = record.new_cookie();
            if login && new.is_none() {
                let seen = format!("operation {} was answered and brought no cookie", number + 1);
                self.break_("a login that was dropped is an error", seen);
                continue;
            }
            let Some(new) = new else {
                let fine = self.quiet() && !self.history.jumped && !self.any_empties();
                if record.was_live() && fine && !self.disturbed(number) {
                    let seen = format!("operation {} brought no cookie", number + 1);
                    self.break_("a rotation that nobody disturbs is done", seen);
                }
                continue;
            };
            if !self.is_live(0, new) && !self.disturbed(number) {
                let seen = format!("the new {} is dead", self.name(new));
                self.break_("a new id lives", seen);
            }
            for later in 0..self.looks() {
                for old in record.cookies.iter().filter(|old| self.is_live(later, old)) {
                    let seen = format!("{} is alive after operation {}", self.name(old), number + 1);
                    self.break_("an old id is dead", seen);
                }
            }
        }
    }

    fn tokens(&self) {
        let took = self.history.records.iter().filter(|record| record.report.took && record.acked());
        let mut by_root = BTreeMap::new();
        for record in took {
            let root = record.report.loaded.as_ref().and_then(mark);
            *by_root.entry(root).or_insert(0) += 1;
        }
        if by_root.values().any(|count| *count > 1) {
            self.break_("a token is taken once", String::from("two were answered with it"));
        }
    }

    /// Whether a change that was acknowledged must be in the session with this cookie.
    fn must_be_in(&self, record: &Record, cookie: &str) -> bool {
        if self.history.case.has(Kind::Clear) {
            return false;
        }
        if let Some(committed) = record.report.committed {
            return committed.is_ok();
        }
        if !record.acked() {
            return false;
        }
        let others = self.history.records.iter().filter(|other| {
            let kind = other.op.kind;
            other.started.is_some() && (kind.moves() || kind.ends() || kind.revokes())
        });
        // A session that is being revoked may live and take no more writes, if the revocation was cut short.
        let revoked = self.history.records.iter().any(|other| other.op.kind.revokes());
        (record.cookies.iter().any(|own| own == cookie) && !revoked)
            || others.into_iter().all(|other| record.before(other))
    }

    fn values(&self) {
        let history = self.history;
        for (at, seen) in self.live(0) {
            let cookie = history.issued[at].value.as_str();
            let Some(root) = self.root(at, seen) else { continue };
            let of_root = |record: &&Record| self.root_of_record(record) == Some(root);
            let list = seen.values.get("l").map(String::as_str).unwrap_or_default();
            let items: Vec<&str> = list
                .trim_matches(|c| c == '[' || c == ']')
                .split(',')
                .filter(|item| !item.is_empty())
                .collect();
            let (mut least, mut most) = (0, 0);
            let mut broken = Vec::new();
            for (number, record) in history.records.iter().enumerate() {
                if !of_root(&record) {
                    continue;
                }
                let must = self.must_be_in(record, cookie);
                let is = match record.op.kind {
                    Kind::Write | Kind::Commit | Kind::Detach => {
                        if record.op.kind == Kind::Detach && record.report.committed.is_none() {
                            continue;
                        }
                        Some(usize::from(seen.values.contains_key(&format!("k{number}"))))
                    }
                    Kind::Modify => {
                        Some(items.iter().filter(|item| **item == number.to_string()).count())
                    }
                    Kind::Update | Kind::Count => {
                        least += usize::from(must);
                        most += usize::from(!record.never());
                        None
                    }
                    _ => None,
                };
                let Some(is) = is else { continue };
                let said = format!("operation {} in cookie {at}: {is} times", number + 1);
                if is > 1 {
                    broken.push(("nothing is applied twice", said));
                } else if is == 0 && must {
                    broken.push(("no acknowledged update is lost", said));
                } else if is == 1 && record.never() {
                    broken.push(("what failed was not done", said));
                }
            }
            let count = seen.values.get("n").and_then(|n| n.parse::<usize>().ok());
            if let Some(count) = count.filter(|_| !history.case.has(Kind::Clear)) {
                let said = format!("the counter of cookie {at} is {count}, not {least} to {most}");
                if count < least {
                    broken.push(("no acknowledged update is lost", said));
                } else if count > most {
                    broken.push(("nothing is applied twice", said));
                }
            }
            for (rule, seen) in broken {
                self.break_(rule, seen);
            }
        }
        for (number, record) in history.records.iter().enumerate() {
            // A stranger's write begins a session.
            if record.op.kind != Kind::Write || !record.acked() || record.was_live() {
                continue;
            }
            match record.new_cookie() {
                Some(new) => {
                    let has = self.seen(0, new).is_some_and(|seen| {
                        seen.live && seen.values.contains_key(&format!("k{number}"))
                    });
                    if !has && !self.disturbed(number) && !history.case.has(Kind::Clear) {
                        let seen = format!("the new session of operation {}", number + 1);
                        self.break_("no acknowledged update is lost", seen);
                    }
                }
                None if record.op.from == From::Nobody => {
                    let seen = format!("operation {} brought no cookie", number + 1);
                    self.break_("a stranger's write begins a session", seen);
                }
                None => {}
            }
        }
    }

    fn flash(&self) {
        let history = self.history;
        let mut pushed: Vec<(String, Root, bool)> =
            vec![(String::from("mS"), Some('S'), true), (String::from("mT"), Some('T'), true)];
        for (number, record) in history.records.iter().enumerate() {
            if record.op.kind == Kind::Push && record.was_live() && record.acked() {
                let root = self.root_of_record(record);
                let cookie = record.cookies.first().cloned().unwrap_or_default();
                // An acknowledged push that a rotation overtook may have been dropped.
                let revoked = history.records.iter().any(|other| other.op.kind.revokes());
                let sure = !self.disturbed(number) || (self.is_live(0, &cookie) && !revoked);
                pushed.push((format!("p{number}"), root, sure));
            }
        }
        let mut broken = Vec::new();
        for (message, root, sure) in pushed {
            let claims = history.records.iter().filter(|record| record.report.claimed.contains(&message));
            if claims.clone().count() > 1 {
                broken.push(("a message is claimed once", message.clone()));
            }
            for claim in claims.clone() {
                let again = history.records.iter().any(|other| {
                    claim.before(other)
                        && (other.report.shown.contains(&message) || other.report.claimed.contains(&message))
                });
                if again {
                    broken.push(("a claimed message is shown to nobody else", message.clone()));
                }
            }
            let shown = |record: &&Record| record.report.shown.contains(&message);
            for show in history.records.iter().filter(shown) {
                let again = history.records.iter().any(|other| show.before(other) && shown(&other));
                if again && self.quiet() && show.acked() && show.op.shows() && !self.any_moves() {
                    broken.push(("a message is shown once", message.clone()));
                }
            }
            for (at, seen) in self.live(0) {
                if root.is_none() || self.root(at, seen) != root {
                    continue;
                }
                let there = seen.flash.contains(&message);
                if there && claims.clone().next().is_some() {
                    broken.push(("a claimed message is shown to nobody else", message.clone()));
                }
                let consumed = history.records.iter().any(|record| match record.op.kind {
                    Kind::Show => {
                        record.op.shows()
                            && (record.gone || !record.never())
                            && (record.gone || record.report.shown.contains(&message))
                    }
                    Kind::Claim => {
                        record.report.claimed.contains(&message)
                            || record.gone
                            || matches!(
                                record.failed(),
                                Some(Failure::Ambiguous | Failure::Timeout | Failure::Internal)
                            )
                    }
                    _ => false,
                });
                if !there && sure && !consumed {
                    broken.push(("a message waits until it is shown", message.clone()));
                }
                let surely = history.records.iter().any(|record| {
                    shown(&record) && record.acked() && record.op.shows() && self.quiet() && !self.any_moves()
                });
                if there && surely {
                    broken.push(("a message is shown once", message.clone()));
                }
            }
        }
        for (rule, seen) in broken {
            self.break_(rule, seen);
        }
    }

    fn any_moves(&self) -> bool {
        self.disturbed(usize::MAX)
    }

    fn responses(&self) {
        let history = self.history;
        for (number, record) in history.records.iter().enumerate() {
            let kind = record.op.kind;
            if let Some(failure) = record.failed().filter(|_| self.quiet()) {
                let excused = match failure {
                    Failure::Gone => self.disturbed(number) || history.jumped || self.any_empties(),
                    Failure::Conflict => matches!(kind, Kind::Take | Kind::TakeCommit),
                    // A user who is nobody any more has no others.
                    Failure::InvalidInput => kind == Kind::Others,
                    _ => false,
                };
                if !excused {
                    let seen = format!("operation {}: {failure:?}", number + 1);
                    self.break_("without faults nothing fails", seen);
                }
            }
            // What was ended or moved before it began: it is nobody, and its browser knows better.
            let superseded = history.records.iter().any(|other| {
                let done = other.acked() && other.op.from != From::Old && other.before(record);
                // Of a session that was revoked its browser knows nothing.
                let revoked = history.records.iter().any(|other| other.op.kind.revokes());
                let ends = other.op.kind.ends() && other.was_live() && !revoked;
                let moves = other.op.kind.moves() && other.was_live() && other.new_cookie().is_some();
                done && (ends || moves) && other.cookies.iter().any(|own| record.cookies.contains(own))
            });
            let login = matches!(kind, Kind::Login | Kind::LoginOther);
            let one = record.cookies.len() == 1;
            if superseded && !login && one && !history.jumped && record.report.line.is_some() {
                let seen = format!("operation {}: {:?}", number + 1, shape(record.report.line.as_ref()));
                self.break_("a superseded request sends no cookie line", seen);
            }
            if let Some(Line::Set(value, Some(age))) = &record.report.line {
                let told = record.finished_at + age * 1_000;
                let early = self
                    .seen(0, value)
                    .is_some_and(|seen| seen.live && !is_empty(seen) && seen.expires + 1_000 < told);
                if early && !history.case.has(Kind::Remember) {
                    let seen = format!("operation {}", number + 1);
                    self.break_("a cookie does not outlive its record", seen);
                }
            }
            let bye = matches!(kind, Kind::Bye | Kind::AllBye) && record.acked() && record.was_live();
            if bye && self.quiet() && !self.disturbed(number) && !history.jumped {
                let message = format!("p{number}");
                let shown = history.records.iter().any(|other| {
                    other.report.shown.contains(&message) || other.report.claimed.contains(&message)
                });
                let waits = record
                    .new_cookie()
                    .and_then(|new| self.seen(0, new))
                    .is_some_and(|seen| seen.flash.contains(&message));
                if !waits && !shown {
                    let seen = format!("operation {}", number + 1);
                    self.break_("a message pushed after the logout waits in a new session", seen);
                }
            }
        }
    }

    fn any_empties(&self) -> bool {
        self.history.case.has(Kind::Clear)
    }

    fn browsers(&self) {
        let history = self.history;
        let asked = history.records.iter().any(|record| {
            let kind = record.op.kind;
            let elsewhere = kind.moves() && record.op.from == From::Old;
            kind.ends() || kind.revokes() || elsewhere || matches!(kind, Kind::LoginOther | Kind::Clear)
        });
        if !self.quiet() || history.jumped || history.reordered || asked {
            return;
        }
        let owned = matches!(
            history.case.setup,
            Setup::User | Setup::Devices | Setup::Rotated | Setup::Stale
        );
        let two = history.records.iter().any(|record| record.op.from == From::Two);
        let login = history.records.iter().any(|record| {
            let own = matches!(record.op.from, From::Jar | From::Two)
                || (record.op.from == From::Nobody && history.case.setup == Setup::Empty);
            record.op.kind == Kind::Login && record.acked() && own
        });
        if (history.case.setup == Setup::Empty && !login) || (two && !login) {
            return;
        }
        // A browser without a cookie cannot be known again: what it writes beside its login is another stranger's.
        let strangers = history.records.iter().any(|record| record.cookies.is_empty());
        if strangers && history.records.iter().any(|record| record.op.kind != Kind::Login) {
            return;
        }
        let seen = history.jars[0].as_deref().and_then(|jar| self.seen(0, jar));
        let fine = seen.is_some_and(|seen| seen.live && (seen.owner.is_some() || !(owned || login)));
        if !fine {
            self.break_("nobody is logged out who did not ask for it", String::from("the first browser"));
        }
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
