//! What the model's store holds: records under ids, alive until some time, or ended.

use super::content::Content;

/// Seconds, as all times of the model.
pub(super) const IDLE: u64 = 10_000;
pub(super) const ABSOLUTE: u64 = 50_000;
/// How long an emptied record and a tombstone are kept.
pub(super) const MINUTE: u64 = 60;

pub(super) type Id = usize;

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) records: Vec<Record>,
    pub(super) now: u64,
    serial: u64,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) content: Content,
    pub(super) state: State,
    /// It certainly lives before the first and certainly not from the second on: a refresh is throttled.
    pub(super) until: (u64, u64),
    /// Counts the writes that may have happened.
    pub(super) version: u64,
    /// `name=value`, once a browser was told.
    pub(super) cookie: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Live,
    /// By a request of its own browser, which is kept in mind until then.
    Ended {
        until: u64,
    },
    /// By somebody else.
    Revoked,
}

impl World {
    pub(super) fn starting_at(now: u64) -> Self {
        Self { now, ..Self::default() }
    }

    /// A number that was never drawn.
    pub(super) fn draw(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn is_alive(&self, id: Id) -> bool {
        let record = &self.records[id];
        record.state == State::Live && self.now < record.until.0
    }

    /// Whether the browser of this id was told something newer, and that is still known.
    pub(super) fn is_superseded(&self, id: Id) -> bool {
        matches!(self.records[id].state, State::Ended { until } if self.now < until)
    }

    /// A session that begins or goes on under a new id.
    pub(super) fn create(&mut self, content: Content, touched: u64) -> Id {
        let until = deadline(&content, touched);
        let record = Record { content, state: State::Live, until: (until, until), version: 0, cookie: None };
        self.records.push(record);
        self.records.len() - 1
    }

    pub(super) fn end(&mut self, id: Id) {
        if self.records[id].state == State::Live {
            self.records[id].state = State::Ended { until: self.now + MINUTE };
        }
    }

    /// A write in place, which moves the idle deadline if that is due.
    pub(super) fn write(&mut self, id: Id, next: Content) {
        let now = self.now;
        let record = &mut self.records[id];
        let before = record.content.clone();
        let latest = deadline(&next, now);
        let slack = idle(&before) / 10;
        if next.is_empty() {
            record.until = (latest.saturating_sub(slack).min(now + MINUTE), latest.min(now + MINUTE));
        } else if (next.remember, next.forgotten) == (before.remember, before.forgotten) {
            let (least, most) = record.until;
            record.until = (least.max(latest.saturating_sub(slack)), most.max(latest));
        } else {
            record.until = (latest, latest);
        }
        record.version += 1;
        record.content = next;
    }

    /// A read that moves the idle deadline if that is due; `surely` where nothing can be in its way.
    pub(super) fn refresh(&mut self, id: Id, surely: bool) {
        let now = self.now;
        let record = &mut self.records[id];
        if record.content.is_empty() {
            return;
        }
        let latest = deadline(&record.content, now);
        let slack = idle(&record.content) / 10;
        if surely {
            record.until.0 = record.until.0.max(latest.saturating_sub(slack));
        }
        record.until.1 = record.until.1.max(latest);
        record.version += 1;
    }

    /// Moves the clock, and on to where it is known of every session whether it lives.
    pub(super) fn advance(&mut self, seconds: u64) -> u64 {
        let before = self.now;
        self.now += seconds;
        while let Some(record) = self.records.iter().find(|record| {
            record.state == State::Live && (record.until.0..record.until.1).contains(&self.now)
        }) {
            self.now = record.until.1;
        }
        self.now - before
    }
}

fn idle(content: &Content) -> u64 {
    content.remember.unwrap_or(IDLE)
}

fn deadline(content: &Content, touched: u64) -> u64 {
    (touched + idle(content)).min(content.created + ABSOLUTE)
}
