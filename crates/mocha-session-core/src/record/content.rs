//! The decrypted content of a session: values, flash, owner and lifetimes, and their encoding in
//! the payload.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::record::Payload;
use crate::record::waiting::Waiting;
use crate::values::Values;
use crate::values::wire::{self, Reader, Text};

/// The content of a session. Instants are in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Content {
    /// The start of the session. A login resets it.
    pub(crate) created: u64,
    /// The time at which the idle deadline was last moved.
    pub(crate) touched: u64,
    /// The expiry of the cookie that the client last received; see [`UNTIL_CLOSED`].
    pub(crate) told: u64,
    /// The session's own idle timeout in milliseconds, if it has one.
    pub(crate) remember: Option<u64>,
    pub(crate) persistence: Persistence,
    pub(crate) owner: Option<Owner>,
    pub(crate) label: Option<Text>,
    /// The time at which the owner last re-authenticated after the login.
    pub(crate) confirmed: Option<u64>,
    pub(crate) values: Values,
    pub(crate) flash: Waiting,
}

/// The value of [`Content::told`] for a cookie without an expiry, which lasts until the browser is
/// closed.
pub(crate) const UNTIL_CLOSED: u64 = u64::MAX;

/// The choice whether the session's cookie persists after the browser is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// The manager's cookie policy decides.
    #[default]
    Policy,
    /// The cookie persists, because the user asked to be remembered.
    Kept,
    /// The cookie does not persist, because the user asked not to be remembered.
    Forgotten,
}

impl Persistence {
    const ALL: [Self; 3] = [Self::Policy, Self::Kept, Self::Forgotten];
}

/// The owner of a session, and the session's handle.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owner {
    pub(crate) name: Text,
    /// Names the session in the owner index. Rotations do not change it. Zero if there is no index.
    pub(crate) handle: u64,
}

impl Content {
    pub(crate) fn new(now: u64) -> Self {
        Self { created: now, touched: now, ..Self::default() }
    }

    /// Returns whether the content needs no record. Values, flash or an owner need one; a lifetime
    /// or a label alone does not.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.flash.is_empty() && self.owner.is_none()
    }

    /// Returns whether two contents are equal, apart from `touched` and `told`.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let Self {
            created,
            touched: _,
            told: _,
            remember,
            persistence,
            owner,
            label,
            confirmed,
            values,
            flash,
        } = self;
        *created == other.created
            && *remember == other.remember
            && *persistence == other.persistence
            && *owner == other.owner
            && *label == other.label
            && *confirmed == other.confirmed
            && *values == other.values
            && *flash == other.flash
    }

    pub(crate) fn read(payload: Bytes) -> Result<Self> {
        let mut reader = Reader::new(&payload);
        let created = reader.number()?;
        let touched = reader.number()?;
        let told = reader.number()?;
        let flags = reader.number()?;
        let remember = if flags & REMEMBER == 0 { None } else { Some(reader.number()?) };
        let kept = Persistence::ALL.into_iter().find(|kept| *kept as u64 == flags >> PERSISTENCE);
        let persistence = kept.ok_or_else(|| {
            Error::corrupt(
                "the record has a cookie lifetime that this version of the library does not know",
            )
        })?;
        let owner = if flags & OWNER == 0 {
            None
        } else {
            Some(Owner { name: reader.text()?.into(), handle: u64::from_be_bytes(reader.fixed()?) })
        };
        let label = if flags & LABEL == 0 { None } else { Some(reader.text()?.into()) };
        let confirmed = if flags & CONFIRMED == 0 { None } else { Some(reader.number()?) };
        let at = payload.len() - reader.rest().len();
        let (values, end) = Values::read(payload, at)?;
        let mut reader = Reader::new(values.payload().get(end..).unwrap_or_default());
        let flash = Waiting::read(&mut reader)?;
        reader.end()?;
        Ok(Self {
            created,
            touched,
            told,
            remember,
            persistence,
            owner,
            label,
            confirmed,
            values,
            flash,
        })
    }
}

/// The flags of the optional fields that follow. The bits above them are the persistence.
const REMEMBER: u64 = 1;
const OWNER: u64 = 2;
const LABEL: u64 = 4;
const CONFIRMED: u64 = 8;
const PERSISTENCE: u32 = 4;

impl Payload for Content {
    fn size_hint(&self) -> usize {
        let texts = self.owner.as_ref().map_or(0, |owner| owner.name.as_bytes().len() + 12)
            + self.label.as_ref().map_or(0, |label| label.as_bytes().len() + 4);
        54 + texts + self.values.encoded_len() + self.flash.encoded_len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        wire::put_number(self.created, out);
        wire::put_number(self.touched, out);
        wire::put_number(self.told, out);
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let flags = flag(self.remember.is_some(), REMEMBER)
            | flag(self.owner.is_some(), OWNER)
            | flag(self.label.is_some(), LABEL)
            | flag(self.confirmed.is_some(), CONFIRMED);
        wire::put_number(flags | (self.persistence as u64) << PERSISTENCE, out);
        if let Some(remember) = self.remember {
            wire::put_number(remember, out);
        }
        if let Some(owner) = &self.owner {
            wire::put_bytes(owner.name.as_bytes(), out);
            out.extend_from_slice(&owner.handle.to_be_bytes());
        }
        if let Some(label) = &self.label {
            wire::put_bytes(label.as_bytes(), out);
        }
        if let Some(confirmed) = self.confirmed {
            wire::put_number(confirmed, out);
        }
        self.values.write(out);
        self.flash.write(out);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::record::message::{Level, Message};
    use crate::record::waiting::Caps;

    fn full() -> Content {
        let mut content =
            Content { remember: Some(1), label: Some("phone".into()), ..Content::new(1_000) };
        (content.told, content.persistence) = (1_001, Persistence::Forgotten);
        content.confirmed = Some(1_002);
        content.owner = Some(Owner { name: "alice".into(), handle: 7 });
        content.values.set(&"b".into(), b"[1,2]"[..].into());
        content.values.set(&"a".into(), b"1"[..].into());
        let caps = Caps { items: 10, bytes: 1_000 };
        content.flash.push(Message::new(Level::Info, "hi").with_id(5), caps);
        content.flash.set_data(&"".into(), 6, b"{}"[..].into(), caps);
        content
    }

    fn written(content: &Content) -> Vec<u8> {
        let mut out = Vec::new();
        content.write(&mut out);
        out
    }

    #[test]
    fn the_payload_has_these_bytes() {
        // A different result makes every stored session unreadable, and needs a new version number.
        assert_eq!(
            written(&full()),
            b"\xe8\x07\xe8\x07\xe9\x07\x2f\x01\x05alice\0\0\0\0\0\0\0\x07\x05phone\xea\x07\x02\x01a\x011\x01b\x05[1,2]\
              \x02\0\0\0\0\0\0\0\0\x05\x01\x02hi\0\0\x01\0\0\0\0\0\0\0\x06\0\x02{}"
        );
        assert_eq!(Content::read(written(&full()).into()).unwrap(), full());
        assert!(full().size_hint() >= written(&full()).len());
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let bytes = Bytes::from(written(&full()));
        for length in 0..bytes.len() {
            assert!(Content::read(bytes.slice(..length)).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.to_vec();
                bytes[at] = value;
                let _ = Content::read(bytes.into());
            }
        }
    }
}
