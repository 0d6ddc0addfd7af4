//! Whether values, tokens and messages are what was acknowledged.

use std::collections::BTreeMap;

use super::{Check, Root, mark};
use crate::client::Failure;
use crate::history::Record;
use crate::ops::{From, Kind};

impl Check<'_> {
    pub(super) fn tokens(&self) {
        let took =
            self.history.records.iter().filter(|record| record.report.took && record.acked());
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
        // A session that is being revoked may live and take no more writes, if the revocation was
        // cut short.
        let revoked = self.history.records.iter().any(|other| other.op.kind.revokes());
        (record.brought(cookie) && !revoked) || others.into_iter().all(|other| record.before(other))
    }

    pub(super) fn values(&self) {
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
                    Kind::TryUpdate => {
                        let own = seen.values.get("place").map(String::as_str)
                            == Some(&number.to_string());
                        Some(usize::from(own))
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

    pub(super) fn flash(&self) {
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
            let claims =
                history.records.iter().filter(|record| record.report.claimed.contains(&message));
            if claims.clone().count() > 1 {
                broken.push(("a message is claimed once", message.clone()));
            }
            for claim in claims.clone() {
                let again = history.records.iter().any(|other| {
                    self.knows(claim, other)
                        && (other.report.shown.contains(&message)
                            || other.report.claimed.contains(&message))
                });
                if again {
                    broken.push(("a claimed message is shown to nobody else", message.clone()));
                }
            }
            let shown = |record: &&Record| record.report.shown.contains(&message);
            for show in history.records.iter().filter(shown) {
                let again =
                    history.records.iter().any(|other| self.knows(show, other) && shown(&other));
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
                    shown(&record)
                        && record.acked()
                        && record.op.shows()
                        && self.quiet()
                        && !self.any_moves()
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
}
