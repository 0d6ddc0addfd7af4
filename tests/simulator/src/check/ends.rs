//! Whether what ended stays ended, what has moved is dead, and what lives is listed.

use super::{Check, mark};
use crate::client::Seen;
use crate::history::Record;
use crate::ops::{From, Kind};

impl Check<'_> {
    pub(super) fn readable(&self) {
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
                let before = self.seen(later - 1, value).filter(|seen| seen.live);
                let now = self.history.later[later].now;
                if before.is_some_and(|seen| seen.expires > now) && !self.is_live(later, value) {
                    self.break_("what lives stays alive until it expires", format!("cookie {at}"));
                }
                if self.is_live(later, value) && before.is_none() {
                    self.break_("what is dead stays dead", format!("cookie {at} is alive again"));
                }
            }
        }
        // Only a request that began to write in time may have moved the deadline.
        for (at, issue) in
            self.history.issued.iter().enumerate().filter(|(_, issue)| issue.by.is_none())
        {
            let mut users =
                self.history.records.iter().filter(|record| record.brought(&issue.value));
            let expired = users.clone().any(Record::was_live)
                && users.all(|record| {
                    let loaded = record.report.loaded.as_ref().map_or(0, |loaded| loaded.expires);
                    loaded < record.finished_at
                });
            if expired && self.quiet() && self.is_live(0, &issue.value) {
                self.break_("what has expired is not revived", format!("cookie {at}"));
            }
        }
        // A migration keeps tombstones for longer than any session may live.
        if self.quiet() && self.history.left > 0 && !self.history.case.migrates() {
            let left = self.history.left;
            self.break_(
                "nothing is stored that nobody can reach",
                format!("{left} entries are left"),
            );
        }
    }

    pub(super) fn final_ends(&self) {
        for (number, record) in (1..).zip(&self.history.records) {
            if !record.acked() || !record.op.kind.ends() {
                continue;
            }
            // An anonymous session has no index that tells where a login took it, once its
            // tombstone is gone.
            let anonymous = record.report.loaded.as_ref().is_none_or(|seen| seen.handle.is_none());
            if self.history.jumped && anonymous && self.any_moves() {
                continue;
            }
            let two = record.op.from == From::Two;
            if !record.was_live() && !two {
                continue;
            }
            // Of two cookies one may have been moved on before this request looked.
            if two && self.history.records.iter().any(|other| other.op.kind.moves()) {
                continue;
            }
            let roots: Vec<char> =
                record.cookies.iter().filter_map(|cookie| self.root_of(cookie)).collect();
            for later in 0..self.looks() {
                for (at, seen) in self.live(later) {
                    let own = record.brought(&self.history.issued[at].value);
                    let handle = seen.handle.is_some()
                        && !self.history.case.has(Kind::Login)
                        && seen.handle
                            == record.report.loaded.as_ref().and_then(|seen| seen.handle.clone());
                    if own || handle || mark(seen).is_some_and(|root| roots.contains(&root)) {
                        self.break_(
                            "logout is final",
                            format!("cookie {at} is alive after operation {number}"),
                        );
                    }
                }
            }
        }
    }

    pub(super) fn listed(&self) {
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
                seen.handle.is_some()
                    && live[..at].iter().any(|(_, other)| other.handle == seen.handle)
            });
            if twice {
                self.break_(
                    "a handle names one session",
                    String::from("two live ones have the same"),
                );
            }
            if self.quiet() && later == 0 {
                for listed in look.listed.iter().filter_map(|listed| listed.as_ref().ok()).flatten()
                {
                    let lives =
                        self.live(0).iter().any(|(_, seen)| seen.handle.as_ref() == Some(listed));
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

    /// The operation that logged a session in last; `None` for the setup, `Err` where that cannot
    /// be told.
    fn login_of(&self, at: usize, seen: &Seen) -> Result<Option<usize>, ()> {
        if let Some(by) = seen.values.get("by").and_then(|by| by.parse().ok()) {
            return Ok(Some(by));
        }
        let logins = self.history.case.has(Kind::Login);
        if mark(seen).is_some() || !logins || self.root_of(&self.history.issued[at].value).is_some()
        {
            return Ok(None);
        }
        Err(())
    }

    pub(super) fn revoked(&self) {
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
                        let seen =
                            format!("cookie {at} is alive after operation {number} ({later})");
                        self.break_("revocation is final", seen);
                    }
                }
            }
        }
    }

    pub(super) fn moved(&self) {
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
                // What another request may have emptied is not worth an id.
                let holds = record.report.loaded.as_ref();
                let holds =
                    holds.is_some_and(|seen| seen.owner.is_some() || !seen.values.is_empty());
                let fine = self.quiet() && !self.history.jumped && !self.any_empties() && holds;
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
                    let seen =
                        format!("{} is alive after operation {}", self.name(old), number + 1);
                    self.break_("an old id is dead", seen);
                }
            }
        }
    }
}
