//! Whether a response speaks to its client in the way in which the request carried its session.

use super::{Check, shape};
use crate::client::{IDLE, Line, same};
use crate::history::Record;
use crate::ops::{By, From, Kind};

impl Check<'_> {
    pub(super) fn carried(&self) {
        for (number, record) in self.history.records.iter().enumerate() {
            let said = (shape(record.report.line.as_ref()), shape(record.report.beside.as_ref()));
            let said = format!("operation {}: {said:?}", number + 1);
            if !self.speaks_as_asked(record) {
                self.break_("a response is carried as its request was", said.clone());
            }
            let undisturbed =
                self.quiet() && !self.history.jumped && !self.disturbed(number) && record.acked();
            let ended = record.op.kind == Kind::Destroy && record.was_live();
            if ended && undisturbed && record.report.line != Some(Line::Remove) {
                self.break_("a client is told of its logout", said);
            }
            let two = record.op.from == From::Two && record.cookies.len() == 2;
            if two && undisturbed && record.was_live() && self.history.case.age < IDLE {
                let said = format!("operation {}", number + 1);
                self.break_("who brings two sessions is nobody", said);
            }
            let emptied = record.op.kind == Kind::Clear && record.report.line == Some(Line::Remove);
            if emptied && undisturbed && !self.any_moves() && !self.filled_and_told(record) {
                let said = format!("after operation {}", number + 1);
                self.break_("a client is told that its session was filled again", said);
            }
        }
    }

    /// Whether a client heard of the requests that filled the session that it emptied, if there
    /// are any.
    fn filled_and_told(&self, clear: &Record) -> bool {
        let filled = self.history.records.iter().enumerate().filter(|(number, record)| {
            let own = format!("k{number}");
            let holds =
                |cookie| self.seen(0, cookie).is_some_and(|it| it.values.contains_key(&own));
            // A detached handle has no response that could tell.
            record.op.kind != Kind::Detach
                && record.acked()
                && record.finished > clear.finished
                && record.cookies == clear.cookies
                && record.cookies.iter().any(|cookie| holds(cookie))
        });
        let mut told = filled.map(|(_, record)| matches!(record.report.line, Some(Line::Set(..))));
        told.next().is_none_or(|first| first || told.any(|told| told))
    }

    fn speaks_as_asked(&self, record: &Record) -> bool {
        let (line, beside) = (&record.report.line, &record.report.beside);
        match self.history.case.by(record.op.from) {
            By::Cookie | By::Token => beside.is_none(),
            // A client whose session is not known is a browser.
            By::Both if beside.is_none() => line.is_none() || !record.was_live(),
            By::Both | By::Each => match (line, beside) {
                (Some(Line::Set(cookie, _)), Some(Line::Set(token, _))) => same(cookie, token),
                (line, beside) => beside.is_none() || line == beside,
            },
        }
    }
}
