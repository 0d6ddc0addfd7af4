//! Reading and writing the bytes of a record: bounded, never panicking, without copying what is read.

use bytes::Bytes;

use crate::error::{Error, Result};

/// Appends a number in as few bytes as it needs (LEB128).
pub(crate) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Reads what the `put_…` functions wrote, from a shared buffer: what it returns are slices of it.
#[derive(Debug)]
pub(crate) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for (at, &byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if at == 9 && bits > 1 {
                break;
            }
            number |= bits << (7 * at);
            if byte & 0x80 == 0 {
                let _ = self.rest.split_to(at + 1);
                return Ok(number);
            }
        }
        Err(broken())
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = *self.rest.first_chunk::<N>().ok_or_else(broken)?;
        let _ = self.rest.split_to(N);
        Ok(bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let length = usize::try_from(self.number()?).map_err(|_| broken())?;
        if length > self.rest.len() {
            return Err(broken());
        }
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn text(&mut self) -> Result<Text> {
        Text::new(self.bytes()?).ok_or_else(broken)
    }

    /// The number of items that follow, each of at least one byte: a count that the rest cannot hold is refused before
    /// anything is allocated for it.
    pub(crate) fn count(&mut self) -> Result<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| broken())?;
        if count > self.rest.len() { Err(broken()) } else { Ok(count) }
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(broken()) }
    }
}

fn broken() -> Error {
    Error::corrupt("the record is damaged: its content does not end where it says")
}

/// Text that is a slice of a shared buffer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(Bytes);

impl Text {
    /// `None` when it is not UTF-8.
    pub(crate) fn new(bytes: Bytes) -> Option<Self> {
        std::str::from_utf8(&bytes).ok()?;
        Some(Self(bytes))
    }

    pub(crate) fn as_str(&self) -> &str {
        // Checked when it was made; the empty string is never returned.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_number(number, &mut out);
            let mut reader = Reader::new(out.into());
            assert_eq!(reader.number().unwrap(), number);
            assert!(reader.end().is_ok());
        }
    }

    #[test]
    fn lies_about_lengths_are_refused() {
        for bytes in [&[0x80][..], &[0xff; 11], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[5, 1, 2]] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert!(Reader::new(bytes.clone()).bytes().is_err_and(|error| error.is_corrupt()));
            assert!(Reader::new(bytes).count().is_err());
        }
    }
}
