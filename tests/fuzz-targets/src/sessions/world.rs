//! What the model's store holds: records under ids, alive until some time, or ended.

use super::content::Content;

/// How long an emptied record and a tombstone are kept.
const MINUTE: u64 = 60;

pub(super) type Id = usize;

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) records: Vec<Record>,
    pub(super) now: u64,
    serial: u64,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) seen: Seen,
    pub(super) state: State,
    /// `name=value`, once a browser was told.
    pub(super) cookie: Option<String>,
}

/// A record as a request saw it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) content: Content,
    /// The deadline that it was written with.
    until: u64,
    /// Which of its writes this is.
    version: u64,
}

impl Seen {
    pub(super) fn of_nothing(content: Content) -> Self {
        Self { content, ..Self::default() }
    }

    pub(super) fn deadline(&self) -> u64 {
        self.until.min(self.content.deadline())
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        self.content.is_due(self.until, now)
    }
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

    /// A session that is alive.
    pub(super) fn live(&self, id: Id) -> Option<&Seen> {
        let record = &self.records[id];
        let alive = record.state == State::Live && self.now < record.seen.deadline();
        alive.then_some(&record.seen)
    }

    /// Whether the browser of this id was told something newer, and that is still known.
    pub(super) fn is_superseded(&self, id: Id) -> bool {
        matches!(self.records[id].state, State::Ended { until } if self.now < until)
    }

    /// Whether nobody wrote since.
    pub(super) fn is_latest(&self, id: Id, seen: &Seen) -> bool {
        self.records[id].state == State::Live && self.records[id].seen.version == seen.version
    }

    /// A session that begins or goes on under a new id.
    pub(super) fn create(&mut self, content: Content) -> Id {
        let seen = Seen { until: content.deadline(), content, version: 0 };
        self.records.push(Record { seen, state: State::Live, cookie: None });
        self.records.len() - 1
    }

    pub(super) fn write(&mut self, id: Id, content: Content) {
        let until = if content.is_empty() { self.now + MINUTE } else { content.deadline() };
        let version = self.records[id].seen.version + 1;
        self.records[id].seen = Seen { content, until, version };
    }

    /// A read that moves the idle deadline, if that is due and nobody wrote since.
    pub(super) fn refresh(&mut self, id: Id, seen: &Seen) {
        let alive = self.now < seen.deadline() && self.is_latest(id, seen);
        if alive && !seen.content.is_empty() && seen.is_due(self.now) {
            self.write(id, Content { touched: self.now, ..seen.content.clone() });
        }
    }

    pub(super) fn end(&mut self, id: Id) {
        if self.records[id].state == State::Live {
            self.records[id].state = State::Ended { until: self.now + MINUTE };
        }
    }
}
