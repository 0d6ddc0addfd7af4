//! A session's values: each is encoded as MessagePack, and decoded only when it is read.
//!
//! MessagePack with field names is self-describing: reading a value as the wrong type is an error,
//! and fields can be added. It is also smaller and faster than JSON. The encoder reports itself as
//! human readable, so that types have the same shapes as in JSON; serde's untagged, tagged and
//! flattened types can only read those. Every value that survives a round trip through JSON also
//! survives one here, and so do maps with any keys and all floats.
//!
//! This folder contains the encoder, its limits, and the primitives of the record format. Nothing
//! in it depends on sessions.

mod depth;
mod encoder;
pub(crate) mod wire;

use std::cell::Cell;
use std::iter::Peekable;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::encoder::Encoder;
use self::wire::{Reader, Text};
use crate::error::{Error, Result};

/// The maximum nesting of a value, the same as `serde_json`'s. It bounds the recursion when
/// encoding and decoding.
const MAX_DEPTH: usize = 127;
/// The largest encoding buffer that a thread keeps, in bytes.
const SCRATCH: usize = 8 * 1024;

/// An encoded value that is cheap to clone.
pub(crate) type Encoded = Arc<[u8]>;

thread_local! {
    /// The buffer that values are encoded into before their size is known.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Encodes one value.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Encoded> {
    encode_with(value, |bytes| Encoded::from(bytes))
}

/// Encodes a value that was decoded from `known`. Returns `None` if the bytes are the same. They
/// may differ for a `HashMap`, which does not keep the order of its items.
pub(crate) fn encode_unless<T: Serialize>(value: &T, known: &[u8]) -> Result<Option<Encoded>> {
    encode_with(value, |bytes| (bytes != known).then(|| Encoded::from(bytes)))
}

fn encode_with<T: Serialize + ?Sized, R>(value: &T, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
    // Takes the buffer, so that a `Serialize` that encodes recursively gets another one.
    let mut buffer = BUFFER.take();
    buffer.clear();
    let done = value.serialize(&mut Encoder::new(&mut buffer));
    let done = done.map(|()| f(&buffer)).map_err(|refusal| {
        let what = std::any::type_name::<T>();
        Error::invalid_input(format!("the value, a {what}, cannot be stored: {refusal}"))
    });
    if buffer.capacity() <= SCRATCH {
        BUFFER.set(buffer);
    }
    done
}

/// Decodes one value.
pub(crate) fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    let unreadable = || {
        let wanted = std::any::type_name::<T>();
        Error::invalid_input(format!(
            "the session value `{name}` cannot be read as {wanted}; the value was not changed"
        ))
    };
    // The decoder's depth limit does not count nested enums.
    if depth::exceeds(bytes, MAX_DEPTH) {
        return Err(unreadable());
    }
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    decoder.set_max_depth(MAX_DEPTH + 1);
    T::deserialize(&mut decoder).map_err(|_| unreadable())
}

/// Encoded values by name: the part of the payload that they were read from, which is validated
/// once, and the changes since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    block: Block,
    /// Sorted by name. `None` marks a value that was removed from the block.
    changes: Vec<(Text, Option<Encoded>)>,
}

