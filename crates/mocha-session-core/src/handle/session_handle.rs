//! A name for one of an owner's sessions that does not reveal its id.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Names one of an owner's sessions, and stays the same when its id rotates. It is not a secret: it
/// may be used in a form on a "my devices" page.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::SessionHandle;
/// let handle: SessionHandle = "00000000000000ff".parse()?;
/// assert_eq!(handle.to_string(), "00000000000000ff");
/// assert!("1; DROP TABLE".parse::<SessionHandle>().is_err());
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionHandle(pub(crate) u64);

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SessionHandle {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = text.len() == 16
            && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        match u64::from_str_radix(text, 16) {
            Ok(number) if hex => Ok(Self(number)),
            _ => Err(Error::invalid_input("a session handle is 16 hexadecimal digits")),
        }
    }
}
