//! Flash: messages and data for the next page, consumed by the page that shows them and by nothing
//! else.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::handle::SessionData;
use crate::record::message::{Level, Message};
use crate::record::waiting::data_len;
use crate::session::change::Change;
use crate::session::state::take_back;
use crate::values;
use crate::values::wire::Text;

/// A session's flash messages and data.
///
/// Made for post/redirect/get: the handler of the POST pushes, the page after the redirect reads.
///
/// | what is read by | is consumed when the response goes out |
/// |---|---|
/// | [`messages`](Self::messages) | if its page is shown: not by 1xx, 204, 205, 3xx, 408, 5xx, HEAD or a prefetch |
/// | [`take`](Self::take), [`take_data`](Self::take_data), [`take_data_for`](Self::take_data_for) | if it commits: a redirect does, 408 and 5xx do not |
/// | [`claim`](Self::claim) | before: the call itself commits |
/// | [`peek`](Self::peek) | never |
///
/// Consuming removes what was read and nothing else, so a message pushed meanwhile by another
/// request is shown next time. Reading twice in a request returns the same.
///
/// ```
/// # let session = mocha_session_core::Session::in_memory()?;
/// let flash = session.flash();
/// flash.info("Saved")?.success("And mailed")?; // shown by the next request
/// flash.set_data(&70)?;
/// assert!(flash.messages().is_empty()); // not by this one
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Flash {
    session: SessionData,
}

impl Flash {
    pub(crate) fn new(session: SessionData) -> Self {
        Self { session }
    }

