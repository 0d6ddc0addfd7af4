//! Flash: messages and data for the next page, which the page that shows them consumes.

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
/// It is designed for post/redirect/get: the handler of the POST pushes a message, and the page
/// after the redirect reads it. The method that reads an item determines when it is consumed:
///
/// - [`messages`](Self::messages): with the response, if the response shows a page. A 1xx, 204,
///   205, 3xx, 408 or 5xx response does not, and neither does the response to a HEAD request or a
///   prefetch.
/// - [`take`](Self::take), [`take_data`](Self::take_data) and
///   [`take_data_for`](Self::take_data_for): with the response, if the response commits. A redirect
///   does; a 408 or 5xx response does not.
/// - [`claim`](Self::claim): before it returns, because it commits.
/// - [`peek`](Self::peek): never.
///
/// Only the items that were read are consumed, so a message that another request pushes at the same
/// time is shown later. Reading twice in a request returns the same items.
///
/// ```
/// # let session = mocha_session_core::Session::in_memory()?;
/// let flash = session.flash();
/// flash.info("Saved")?.success("Mail sent")?; // for the next request
/// flash.set_data(&70)?;
/// assert!(flash.messages().is_empty()); // not for this one
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

    /// Pushes a message for the next page.
    ///
    /// A message below the configured minimum level is ignored. Beyond the configured limits, the
    /// oldest messages and data are dropped (see [`dropped`](Self::dropped)).
    ///
    /// # Errors
    /// `TooLarge` if the message alone exceeds the limit. Otherwise as [`SessionData::insert`].
    pub fn push(&self, message: Message) -> Result<&Self> {
        let inner = self.session.inner();
        let policy = &inner.shared.policy;
        if message.level() < policy.flash_minimum {
            return Ok(self);
        }
        check_size(message.encoded_len(), policy.flash.bytes)?;
        self.add(Change::Push(Box::new(message), policy.flash), None)
    }

    /// Logs a change that adds an item, which replaces the data of `slot`. Counts the items that it
    /// drops.
    fn add(&self, change: Change, slot: Option<&str>) -> Result<&Self> {
        let mut state = self.session.inner().state();
        let replaced = slot.is_some_and(|slot| state.view.flash.data(slot).is_some());
        let before = state.view.flash.len() - usize::from(replaced);
        state.change(change)?;
        let dropped = before + 1 - state.view.flash.len();
        state.flash.dropped += dropped;
        drop(state);
        if dropped > 0 {
            tracing::warn!(dropped, "the flash exceeded its limits; the oldest items were dropped");
        }
        Ok(self)
    }

    /// Adds a message for this request only.
    pub fn now(&self, level: Level, text: impl Into<String>) -> &Self {
        if level >= self.session.inner().shared.policy.flash_minimum {
            let message = Message::new(level, text);
            self.session.inner().state().flash.now.push(message);
        }
        self
    }

    /// Returns the waiting messages, oldest first, then those of [`now`](Self::now), and marks them
    /// as shown.
    #[doc(alias = "get_flashed_messages")]
    pub fn messages(&self) -> Vec<Message> {
        let mut state = self.session.inner().state();
        let mut messages = state.visible_messages().to_vec();
        messages.iter().for_each(|message| state.flash.mark(message.id()));
        messages.extend(state.flash.now.iter().cloned());
        messages
    }

    /// Takes the messages of one level; the others stay.
    ///
    /// A redirect consumes them too, and [`keep`](Self::keep) does not keep them.
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

    /// Returns the waiting messages, then those of [`now`](Self::now), without marking them as
    /// shown.
    pub fn peek(&self) -> Vec<Message> {
        let mut state = self.session.inner().state();
        let mut messages = state.visible_messages().to_vec();
        messages.extend(state.flash.now.iter().cloned());
        messages
    }

    /// Reads the messages, and commits their consumption before it returns. If several requests,
    /// tabs or prefetches claim at the same time, exactly one of them gets each message.
    ///
    /// # Errors
    /// `Unsupported` for client-side sessions, where nothing can be consumed exactly once.
    /// Otherwise as [`SessionData::commit`].
    pub async fn claim(&self) -> Result<Vec<Message>> {
        let inner = self.session.inner();
        if !inner.shared.capabilities.compare_and_set() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "client-side sessions cannot consume a message exactly once; set SESSION_URL to \
                 keep sessions on a server",
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
            // The messages are not returned, so a later commit of this request must not consume
            // them. If the outcome is unknown, the change stays and the next commit resolves it.
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

    /// Keeps all messages and data for the next request, read or not, except those that were taken.
    pub fn keep(&self) -> &Self {
        self.session.inner().state().flash.keep_all = true;
        self
    }

    /// Keeps the messages of one level for the next request, read or not, except those that were
    /// taken.
    pub fn keep_level(&self, level: Level) -> &Self {
        self.session.inner().state().flash.keep_levels.push(level);
        self
    }

    /// Drops all waiting messages and data, including those of this request, whatever the status of
    /// the response.
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

    /// Returns the number of messages and data that this request dropped because of the limits.
    pub fn dropped(&self) -> usize {
        self.session.inner().state().flash.dropped
    }

    /// Stores data for the next request: Mocha's `flash_data`. It replaces earlier data.
    ///
    /// # Errors
    /// As [`set_data_for`](Self::set_data_for).
    #[doc(alias = "flash_data")]
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<&Self> {
        self.set_data_for("", data)
    }

    /// Stores data for the next request in a named slot.
    ///
    /// Messages and data share the limits. Beyond them, the oldest are dropped (see
    /// [`dropped`](Self::dropped)).
    ///
    /// # Errors
    /// `InvalidInput` if the data cannot be encoded. `TooLarge` if the data alone exceed the limit.
    /// Otherwise as [`SessionData::insert`].
    pub fn set_data_for<T: Serialize + ?Sized>(&self, slot: &str, data: &T) -> Result<&Self> {
        let inner = self.session.inner();
        let data = values::encode(data)?;
        let caps = inner.shared.policy.flash;
        check_size(data_len(slot, &data), caps.bytes)?;
        self.add(Change::SetData(Text::from(slot), fastrand::u64(1..), data, caps), Some(slot))
    }

    /// Takes the data that an earlier request stored: Mocha's `get_flash_data`.
    ///
    /// A redirect consumes them too, and [`keep`](Self::keep) does not keep them.
    ///
    /// # Errors
    /// `InvalidInput` if the data are not a `T`; they are not consumed then. Otherwise as
    /// [`SessionData::insert`].
    #[doc(alias = "get_flash_data")]
    pub fn take_data<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.take_data_for("")
    }

    /// Takes the data that an earlier request stored in this slot.
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
        let why = format!("a flash item of {bytes} bytes exceeds the limit of {most}; store less");
        return Err(Error::new(ErrorKind::TooLarge, why).during("flash"));
    }
    Ok(())
}
