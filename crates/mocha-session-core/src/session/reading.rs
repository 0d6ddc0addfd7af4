//! Tracks the flash that a request has read, and that its response therefore consumes.

use crate::error::Result;
use crate::record::message::{FlashId, Level, Message};
use crate::record::waiting::Waiting;
use crate::session::change::{self, Change};
use crate::session::state::State;
use crate::values::Encoded;

/// The flash that a request has read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The messages of the first read. Later reads return them again.
    pub(crate) inbox: Option<Vec<Message>>,
    /// Messages for this request only.
    pub(crate) now: Vec<Message>,
    pub(crate) keep_all: bool,
    pub(crate) keep_levels: Vec<Level>,
    pub(crate) dropped: usize,
    /// The messages that this request claimed. Later claims return them again.
    pub(crate) claimed: Vec<FlashId>,
    /// The items that were read. They are consumed if the response shows a page.
    read: Vec<FlashId>,
    /// The data that were taken. Later reads return them again.
    pub(crate) taken: Vec<(String, FlashId, Encoded)>,
    /// The items that this request added and committed. It does not read them itself.
    pushed: Vec<FlashId>,
}

impl Reading {
    pub(crate) fn mark(&mut self, id: FlashId) {
        if !self.read.contains(&id) {
            self.read.push(id);
        }
    }

    /// Records the items that a commit of this request added.
    pub(crate) fn pushed(&mut self, ids: Vec<FlashId>) {
        self.pushed.extend(ids);
    }

    /// Records the number of items that a commit of this request dropped.
    pub(crate) fn dropped(&mut self, count: usize) {
        self.dropped += count;
    }

    /// Returns whether the request has read anything that a response may consume.
    pub(crate) fn has_read(&self) -> bool {
        !self.read.is_empty()
    }

    /// Returns the items of `waiting` that were read and are not kept.
    pub(crate) fn consumed(&self, waiting: &Waiting) -> Vec<FlashId> {
        if self.keep_all || self.read.is_empty() {
            return Vec::new();
        }
        let kept = |id: FlashId| {
            waiting
                .messages()
                .any(|message| message.id() == id && self.keep_levels.contains(&message.level()))
        };
        waiting.ids().filter(|id| self.read.contains(id) && !kept(*id)).collect()
    }

    /// Forgets what was read, because the request no longer has the session it was read from.
    pub(crate) fn forget(&mut self) {
        self.inbox = None;
        self.read.clear();
        self.taken.clear();
        self.claimed.clear();
    }
}

impl State {
    /// Returns the messages that earlier requests added.
    pub(crate) fn visible_messages(&mut self) -> &[Message] {
        if self.flash.inbox.is_none() {
            let theirs = self.shown_flash().into_iter().flat_map(Waiting::messages);
            let visible = theirs
                .filter(|message| !self.flash.pushed.contains(&message.id()))
                .cloned()
                .collect();
            self.flash.inbox = Some(visible);
        }
        self.flash.inbox.as_deref().unwrap_or_default()
    }

    /// Returns the data that an earlier request set in this slot.
    pub(crate) fn visible_data(&self, slot: &str) -> Option<(FlashId, Encoded)> {
        let taken = self.flash.taken.iter().find(|(own, ..)| own == slot);
        if let Some((_, id, data)) = taken {
            return Some((*id, data.clone()));
        }
        let (id, data) = self.shown_flash()?.data(slot)?;
        let hidden = self.flash.pushed.contains(&id) || self.is_dropped(id);
        if hidden { None } else { Some((id, data.clone())) }
    }

    /// Consumes these items, whatever the status of the response.
    pub(crate) fn consume(&mut self, mut ids: Vec<FlashId>) -> Result<()> {
        let waiting = &self.view.flash;
        ids.retain(|id| waiting.ids().any(|here| here == *id));
        if ids.is_empty() { Ok(()) } else { self.change(Change::Drop(ids)) }
    }

    /// Consumes these data, and keeps them for later reads in this request.
    pub(crate) fn take_data(&mut self, slot: &str, id: FlashId, data: Encoded) -> Result<()> {
        self.consume(vec![id])?;
        if !self.flash.taken.iter().any(|(own, ..)| own == slot) {
            self.flash.taken.push((slot.to_owned(), id, data));
        }
        Ok(())
    }

    /// Returns the flash as it was before this request's changes, or `None` if the session now has
    /// another owner.
    fn shown_flash(&self) -> Option<&Waiting> {
        let before = self.before();
        let owner_changed = before
            .owner
            .as_ref()
            .is_some_and(|was| self.view.owner.as_ref().is_none_or(|is| is.name != was.name));
        if owner_changed { None } else { Some(&before.flash) }
    }

    fn is_dropped(&self, id: FlashId) -> bool {
        change::dropped_ids(&self.log).contains(&id)
    }
}