    /// Pushes a message of level `Debug`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn debug(&self, text: impl Into<String>) -> Result<&Self> {
        self.push(Message::new(Level::Debug, text))
    }

    /// Pushes a message of level `Info`: Mocha's `flash_info`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    #[doc(alias = "flash_info")]
    pub fn info(&self, text: impl Into<String>) -> Result<&Self> {
        self.push(Message::new(Level::Info, text))
    }

    /// Pushes a message of level `Success`: Mocha's `flash_success`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    #[doc(alias = "flash_success")]
    pub fn success(&self, text: impl Into<String>) -> Result<&Self> {
        self.push(Message::new(Level::Success, text))
    }

    /// Pushes a message of level `Warning`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn warning(&self, text: impl Into<String>) -> Result<&Self> {
        self.push(Message::new(Level::Warning, text))
    }

    /// Pushes a message of level `Error`: Mocha's `flash_error`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    #[doc(alias = "flash_error")]
    pub fn error(&self, text: impl Into<String>) -> Result<&Self> {
        self.push(Message::new(Level::Error, text))
    }

    /// Pushes a message. Below the configured minimum level it is ignored. Past the caps the oldest
    /// messages and data are dropped (see [`dropped`](Self::dropped)).
    ///
    /// # Errors
    /// `TooLarge` when the message alone exceeds the cap; else as
    /// [`SessionData::insert`].
    pub fn push(&self, message: Message) -> Result<&Self> {
        let inner = self.session.inner();
        let policy = &inner.shared.policy;
        if message.level() < policy.flash_minimum {
            return Ok(self);
        }
        check_size(message.encoded_len(), policy.flash.bytes)?;
        self.add(Change::Push(Box::new(message), policy.flash), None)
    }

    /// Logs what adds an item, over the data of this slot, and notes how many it pushed out.
    fn add(&self, change: Change, slot: Option<&str>) -> Result<&Self> {
        let mut state = self.session.inner().state();
        let replaced = slot.is_some_and(|slot| state.view.flash.data(slot).is_some());
        let before = state.view.flash.len() - usize::from(replaced);
        state.change(change)?;
        let dropped = before + 1 - state.view.flash.len();
        state.flash.dropped += dropped;
        drop(state);
        if dropped > 0 {
            tracing::warn!(dropped, "too much flash waits; the oldest was dropped");
        }
        Ok(self)
    }

    /// Shows a message in this request's reads alone.
    pub fn now(&self, level: Level, text: impl Into<String>) -> &Self {
        if level >= self.session.inner().shared.policy.flash_minimum {
            let message = Message::new(level, text);
            self.session.inner().state().flash.now.push(message);
        }
        self
    }

    /// The messages that wait, oldest first, then those of [`now`](Self::now). Reading marks them
    /// as shown.
    #[doc(alias = "get_flashed_messages")]
    pub fn messages(&self) -> Vec<Message> {
        let mut state = self.session.inner().state();
        let mut messages = state.visible_messages().to_vec();
        messages.iter().for_each(|message| state.flash.mark(message.id()));
        messages.extend(state.flash.now.iter().cloned());
        messages
    }

    /// Takes the messages of one level; the others stay. They are consumed also by a redirect, and
    /// [`keep`](Self::keep) does not keep them.
    ///
    /// # Errors
    /// As [`SessionData::insert`].
    pub fn take(&self, level: Level) -> Result<Vec<Message>> {
        let mut state = self.session.inner().state();
        let of_level = |message: &&Message| message.level() == level;
        let mut messages: Vec<_> =
            state.visible_messages().iter().filter(of_level).cloned().collect();
        state.consume(messages.iter().map(Message::id).collect())?;
        messages.extend(state.flash.now.iter().filter(of_level).cloned());
        Ok(messages)
    }

    /// The messages that wait, without marking them as shown.
    pub fn peek(&self) -> Vec<Message> {
        let mut state = self.session.inner().state();
        let mut messages = state.visible_messages().to_vec();
        messages.extend(state.flash.now.iter().cloned());
        messages
    }

    /// Reads the messages and commits their consumption before it returns: of several requests,
    /// tabs or prefetches that claim at once each message goes to exactly one.
    ///
    /// # Errors
    /// `Unsupported` for client-side sessions, where nothing can be consumed exactly once; else as
    /// [`SessionData::commit`].
    pub async fn claim(&self) -> Result<Vec<Message>> {
        let inner = self.session.inner();
        if !inner.shared.capabilities.compare_and_set() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "client-side sessions cannot consume a message exactly once; set SESSION_URL to keep sessions on a server",
            ));
        }
        let got = Arc::new(Mutex::new(Vec::new()));
        let (waiting, claims) = {
            let mut state = inner.state();
            let waiting = state.visible_messages().to_vec();
            let ids: Vec<_> = waiting
                .iter()
                .map(Message::id)
                .filter(|id| !state.flash.claimed.contains(id))
                .collect();
            let claims = !ids.is_empty();
            if claims {
                state.change(Change::Claim(ids, Arc::clone(&got)))?;
            }
            (waiting, claims)
        };
        let committed = if claims { self.session.commit().await } else { Ok(()) };
        if let Err(error) = committed {
            // Nobody was given the messages, so another commit of this request must not consume
            // them. A commit that may have been done is left to the next one, which finds out.
            if !error.is_ambiguous() {
                let ours = |change: &Change| matches!(change, Change::Claim(_, own) if Arc::ptr_eq(own, &got));
                take_back(inner, ours)?;
            }
            return Err(error);
        }
        let got = got.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut state = inner.state();
        state.flash.claimed.extend(got);
        let claimed = |message: &Message| state.flash.claimed.contains(&message.id());
        let mut messages: Vec<_> = waiting.into_iter().filter(claimed).collect();
        state.flash.inbox = Some(messages.clone());
        messages.extend(state.flash.now.iter().cloned());
        Ok(messages)
    }

    /// Keeps everything for another request, read or not, but for what was taken.
    pub fn keep(&self) -> &Self {
        self.session.inner().state().flash.keep_all = true;
        self
    }

    /// Keeps the messages of one level for another request, read or not, but for what was taken.
    pub fn keep_level(&self, level: Level) -> &Self {
        self.session.inner().state().flash.keep_levels.push(level);
        self
    }

    /// Drops every message and all data that wait, also what this request pushed, whatever the
    /// response is.
    ///
    /// # Errors
    /// As [`SessionData::insert`].
    pub fn discard(&self) -> Result<()> {
        let mut state = self.session.inner().state();
        let ids = state.view.flash.ids().collect();
        state.change(Change::Drop(ids))?;
        state.flash.inbox = Some(Vec::new());
        state.flash.taken.clear();
        state.flash.now.clear();
        Ok(())
    }

    /// How many messages and data this request dropped because too much waits.
    pub fn dropped(&self) -> usize {
        self.session.inner().state().flash.dropped
    }

    /// Leaves data for the next request: Mocha's `flash_data`. It replaces what was left before.
    ///
    /// # Errors
    /// As [`set_data_for`](Self::set_data_for).
    #[doc(alias = "flash_data")]
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<&Self> {
        self.set_data_for("", data)
    }

    /// Leaves data for the next request in a slot of its own. Data count as messages do: past the
    /// caps the oldest are dropped (see [`dropped`](Self::dropped)).
    ///
    /// # Errors
    /// `InvalidInput` when it cannot be encoded; `TooLarge` over the cap; else as
    /// [`SessionData::insert`].
    pub fn set_data_for<T: Serialize + ?Sized>(&self, slot: &str, data: &T) -> Result<&Self> {
        let inner = self.session.inner();
        let data = values::encode(data)?;
        let caps = inner.shared.policy.flash;
        check_size(data_len(slot, &data), caps.bytes)?;
        self.add(Change::SetData(Text::from(slot), fastrand::u64(1..), data, caps), Some(slot))
    }

    /// Takes the data that an earlier request left: Mocha's `get_flash_data`. They are consumed
    /// also by a redirect, and
    /// [`keep`](Self::keep) does not keep them.
    ///
    /// # Errors
    /// `InvalidInput` when the data is not a `T`; it stays. Else as [`SessionData::insert`].
    #[doc(alias = "get_flash_data")]
    pub fn take_data<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.take_data_for("")
    }

    /// Takes the data that an earlier request left in this slot.
    ///
    /// # Errors
    /// As [`take_data`](Self::take_data).
    pub fn take_data_for<T: DeserializeOwned>(&self, slot: &str) -> Result<Option<T>> {
        let inner = self.session.inner();
        let Some((id, data)) = inner.state().visible_data(slot) else { return Ok(None) };
        // Decoded outside the lock: a `Deserialize` may use the session.
        let taken = values::decode("flash data", &data)?;
        inner.state().take_data(slot, id, data)?;
        Ok(Some(taken))
    }
}

impl fmt::Debug for Flash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flash")
    }
}

fn check_size(bytes: usize, most: usize) -> Result<()> {
    if bytes > most {
        let why = format!("a flash of {bytes} bytes exceeds the cap of {most}");
        return Err(Error::new(ErrorKind::TooLarge, why).during("flash"));
    }
    Ok(())
}