impl Values {
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        match self.find(name) {
            Ok(at) => self.changes[at].1.as_deref(),
            Err(_) => self.block.get(name),
        }
    }

    pub(crate) fn set(&mut self, name: &Text, value: Encoded) {
        self.put(name, Some(value));
    }

    pub(crate) fn remove(&mut self, name: &Text) {
        if self.block.get(name.as_str()).is_some() {
            self.put(name, None);
        } else if let Ok(at) = self.find(name.as_str()) {
            self.changes.remove(at);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        // A removal is only recorded for a value of the block.
        self.changes.len() == self.block.count
            && self.changes.iter().all(|(_, value)| value.is_none())
    }

    /// Returns names and values, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        Merged { block: self.block.entries().peekable(), changes: self.changes.iter().peekable() }
    }

    pub(crate) fn encoded_len(&self) -> usize {
        let value = |value: &Option<Encoded>| value.as_ref().map_or(0, |value| value.len() + 10);
        let changes =
            self.changes.iter().map(|(name, changed)| name.as_bytes().len() + value(changed) + 2);
        self.block.entries.len() + changes.sum::<usize>() + 10
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut count = self.block.count;
        for (name, value) in &self.changes {
            match (self.block.get(name.as_str()), value) {
                (None, Some(_)) => count += 1,
                (Some(_), None) => count -= 1,
                _ => {}
            }
        }
        wire::put_number(count as u64, out);
        let mut block = Reader::new(self.block.bytes());
        for (name, value) in &self.changes {
            // The bytes between two changes are copied unchanged.
            let from = block.rest();
            let kept = Block::skip(&mut block, name.as_bytes());
            out.extend_from_slice(&from[..kept]);
            if let Some(value) = value {
                wire::put_bytes(name.as_bytes(), out);
                wire::put_bytes(value, out);
            }
        }
        out.extend_from_slice(block.rest());
    }

    /// Reads the values that start at offset `at` of a payload. Returns them and their end offset.
    pub(crate) fn read(payload: Bytes, at: usize) -> Result<(Self, usize)> {
        let whole = payload.get(at..).unwrap_or_default();
        let mut reader = Reader::new(whole);
        let count = reader.count()?;
        let begin = at + whole.len() - reader.rest().len();
        let mut last: Option<&str> = None;
        for _ in 0..count {
            let name = reader.text()?;
            reader.bytes()?;
            if last.is_some_and(|last| last >= name) {
                return Err(Error::corrupt("the record is damaged: its values are out of order"));
            }
            last = Some(name);
        }
        let end = at + whole.len() - reader.rest().len();
        let block = Block { payload, entries: begin..end, count };
        Ok((Self { block, changes: Vec::new() }, end))
    }

    /// Returns the payload that the values were read from.
    pub(crate) fn payload(&self) -> &Bytes {
        &self.block.payload
    }

    fn put(&mut self, name: &Text, value: Option<Encoded>) {
        match self.find(name.as_str()) {
            Ok(at) => self.changes[at].1 = value,
            Err(at) => self.changes.insert(at, (name.clone(), value)),
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.changes.binary_search_by(|(own, _)| own.as_str().cmp(name))
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        if self.block.is(&other.block) {
            let mut changed = self.changes.iter().chain(&other.changes);
            return changed.all(|(name, _)| self.get(name.as_str()) == other.get(name.as_str()));
        }
        self.iter().eq(other.iter())
    }
}

/// Values in the format of the payload: length, name, length, value. They are sorted by name, and
/// were validated when they were read.
#[derive(Clone, Debug, Default)]
struct Block {
    payload: Bytes,
    entries: std::ops::Range<usize>,
    count: usize,
}

impl Block {
    fn bytes(&self) -> &[u8] {
        self.payload.get(self.entries.clone()).unwrap_or_default()
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut reader = Reader::new(self.bytes());
        std::iter::from_fn(move || {
            let (name, value) = Self::next(&mut reader)?;
            Some((std::str::from_utf8(name).ok()?, value))
        })
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        let mut reader = Reader::new(self.bytes());
        loop {
            let (own, value) = Self::next(&mut reader)?;
            if own == name.as_bytes() {
                return Some(value);
            }
        }
    }

    /// Returns the next entry, or `None` at the end. The block was validated, so reading an entry
    /// does not fail.
    fn next<'b>(reader: &mut Reader<'b>) -> Option<(&'b [u8], &'b [u8])> {
        // Checked first, because creating an error allocates.
        if reader.rest().is_empty() {
            return None;
        }
        Some((reader.bytes().ok()?, reader.bytes().ok()?))
    }

    /// Moves past the entry of this name, or to where it would be. Returns the number of bytes
    /// before it.
    fn skip(reader: &mut Reader<'_>, name: &[u8]) -> usize {
        let whole = reader.rest().len();
        loop {
            let before = *reader;
            match Self::next(reader) {
                Some((own, _)) if own < name => {}
                Some((own, _)) if own == name => return whole - before.rest().len(),
                _ => {
                    *reader = before;
                    return whole - before.rest().len();
                }
            }
        }
    }

    /// Returns whether both are the same bytes in memory.
    fn is(&self, other: &Self) -> bool {
        self.payload.as_ptr() == other.payload.as_ptr() && self.entries == other.entries
    }
}

/// Merges the entries of a block with the changes.
struct Merged<'v, B: Iterator<Item = (&'v str, &'v [u8])>> {
    block: Peekable<B>,
    changes: Peekable<std::slice::Iter<'v, (Text, Option<Encoded>)>>,
}

