//! A session's values: encoded as JSON, one by one, and left encoded until one is asked for.
//!
//! JSON, because it is self-describing (a value read as the wrong type is an error and not garbage), because every
//! program that has a session has `serde_json` already, and because its text can be looked at when something is wrong.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::wire::{self, Reader, Text};

/// Encodes one value.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| {
        Error::invalid_input("the value cannot be written as JSON; maps need keys that are text")
            .with_source(redacted(&error))
    })
}

/// Decodes one value. JSON's nesting is bounded by the decoder (128 levels), its length by the record's.
pub(crate) fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let wanted = std::any::type_name::<T>();
        Error::invalid_input(format!(
            "the session value `{name}` cannot be read as {wanted}; it was left as it is"
        ))
        .with_source(redacted(&error))
    })
}

/// What serde says, without the value it says it of: its messages quote the input.
fn redacted(error: &serde_json::Error) -> std::io::Error {
    std::io::Error::other(format!("{:?} error at column {}", error.classify(), error.column()))
}

/// Encoded values by name, sorted, each a slice of one shared buffer until it is replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values(Vec<(Text, Bytes)>);

impl Values {
    pub(crate) fn get(&self, name: &str) -> Option<&Bytes> {
        self.find(name).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn set(&mut self, name: &Text, value: Bytes) {
        match self.find(name.as_str()) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name.clone(), value)),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Bytes> {
        self.find(name).ok().map(|at| self.0.remove(at).1)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn encoded_len(&self) -> usize {
        self.0.iter().map(|(name, value)| name.as_bytes().len() + value.len() + 6).sum()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        wire::put_number(self.0.len() as u64, out);
        for (name, value) in &self.0 {
            wire::put_bytes(name.as_bytes(), out);
            wire::put_bytes(value, out);
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self> {
        let count = reader.count()?;
        let mut values: Vec<(Text, Bytes)> = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            let entry = (reader.text()?, reader.bytes()?);
            if values.last().is_some_and(|(last, _)| *last >= entry.0) {
                return Err(Error::corrupt("the record is damaged: its values are out of order"));
            }
            values.push(entry);
        }
        Ok(Self(values))
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.as_bytes().cmp(name.as_bytes()))
    }
}
