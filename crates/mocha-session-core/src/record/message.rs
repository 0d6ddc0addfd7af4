//! A flash message: level, text, tags and data.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::values::wire::{self, Reader, Text};
use crate::values::{self, Encoded};

/// Identifies one flash item, so that consuming it removes only that item.
pub(crate) type FlashId = u64;

/// The severity of a message, for example to choose its colour.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::Level;
///
/// assert!(Level::Warning > Level::Info);
/// assert_eq!(Level::Success.as_str(), "success"); // a CSS class, for example
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Information for developers.
    Debug,
    /// Information for the user.
    Info,
    /// An action succeeded.
    Success,
    /// The user should check something.
    Warning,
    /// An action failed.
    Error,
}

impl Level {
    const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Success, Self::Warning, Self::Error];

    /// Returns the level's name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message for the next page that shows messages.
///
/// The text may contain user input, so a page must escape it.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{Level, Message};
///
/// let message = Message::new(Level::Success, "Saved").with_tag("account").with_data(&42)?;
/// assert_eq!(message.text(), "Saved");
/// assert_eq!(message.data::<u32>()?, Some(42));
/// # Ok::<(), mocha_session::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Message {
    pub(super) id: FlashId,
    level: Level,
    text: Text,
    tags: Vec<String>,
    data: Option<Encoded>,
}

impl Message {
    /// Creates a message.
    pub fn new(level: Level, text: impl Into<String>) -> Self {
        Self {
            id: fastrand::u64(1..),
            level,
            text: Text::from(text.into().as_str()),
            tags: Vec::new(),
            data: None,
        }
    }

    /// Adds a tag, which is any text that the application chooses.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Attaches data.
    ///
    /// # Errors
    /// `InvalidInput` if the data cannot be encoded.
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Result<Self> {
        self.data = Some(values::encode(data)?);
        Ok(self)
    }

    pub(crate) fn id(&self) -> FlashId {
        self.id
    }

    /// Returns the level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Returns the tags.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Returns the data, if the message has any.
    ///
    /// # Errors
    /// `InvalidInput` if the data is not a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.data.as_ref().map(|data| values::decode("flash data", data)).transpose()
    }

    #[cfg(test)]
    pub(crate) fn with_id(mut self, id: FlashId) -> Self {
        self.id = id;
        self
    }

    /// Returns the approximate encoded length in bytes.
    pub(crate) fn encoded_len(&self) -> usize {
        let data = self.data.as_ref().map_or(0, |data| data.len());
        20 + self.text.as_bytes().len()
            + data
            + self.tags.iter().map(|tag| tag.len() + 3).sum::<usize>()
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_be_bytes());
        wire::put_number(self.level as u64, out);
        wire::put_bytes(self.text.as_bytes(), out);
        wire::put_number(self.tags.len() as u64, out);
        self.tags.iter().for_each(|tag| wire::put_bytes(tag.as_bytes(), out));
        wire::put_bytes(self.data.as_deref().unwrap_or_default(), out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let id = u64::from_be_bytes(reader.fixed()?);
        // An unknown level of a later version becomes a warning, so that the message is not lost.
        let level = reader.number()?;
        let level =
            Level::ALL.into_iter().find(|known| *known as u64 == level).unwrap_or(Level::Warning);
        let text = reader.text()?.into();
        let count = reader.count()?;
        let tags = (0..count).map(|_| Ok(reader.text()?.to_owned())).collect::<Result<_>>()?;
        let data = reader.bytes()?;
        let data = Some(data).filter(|data| !data.is_empty()).map(Encoded::from);
        Ok(Self { id, level, text, tags, data })
    }
}

/// Omits text, tags and data, because they may be personal data and must not reach logs.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("level", &self.level)
            .field("bytes", &self.encoded_len())
            .finish_non_exhaustive()
    }
}
