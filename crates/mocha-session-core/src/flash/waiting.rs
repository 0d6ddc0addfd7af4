//! What waits in the session for the page that will show it: messages, and data in named slots.

use super::message::{FlashId, Message};
use crate::error::Result;
use crate::values::Encoded;
use crate::wire::{self, Reader, Text};

/// The messages and data that are not consumed yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Waiting {
    messages: Vec<Message>,
    data: Vec<(FlashId, Text, Encoded)>,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.data.is_empty()
    }

    pub(crate) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Adds a message; drops the oldest ones past the caps and says how many. The newest always stays.
    pub(crate) fn push(&mut self, message: Message, most: usize, most_bytes: usize) -> usize {
        self.messages.push(message);
        let mut bytes: usize = self.messages.iter().map(Message::encoded_len).sum();
        let mut dropped = 0;
        while self.messages.len() > dropped + 1
            && (self.messages.len() - dropped > most || bytes > most_bytes)
        {
            bytes -= self.messages[dropped].encoded_len();
            dropped += 1;
        }
        self.messages.drain(..dropped);
        dropped
    }

    /// Puts data into a slot, over what was there.
    pub(crate) fn set_data(&mut self, slot: &Text, id: FlashId, value: Encoded) {
        self.data.retain(|(_, own, _)| own != slot);
        self.data.push((id, slot.clone(), value));
    }

    pub(crate) fn data(&self, slot: &str) -> Option<(FlashId, &Encoded)> {
        self.data.iter().find(|(_, own, _)| own.as_str() == slot).map(|(id, _, value)| (*id, value))
    }

    /// Every identity that waits here.
    pub(crate) fn ids(&self) -> impl Iterator<Item = FlashId> {
        self.messages.iter().map(|message| message.id).chain(self.data.iter().map(|(id, ..)| *id))
    }

    /// Removes these identities, and nothing else.
    pub(crate) fn drop_ids(&mut self, ids: &[FlashId]) {
        self.messages.retain(|message| !ids.contains(&message.id));
        self.data.retain(|(id, ..)| !ids.contains(id));
    }

    /// Removes all but these identities.
    pub(crate) fn keep_ids(&mut self, ids: &[FlashId]) {
        self.messages.retain(|message| ids.contains(&message.id));
        self.data.retain(|(id, ..)| ids.contains(id));
    }

    pub(crate) fn encoded_len(&self) -> usize {
        let data = self.data.iter().map(|(_, slot, value)| 20 + slot.as_bytes().len() + value.len());
        4 + self.messages.iter().map(Message::encoded_len).chain(data).sum::<usize>()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        wire::put_number(self.messages.len() as u64, out);
        self.messages.iter().for_each(|message| message.write(out));
        wire::put_number(self.data.len() as u64, out);
        for (id, slot, value) in &self.data {
            out.extend_from_slice(&id.to_be_bytes());
            wire::put_bytes(slot.as_bytes(), out);
            wire::put_bytes(value, out);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let count = reader.count()?;
        let messages = (0..count).map(|_| Message::read(reader)).collect::<Result<_>>()?;
        let count = reader.count()?;
        let data = (0..count)
            .map(|_| Ok((u64::from_be_bytes(reader.fixed()?), reader.text()?.into(), reader.bytes()?.into())))
            .collect::<Result<_>>()?;
        Ok(Self { messages, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::Level;

    #[test]
    fn past_a_cap_the_oldest_go_and_are_counted() {
        let mut waiting = Waiting::default();
        for at in 0..5_u64 {
            let dropped = waiting.push(Message::new(Level::Info, at.to_string()), 3, 1_000);
            assert_eq!(dropped, usize::from(at >= 3));
        }
        let texts: Vec<_> = waiting.messages().iter().map(Message::text).collect();
        assert_eq!(texts, ["2", "3", "4"]);
        assert_eq!(waiting.push(Message::new(Level::Info, "x".repeat(2_000)), 3, 1_000), 3);
        assert_eq!(waiting.messages().len(), 1);
    }

    #[test]
    fn consuming_removes_these_and_nothing_else() {
        let mut waiting = Waiting::default();
        waiting.push(Message::new(Level::Info, "a").with_id(1), 9, 999);
        waiting.push(Message::new(Level::Info, "b").with_id(2), 9, 999);
        waiting.set_data(&"".into(), 3, b"1"[..].into());
        waiting.set_data(&"".into(), 4, b"2"[..].into());
        waiting.drop_ids(&[1, 3]);
        assert_eq!(waiting.ids().collect::<Vec<_>>(), [2, 4]);
    }
}
