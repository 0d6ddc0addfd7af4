//! Whether responses say what is so, and browsers keep their sessions.

use super::{Check, is_empty, shape};
use crate::client::{Failure, IDLE, Line, REFRESH};
use crate::history::Record;
use crate::ops::{From, Keys, Kind, Setup};
use crate::text::Act;

impl Check<'_> {
    pub(super) fn responses(&self) {
        let history = self.history;
        let full = history.trace.iter().filter(|step| step.act == Act::Full).count() > 1;
        for (number, record) in history.records.iter().enumerate() {
            let kind = record.op.kind;
            if let Some(failure) = record.failed().filter(|_| self.quiet()) {
                let excused = match failure {
                    Failure::Gone => {
                        self.disturbed(number)
                            || history.jumped
                            || self.any_empties()
                            || !record.was_live()
                    }
                    // Where writes may be repeated it is not always known which were done.
                    Failure::Ambiguous => history.case.repeats,
                    Failure::Conflict => {
                        matches!(kind, Kind::Take | Kind::TakeCommit | Kind::TryUpdate)
                    }
                    Failure::InvalidInput if kind == Kind::TryUpdate => {
                        history.records.iter().filter(|other| other.op.kind == kind).count() > 1
                    }
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
                let done = other.acked() && other.op.from != From::Old && self.knows(other, record);
                // Of a session that was revoked its browser knows nothing.
                let revoked = history.records.iter().any(|other| other.op.kind.revokes());
                // An engine that takes no tombstone, twice, has deleted the record.
                let ends = other.op.kind.ends() && other.was_live() && !revoked && !full;
                let moves = other.op.kind.moves()
                    && other.was_live()
                    && other.new_cookie().is_some()
                    && !revoked;
                done && (ends || moves) && other.cookies.iter().any(|own| record.brought(own))
            });
            let login = matches!(kind, Kind::Login | Kind::LoginOther);
            let one = record.cookies.len() == 1;
            if superseded && !login && one && !history.jumped && record.report.line.is_some() {
                let seen =
                    format!("operation {}: {:?}", number + 1, shape(record.report.line.as_ref()));
                self.break_("a superseded request sends no cookie line", seen);
            }
            let mere =
                matches!(kind, Kind::Read | Kind::Show | Kind::Touch) && record.op.status == 304;
            if mere && record.report.line.is_some() && history.case.keys == Keys::None {
                self.break_("a 304 brings no cookie line", format!("operation {}", number + 1));
            }
            if let Some(Line::Set(value, Some(age))) = &record.report.line {
                let told = record.finished_at + age * 1_000;
                let early = self.seen(0, value).is_some_and(|seen| {
                    seen.live && !is_empty(seen) && seen.expires + 1_000 < told
                });
                if early && !history.case.has(Kind::Remember) {
                    let seen = format!("operation {}", number + 1);
                    self.break_("a cookie does not outlive its record", seen);
                }
            }
            let bye =
                matches!(kind, Kind::Bye | Kind::AllBye) && record.acked() && record.was_live();
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

    /// Whether a process wrote something that another process wrote over.
    fn wrote_before(&self, first: u8, second: u8) -> bool {
        let writes = &self.history.writes;
        // In a migration the second may have written it in the other engine.
        writes.iter().enumerate().any(|(at, (process, key))| {
            let over = |(by, what): &(u8, _)| by == &second && what == key;
            process == &first && writes[at + 1..].iter().any(over)
        })
    }

    pub(super) fn browsers(&self) {
        let history = self.history;
        let asked = history.records.iter().any(|record| {
            let kind = record.op.kind;
            kind.ends() || kind.revokes() || matches!(kind, Kind::LoginOther | Kind::Clear)
        });
        if !self.quiet() || history.jumped || history.reordered || asked {
            return;
        }
        // What was written before the id changed may be answered after it. A deadline that was
        // moved in silence is told without a write, so its line may cross the one of a new id as
        // well.
        let silent = history.case.age >= REFRESH
            || history
                .records
                .iter()
                .any(|record| matches!(record.op.kind, Kind::Touch | Kind::Detach));
        let overtaken = history.records.iter().any(|record| {
            let told =
                matches!(&record.report.line, Some(Line::Set(value, _)) if record.brought(value));
            told && history.records.iter().filter(|other| other.op.kind.moves()).any(|mover| {
                (silent && !self.knows(mover, record))
                    || self.wrote_before(record.op.process, mover.op.process)
            })
        });
        // A login that begins afresh, because its own cookie was superseded before it was loaded or
        // while it was written, knows nothing of the successor: which of two lines the browser gets
        // last is the network's to decide.
        let crossed = history.records.iter().enumerate().any(|(at, login)| {
            let shared = |other: &Record| login.cookies.iter().any(|own| other.brought(own));
            let lost = || {
                login.new_cookie().is_some()
                    && history.records.iter().enumerate().any(|(other, mover)| {
                        let moved = mover.op.kind.moves() && mover.new_cookie().is_some();
                        other != at && moved && shared(mover)
                    })
            };
            let afresh =
                login.op.kind.moves() && !login.cookies.is_empty() && (!login.was_live() || lost());
            afresh
                && history.records.iter().enumerate().any(|(other, record)| {
                    let sets = matches!(record.report.line, Some(Line::Set(..)));
                    other != at && sets && !record.before(login)
                })
        });
        if overtaken || crossed {
            return;
        }
        // A tombstone lies for a minute; after that an old cookie is anybody's.
        let old = history.records.iter().any(|record| record.op.from == From::Old);
        if old && history.case.age > 30 {
            return;
        }
        let login = history.records.iter().any(|record| {
            let own = matches!(record.op.from, From::Jar | From::Two)
                || (record.op.from == From::Nobody && history.case.setup == Setup::Empty);
            record.op.kind == Kind::Login && record.acked() && own
        });
        // A response that was made before the cookie was to end with the browser may come after the
        // one that says so.
        let forgets = history.case.has(Kind::Forget) && history.records.len() > 1;
        if history.dropped && !forgets {
            self.break_("a session in use stays alive", String::from("the first browser lost it"));
        }
        let owned = matches!(
            history.case.setup,
            Setup::User | Setup::Devices | Setup::Rotated | Setup::Stale
        );
        if history.case.age >= IDLE && !login {
            return;
        }
        let two = history.records.iter().any(|record| record.op.from == From::Two);
        if (history.case.setup == Setup::Empty || two) && !login {
            return;
        }
        // A browser without a cookie cannot be known again: what it writes beside its login is
        // another stranger's.
        let strangers = history.records.iter().any(|record| record.cookies.is_empty());
        if strangers && history.records.iter().any(|record| record.op.kind != Kind::Login) {
            return;
        }
        let seen = history.jars[0].as_deref().and_then(|jar| self.seen(0, jar));
        let fine =
            seen.is_some_and(|seen| seen.live && (seen.owner.is_some() || !(owned || login)));
        if !fine {
            self.break_(
                "nobody is logged out who did not ask for it",
                String::from("the first browser"),
            );
        }
    }
}
