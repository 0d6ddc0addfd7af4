//! A session's values: encoded as MessagePack, one by one, and left encoded until one is asked for.
//!
//! MessagePack with field names, because it is self-describing (a value read as the wrong type is an error and not
//! garbage, and fields may be added), keeps what JSON cannot (bytes, maps with any keys, every float), and measured, for a
//! cart of three items, 135 bytes against JSON's 186, a decode of 0.6 and an encode of 0.4 times its instructions.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::wire::{self, Reader, Text};

/// How deep a value may be nested: the decoder's recursion is bounded whatever is stored.
const MAX_DEPTH: usize = 128;

/// Encodes one value.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    let mut out = Vec::with_capacity(64);
    rmp_serde::encode::write_named(&mut out, value).map_err(|_| {
        // What serde says may quote the value: it stays out of the error.
        Error::invalid_input(format!("the value, a {}, cannot be encoded", std::any::type_name::<T>()))
    })?;
    Ok(Bytes::from(out))
}

/// Decodes one value.
pub(crate) fn decode<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    decoder.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut decoder).map_err(|_| {
        let wanted = std::any::type_name::<T>();
        Error::invalid_input(format!(
            "the session value `{name}` cannot be read as {wanted}; it was left as it is"
        ))
    })
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
    fn a_wrong_type_is_an_error_that_shows_no_value() {
        let error = decode::<u32>("pin", &encode("hunter2").unwrap()).unwrap_err();
        assert!(error.is_invalid_input());
        assert!(
            error.to_string().contains("`pin`") && !format!("{error:?}").contains("hunter2"),
            "{error:?}"
        );
    }

    #[test]
    fn decode_bombs_are_bounded() {
        let deep = vec![0x91_u8; 100_000]; // arrays of one array of one array …
        assert!(decode::<serde_json::Value>("v", &deep).is_err());
        let long = [0xdd, 0xff, 0xff, 0xff, 0xff]; // an array of four billion items, none of which is there
        assert!(decode::<Vec<u64>>("v", &long).is_err());
        let text = [0xdb, 0xff, 0xff, 0xff, 0xff, b'x']; // a text of four gigabytes
        assert!(decode::<String>("v", &text).is_err());
    }
}
