//! What a request has read of the flash, and so will consume.

use crate::error::Result;
use crate::record::message::{FlashId, Level, Message};
use crate::record::waiting::Waiting;
use crate::session::change::{self, Change};
use crate::session::state::State;
use crate::values::Encoded;

/// One request's reading of the flash.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The messages that waited when they were first read; what a second read gets again.
    pub(crate) inbox: Option<Vec<Message>>,
    /// Messages for this request alone.
    pub(crate) now: Vec<Message>,
    pub(crate) keep_all: bool,
    pub(crate) keep_levels: Vec<Level>,
    pub(crate) dropped: usize,
    /// What this request claimed: its own, however often it asks.
    pub(crate) claimed: Vec<FlashId>,
    /// What was shown: consumed if the response is one that a page is seen of.
    read: Vec<FlashId>,
    /// The data that were taken; what a second read gets again.
    pub(crate) taken: Vec<(String, FlashId, Encoded)>,
    /// What this request pushed and has committed: not for its own eyes.
    pushed: Vec<FlashId>,
}

impl Reading {
    pub(crate) fn mark(&mut self, id: FlashId) {
        if !self.read.contains(&id) {
            self.read.push(id);
        }
    }

    /// Notes what a commit of this request has pushed.
    pub(crate) fn pushed(&mut self, ids: Vec<FlashId>) {
        self.pushed.extend(ids);
    }

    /// Notes how much a commit of this request has dropped.
    pub(crate) fn dropped(&mut self, count: usize) {
        self.dropped += count;
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
                .any(|message| message.id() == id && self.keep_levels.contains(&message.level()))
        };
        waiting.ids().filter(|id| self.read.contains(id) && !kept(*id)).collect()
    }

    /// Forgets what was read: the session it was read from is not this request's any more.
    pub(crate) fn forget(&mut self) {
        self.inbox = None;
        self.read.clear();
        self.taken.clear();
        self.claimed.clear();
    }
}

impl State {
    /// The messages that earlier requests pushed.
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

    /// The data that an earlier request left in this slot.
    pub(crate) fn visible_data(&self, slot: &str) -> Option<(FlashId, Encoded)> {
        let taken = self.flash.taken.iter().find(|(own, ..)| own == slot);
        if let Some((_, id, data)) = taken {
            return Some((*id, data.clone()));
        }
        let (id, data) = self.shown_flash()?.data(slot)?;
        let hidden = self.flash.pushed.contains(&id) || self.is_dropped(id);
        if hidden { None } else { Some((id, data.clone())) }
    }

    /// Consumes what was handed out, whatever page the response is.
    pub(crate) fn consume(&mut self, mut ids: Vec<FlashId>) -> Result<()> {
        let waiting = &self.view.flash;
        ids.retain(|id| waiting.ids().any(|here| here == *id));
        if ids.is_empty() { Ok(()) } else { self.change(Change::Drop(ids)) }
    }

    /// Consumes these data, and notes them for a second read in this request.
    pub(crate) fn take_data(&mut self, slot: &str, id: FlashId, data: Encoded) -> Result<()> {
        self.consume(vec![id])?;
        if !self.flash.taken.iter().any(|(own, ..)| own == slot) {
            self.flash.taken.push((slot.to_owned(), id, data));
        }
        Ok(())
    }

    /// The flash as it was before this request's changes; nothing if the session is another owner's
    /// by now.
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