impl<'v, B: Iterator<Item = (&'v str, &'v [u8])>> Iterator for Merged<'v, B> {
    type Item = (&'v str, &'v [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((name, changed)) = self.changes.peek() else { return self.block.next() };
            let name = name.as_str();
            if let Some(entry) = self.block.next_if(|(own, _)| *own < name) {
                return Some(entry);
            }
            self.block.next_if(|(own, _)| *own == name);
            self.changes.next();
            if let Some(value) = changed {
                return Some((name, value));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_comes_back() {
        let json = serde_json::json!({
            "null": null, "bool": true, "int": -1, "big": u64::MAX, "small": i64::MIN, "float": 1.5,
            "text": "ünï\u{1f36b}", "empty": "", "list": [1, [2, {}]], "map": {"a": {"b": []}}
        });
        assert_eq!(decode::<serde_json::Value>("v", &encode(&json).unwrap()).unwrap(), json);
        let map = std::collections::BTreeMap::from([(1_u8, vec![0_u8, 255]), (2, vec![])]);
        assert_eq!(
            decode::<std::collections::BTreeMap<u8, Vec<u8>>>("v", &encode(&map).unwrap()).unwrap(),
            map
        );
        assert!(decode::<f64>("v", &encode(&f64::NAN).unwrap()).unwrap().is_nan());
    }

    #[test]
    fn changes_lie_over_what_was_read() {
        let value = |byte: u8| Encoded::from(&[byte][..]);
        let mut first = Values::default();
        for name in ["b", "d", "f"] {
            first.set(&name.into(), value(1));
        }
        let mut out = vec![0xff];
        first.write(&mut out);
        let (read, end) = Values::read(Bytes::from(out.clone()), 1).unwrap();
        assert!(end == out.len() && read == first && read.get("d") == Some(&[1]));
        let mut changed = read.clone();
        assert!(changed == read);
        for name in ["a", "d", "g"] {
            changed.set(&name.into(), value(2));
        }
        changed.remove(&"f".into());
        changed.remove(&"g".into());
        changed.remove(&"never there".into());
        let all = |values: &Values| {
            values.iter().map(|(name, value)| (name.to_owned(), value[0])).collect::<Vec<_>>()
        };
        assert_eq!(all(&changed), [("a".into(), 2), ("b".into(), 1), ("d".into(), 2)]);
        assert!(changed != read && changed.get("f").is_none());
        let mut out = Vec::new();
        changed.write(&mut out);
        assert!(out.len() <= changed.encoded_len());
        assert_eq!(all(&Values::read(out.into(), 0).unwrap().0), all(&changed));
        changed.set(&"d".into(), value(1));
        changed.set(&"f".into(), value(1));
        changed.remove(&"a".into());
        assert!(changed == read, "undone");
        changed.clear();
        assert!(changed.is_empty() && changed == Values::default());
    }

    #[test]
    fn values_out_of_order_or_twice_are_damage() {
        for block in [&b"\x02\x01b\x011\x01a\x011"[..], b"\x02\x01a\x011\x01a\x011"] {
            assert!(
                Values::read(Bytes::from_static(block), 0).is_err_and(|error| error.is_corrupt())
            );
        }
    }

    #[test]
    fn a_wrong_type_is_an_error_that_shows_no_value() {
        let error = decode::<u32>("pin", &encode("hunter2").unwrap()).unwrap_err();
        assert!(error.is_invalid_input());
        assert!(
            error.to_string().contains("`pin`") && !format!("{error:?}").contains("hunter2"),
            "{error:?}"
        );
    }

    #[derive(serde::Deserialize)]
    enum Chain {
        #[allow(dead_code, reason = "never reached")]
        Link(Box<Chain>),
    }

    #[test]
    fn enums_that_lie_in_each_other_do_not_exhaust_the_stack() {
        let link = b"\x81\xa4Link";
        assert!(decode::<Chain>("v", &link.repeat(1_000_000)).is_err());
    }

    #[test]
    fn decode_bombs_are_bounded() {
        let deep = vec![0x91_u8; 100_000]; // arrays of one array of one array …
        assert!(decode::<serde_json::Value>("v", &deep).is_err());
        let long = [0xdd, 0xff, 0xff, 0xff, 0xff]; // announces four billion items and has none
        assert!(decode::<Vec<u64>>("v", &long).is_err());
        let text = [0xdb, 0xff, 0xff, 0xff, 0xff, b'x']; // announces four gigabytes of text
        assert!(decode::<String>("v", &text).is_err());
    }
}
