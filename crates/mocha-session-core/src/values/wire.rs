//! Reads and writes the bytes of a record: checks every length, never panics, and copies no input.

use std::sync::Arc;

use crate::error::{Error, Result};

/// Appends a number as LEB128.
pub(crate) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Appends the length and the bytes.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Reads the output of the `put_…` functions. It returns slices of the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the unread bytes.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        // The fast path: nearly all numbers are lengths below 128.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        let mut number = 0_u64;
        for (at, &byte) in self.rest.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if at == 9 && bits > 1 {
                break;
            }
            number |= bits << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(number);
            }
        }
        Err(broken())
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(broken)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'b [u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| broken())?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(broken)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'b str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| broken())
    }

    /// Reads the number of items that follow. Refuses a count above the number of unread bytes, so
    /// that a damaged count does not cause a large allocation.
    pub(crate) fn count(&mut self) -> Result<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| broken())?;
        if count > self.rest.len() { Err(broken()) } else { Ok(count) }
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(broken()) }
    }
}

fn broken() -> Error {
    Error::corrupt("the record is damaged: a length in it does not match its content")
}

/// Text that is cheap to clone.
#[derive(Clone)]
pub(crate) enum Text {
    /// A name from the program's source, as most are.
    Static(&'static str),
    Shared(Arc<str>),
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Shared(Arc::from(text))
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
            let mut reader = Reader::new(&out);
            assert_eq!(reader.number().unwrap(), number);
            assert!(reader.end().is_ok());
        }
    }

    #[test]
    fn lies_about_lengths_are_refused() {
        for bytes in [&[0x80][..], &[0xff; 11], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[5, 1, 2]] {
            assert!(Reader::new(bytes).bytes().is_err_and(|error| error.is_corrupt()));
            assert!(Reader::new(bytes).count().is_err());
        }
    }
}
