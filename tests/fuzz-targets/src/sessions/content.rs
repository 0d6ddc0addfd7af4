//! The model's session content, and the changes that a request makes to it.

use std::collections::BTreeMap;

pub(super) const KEYS: [&str; 4] = ["a", "b", "c", "d"];
pub(super) const OWNERS: [&str; 2] = ["alice", "bob"];
pub(super) const SLOTS: [&str; 2] = ["", "form"];
/// In seconds, as all times of the model.
pub(super) const IDLE: u64 = 10_000;
pub(super) const ABSOLUTE: u64 = 50_000;
/// How many flash messages and data may wait.
pub(super) const FLASH_ITEMS: usize = 4;

/// What a session holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) values: BTreeMap<usize, u32>,
    pub(super) flash: Vec<Item>,
    pub(super) owner: Option<Owner>,
    pub(super) label: Option<u8>,
    pub(super) created: u64,
    /// When its idle deadline was last moved.
    pub(super) touched: u64,
    pub(super) remember: Option<u64>,
    pub(super) forgotten: bool,
}

/// Whose session it is, and which of theirs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Owner {
    pub(super) name: usize,
    pub(super) tag: u64,
}

/// A flash message, or data in a slot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) id: u64,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum What {
    Message { level: usize, text: u64 },
    Data { slot: usize, value: u64 },
}

/// What an update makes of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fun {
    Add(u32),
    Triple,
    /// Counts down, removes at one, and refuses what is a multiple of seven or not there.
    Spend,
}

/// A refusal, or something that another request took first.
#[derive(Debug)]
pub(super) struct Conflict;

impl Fun {
    pub(super) fn apply(self, value: Option<u32>) -> Result<Option<u32>, Conflict> {
        match (self, value) {
            (Self::Add(more), value) => Ok(Some(value.unwrap_or(0).wrapping_add(more))),
            (Self::Triple, value) => Ok(value.map(|value| value.wrapping_mul(3))),
            (Self::Spend, None) => Err(Conflict),
            (Self::Spend, Some(1)) => Ok(None),
            (Self::Spend, Some(value)) if value % 7 == 0 => Err(Conflict),
            (Self::Spend, Some(value)) => Ok(Some(value - 1)),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Set(usize, u32),
    Init(usize, u32),
    Remove(usize),
    Update(usize, Fun),
    Take(usize, u32),
    Clear,
    Label(Option<u8>),
    Remember { idle: Option<u64>, now: u64 },
    Login { name: usize, tag: u64, now: u64 },
    Push(Item),
    Drop(Vec<u64>),
    Claim(Vec<u64>),
}

impl Content {
    pub(super) fn new(now: u64) -> Self {
        Self { created: now, touched: now, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.flash.is_empty() && self.owner.is_none()
    }

    /// Whether both mean the same; when the idle deadline was moved is not part of it.
    pub(super) fn same(&self, other: &Self) -> bool {
        let meaning = |content: &Self| {
            let Self { values, flash, owner, label, created, touched: _, remember, forgotten } =
                content.clone();
            (values, flash, owner, label, created, remember, forgotten)
        };
        meaning(self) == meaning(other)
    }

    /// When it expires unless it is used.
    pub(super) fn deadline(&self) -> u64 {
        self.deadline_from(self.touched)
    }

    /// Whether using it now moves its deadline, by a tenth of its idle timeout at least.
    pub(super) fn is_due(&self, until: u64, now: u64) -> bool {
        let gain = self.deadline_from(now).saturating_sub(until.min(self.deadline()));
        gain > 0 && gain * 10 >= self.idle()
    }

    fn deadline_from(&self, touched: u64) -> u64 {
        (touched + self.idle()).min(self.created + ABSOLUTE)
    }

    fn idle(&self) -> u64 {
        self.remember.unwrap_or(IDLE)
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Item> {
        self.flash.iter().filter(|item| matches!(item.what, What::Message { .. }))
    }

    pub(super) fn data(&self, slot: usize) -> Option<(u64, u64)> {
        self.flash.iter().find_map(|item| match item.what {
            What::Data { slot: own, value } if own == slot => Some((item.id, value)),
            _ => None,
        })
    }

    fn apply(&mut self, change: &Change, before: &[Change]) -> Result<(), Conflict> {
        match change {
            Change::Set(key, value) => drop(self.values.insert(*key, *value)),
            Change::Init(key, value) => drop(self.values.entry(*key).or_insert(*value)),
            Change::Remove(key) => drop(self.values.remove(key)),
            Change::Update(key, fun) => match fun.apply(self.values.get(key).copied())? {
                Some(value) => drop(self.values.insert(*key, value)),
                None => drop(self.values.remove(key)),
            },
            Change::Take(key, value) => {
                if self.values.get(key) != Some(value) {
                    return Err(Conflict);
                }
                self.values.remove(key);
            }
            Change::Clear => self.values.clear(),
            Change::Label(label) => self.label = *label,
            Change::Remember { idle, now } => {
                (self.remember, self.forgotten) = (*idle, idle.is_none());
                self.touched = self.touched.max(*now);
            }
            Change::Login { name, tag, now } => {
                if self.owner.is_some_and(|owner| owner.name != *name) {
                    let pushed = pushed(before);
                    let kept =
                        self.flash.drain(..).filter(|item| pushed.contains(&item.id)).collect();
                    *self = Self { flash: kept, ..Self::default() };
                }
                (self.created, self.touched) = (*now, *now);
                self.owner.get_or_insert(Owner { name: *name, tag: *tag });
            }
            Change::Push(item) => {
                if let What::Data { slot, .. } = item.what {
                    self.flash.retain(
                        |old| !matches!(old.what, What::Data { slot: own, .. } if own == slot),
                    );
                }
                self.flash.push(item.clone());
                let most = self.flash.len().saturating_sub(FLASH_ITEMS);
                self.flash.drain(..most);
            }
            Change::Drop(ids) | Change::Claim(ids) => {
                self.flash.retain(|item| !ids.contains(&item.id));
            }
        }
        Ok(())
    }
}

/// What a log makes of a content.
pub(super) fn replay(base: &Content, log: &[Change]) -> Result<Content, Conflict> {
    let mut content = base.clone();
    for (at, change) in log.iter().enumerate() {
        content.apply(change, &log[..at])?;
    }
    Ok(content)
}

/// The identities of what a log pushed.
pub(super) fn pushed(log: &[Change]) -> Vec<u64> {
    log.iter()
        .filter_map(|change| match change {
            Change::Push(item) => Some(item.id),
            _ => None,
        })
        .collect()
}

pub(super) fn logs_in(log: &[Change]) -> Option<u64> {
    log.iter().rev().find_map(|change| match change {
        Change::Login { now, .. } => Some(*now),
        _ => None,
    })
}

/// Whether a log hands something out that must not be lost in silence.
pub(super) fn must_happen(log: &[Change]) -> bool {
    log.iter()
        .any(|change| matches!(change, Change::Take(..) | Change::Claim(_) | Change::Login { .. }))
}
