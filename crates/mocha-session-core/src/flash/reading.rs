//! What a request has read of the flash, and so will consume.

use super::message::{FlashId, Level, Message};
use super::waiting::Waiting;
use crate::session::change;
use crate::session::state::State;
use crate::values::Encoded;

/// One request's reading of the flash.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The messages that waited when they were first read; what a second read gets again.
    pub(super) inbox: Option<Vec<Message>>,
    /// Messages for this request alone.
    pub(super) now: Vec<Message>,
    pub(super) keep_all: bool,
    pub(super) keep_levels: Vec<Level>,
    pub(super) dropped: usize,
    /// What this request claimed: its own, however often it asks.
    pub(super) claimed: Vec<FlashId>,
    read: Vec<FlashId>,
    data: Vec<(String, FlashId, Encoded)>,
    /// What this request pushed and has committed: not for its own eyes.
    pushed: Vec<FlashId>,
}

impl Reading {
    pub(super) fn mark(&mut self, id: FlashId) {
        if !self.read.contains(&id) {
            self.read.push(id);
        }
    }

    /// Notes what a commit of this request has pushed.
    pub(crate) fn pushed(&mut self, ids: Vec<FlashId>) {
        self.pushed.extend(ids);
    }

    /// Whether anything was read that a response may consume.
    pub(crate) fn has_read(&self) -> bool {
        !self.read.is_empty()
    }

    /// What was read and is not kept, of what is there.
    pub(crate) fn consumed(&self, waiting: &Waiting) -> Vec<FlashId> {
        if self.keep_all || self.read.is_empty() {
            return Vec::new();
        }
        let kept = |id: FlashId| {
            waiting
                .messages()
                .iter()
                .any(|message| message.id == id && self.keep_levels.contains(&message.level()))
        };
        waiting.ids().filter(|id| self.read.contains(id) && !kept(*id)).collect()
    }

    /// Forgets what was read: the session it was read from is not this request's any more.
    pub(crate) fn forget(&mut self) {
        self.inbox = None;
        self.read.clear();
        self.data.clear();
        self.claimed.clear();
    }
}

impl State {
    /// The messages that earlier requests pushed.
    pub(super) fn visible_messages(&mut self) -> &[Message] {
        if self.flash.inbox.is_none() {
            let theirs = self.shown_flash().map(Waiting::messages).unwrap_or_default();
            let visible =
                theirs.iter().filter(|message| !self.flash.pushed.contains(&message.id)).cloned().collect();
            self.flash.inbox = Some(visible);
        }
        self.flash.inbox.as_deref().unwrap_or_default()
    }

    /// The data that an earlier request left in this slot.
    pub(super) fn visible_data(&mut self, slot: &str) -> Option<(FlashId, Encoded)> {
        let seen =
            self.flash.data.iter().find(|(own, ..)| own == slot).map(|(_, id, data)| (*id, data.clone()));
        if seen.is_some() {
            return seen;
        }
        let (id, data) = self.shown_flash()?.data(slot)?;
        let found = (id, data.clone());
        if self.flash.pushed.contains(&id) || self.is_dropped(id) {
            return None;
        }
        self.flash.data.push((slot.to_owned(), found.0, found.1.clone()));
        Some(found)
    }

    /// The flash as it was before this request's changes; nothing if the session is another owner's by now.
    fn shown_flash(&self) -> Option<&Waiting> {
        let before = self.before();
        let owner_changed = before
            .owner
            .as_ref()
            .is_some_and(|was| self.view.owner.as_ref().is_none_or(|is| is.name != was.name));
        if owner_changed { None } else { Some(&before.flash) }
    }

    fn is_dropped(&self, id: FlashId) -> bool {
        self.log.iter().any(|change| matches!(change, change::Change::Drop(ids) if ids.contains(&id)))
    }
}
