//! The flash that waits in a session: messages, and data in named slots.

use super::message::{FlashId, Message};
use crate::error::{Error, Result};
use crate::values::Encoded;
use crate::values::wire::{self, Reader, Text};

/// The type of a flash item in the record.
const MESSAGE: u64 = 0;
const DATA: u64 = 1;

/// The limits of the flash, for messages and data together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// The messages and data that were not consumed yet, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Waiting {
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Message(Message),
    Data { id: FlashId, slot: Text, value: Encoded },
}

impl Item {
    fn id(&self) -> FlashId {
        match self {
            Self::Message(message) => message.id,
            Self::Data { id, .. } => *id,
        }
    }

    /// Returns the approximate encoded length in bytes.
    fn encoded_len(&self) -> usize {
        match self {
            Self::Message(message) => message.encoded_len(),
            Self::Data { slot, value, .. } => data_len(slot.as_str(), value),
        }
    }
}

/// Returns the approximate encoded length of data in a slot, in bytes.
pub(crate) fn data_len(slot: &str, value: &[u8]) -> usize {
    20 + slot.len() + value.len()
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the number of messages and data slots.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.items.iter().filter_map(|item| match item {
            Item::Message(message) => Some(message),
            Item::Data { .. } => None,
        })
    }

    /// Adds a message. Drops the oldest items beyond the limits, but never the newest, and returns
    /// how many were dropped.
    pub(crate) fn push(&mut self, message: Message, caps: Caps) -> usize {
        self.items.push(Item::Message(message));
        self.cap(caps)
    }

    /// Sets the data of a slot. Drops the oldest items beyond the limits and returns how many were
    /// dropped.
    pub(crate) fn set_data(
        &mut self,
        slot: &Text,
        id: FlashId,
        value: Encoded,
        caps: Caps,
    ) -> usize {
        self.items.retain(|item| !matches!(item, Item::Data { slot: own, .. } if own == slot));
        self.items.push(Item::Data { id, slot: slot.clone(), value });
        self.cap(caps)
    }

    fn cap(&mut self, caps: Caps) -> usize {
        let mut bytes: usize = self.items.iter().map(Item::encoded_len).sum();
        let mut dropped = 0;
        while self.items.len() > dropped + 1
            && (self.items.len() - dropped > caps.items || bytes > caps.bytes)
        {
            bytes -= self.items[dropped].encoded_len();
            dropped += 1;
        }
        self.items.drain(..dropped);
        dropped
    }

    pub(crate) fn data(&self, slot: &str) -> Option<(FlashId, &Encoded)> {
        self.items.iter().find_map(|item| match item {
            Item::Data { id, slot: own, value } if own.as_str() == slot => Some((*id, value)),
            _ => None,
        })
    }

    /// Returns the ids of all items.
    pub(crate) fn ids(&self) -> impl Iterator<Item = FlashId> {
        self.items.iter().map(Item::id)
    }

    /// Removes the items with these ids.
    pub(crate) fn drop_ids(&mut self, ids: &[FlashId]) {
        self.items.retain(|item| !ids.contains(&item.id()));
    }

    /// Removes all items except those with these ids.
    pub(crate) fn keep_ids(&mut self, ids: &[FlashId]) {
        self.items.retain(|item| ids.contains(&item.id()));
    }

    pub(crate) fn encoded_len(&self) -> usize {
        4 + self.items.iter().map(|item| 1 + item.encoded_len()).sum::<usize>()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        wire::put_number(self.items.len() as u64, out);
        for item in &self.items {
            match item {
                Item::Message(message) => {
                    wire::put_number(MESSAGE, out);
                    message.write(out);
                }
                Item::Data { id, slot, value } => {
                    wire::put_number(DATA, out);
                    out.extend_from_slice(&id.to_be_bytes());
                    wire::put_bytes(slot.as_bytes(), out);
                    wire::put_bytes(value, out);
                }
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let count = reader.count()?;
        let items = (0..count).map(|_| match reader.number()? {
            MESSAGE => Ok(Item::Message(Message::read(reader)?)),
            DATA => Ok(Item::Data {
                id: u64::from_be_bytes(reader.fixed()?),
                slot: reader.text()?.into(),
                value: reader.bytes()?.into(),
            }),
            _ => Err(Error::corrupt("the record is damaged: its flash has an unknown item")),
        });
        Ok(Self { items: items.collect::<Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::message::Level;

    fn caps(items: usize, bytes: usize) -> Caps {
        Caps { items, bytes }
    }

    #[test]
    fn past_a_cap_the_oldest_go_and_are_counted() {
        let mut waiting = Waiting::default();
        for at in 0..5_u64 {
            let dropped = waiting.push(Message::new(Level::Info, at.to_string()), caps(3, 1_000));
            assert_eq!(dropped, usize::from(at >= 3));
        }
        assert_eq!(waiting.messages().map(Message::text).collect::<Vec<_>>(), ["2", "3", "4"]);
        let long = Message::new(Level::Info, "x".repeat(2_000));
        assert_eq!(waiting.push(long, caps(3, 1_000)), 3);
        assert_eq!(waiting.len(), 1);
    }

    #[test]
    fn messages_and_data_share_the_caps_and_the_oldest_of_both_go() {
        let mut waiting = Waiting::default();
        let three = caps(3, 1_000);
        let set = |waiting: &mut Waiting, slot: &str, id| {
            waiting.set_data(&slot.into(), id, b"1"[..].into(), three)
        };
        assert_eq!(set(&mut waiting, "first", 1), 0);
        assert_eq!(waiting.push(Message::new(Level::Info, "a").with_id(2), three), 0);
        assert_eq!(set(&mut waiting, "second", 3), 0);
        assert_eq!(set(&mut waiting, "first", 4), 0, "in the place of what was there");
        assert_eq!(set(&mut waiting, "third", 5), 1);
        assert_eq!(waiting.ids().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(waiting.set_data(&"long".into(), 6, vec![0; 980].into(), three), 3);
        assert_eq!(waiting.ids().collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn consuming_removes_these_and_nothing_else() {
        let mut waiting = Waiting::default();
        let many = caps(9, 999);
        waiting.push(Message::new(Level::Info, "a").with_id(1), many);
        waiting.push(Message::new(Level::Info, "b").with_id(2), many);
        waiting.set_data(&"".into(), 3, b"1"[..].into(), many);
        waiting.set_data(&"".into(), 4, b"2"[..].into(), many);
        waiting.drop_ids(&[1, 3]);
        assert_eq!(waiting.ids().collect::<Vec<_>>(), [2, 4]);
    }
}
