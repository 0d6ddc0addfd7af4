//! Names of session values: plain text, or a typed key that ties a name to a type at compile time.

use std::fmt;
use std::marker::PhantomData;

use crate::error::{Error, Result};
use crate::values::wire::Text;

/// The maximum length of a value's name, in bytes.
pub const MAX_KEY_BYTES: usize = 256;

/// The prefix of names that are reserved for the library.
const RESERVED: &str = "__";

/// The name of a session value, together with its type.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::Key;
///
/// const VIEWS: Key<u64> = Key::new("views");
/// # fn demo(session: &mocha_session_core::Session) -> mocha_session_core::Result<()> {
/// session.insert(VIEWS, 1)?;
/// let views: Option<u64> = session.get(VIEWS)?;
/// # Ok(()) }
/// ```
///
/// A reserved, empty or overlong name does not compile:
///
/// ```compile_fail,E0080
/// # use mocha_session_core as mocha_session;
/// use mocha_session::Key;
///
/// const BAD: Key<u64> = Key::new("__flash");
/// ```
pub struct Key<T> {
    name: &'static str,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// Creates a key with this name. Use it for a `const`, so that an invalid name does not
    /// compile.
    ///
    /// # Panics
    /// If the name is empty, longer than 256 bytes, or starts with `__`.
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(
            !bytes.is_empty() && bytes.len() <= MAX_KEY_BYTES,
            "the name of a session key must have 1 to 256 bytes"
        );
        assert!(
            bytes.len() < 2 || bytes[0] != b'_' || bytes[1] != b'_',
            "names of session keys that start with `__` are reserved for the library"
        );
        Self { name, of: PhantomData }
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.name)
    }
}

/// A name for a value of any type: a [`Key`], or any text.
pub trait KeyName {
    /// Returns the name.
    fn key_name(&self) -> &str;

    /// Returns the name if it is `'static`, so that it need not be copied.
    fn static_name(&self) -> Option<&'static str> {
        None
    }
}

impl<T> KeyName for Key<T> {
    fn key_name(&self) -> &str {
        self.name
    }

    fn static_name(&self) -> Option<&'static str> {
        Some(self.name)
    }
}

impl<S: AsRef<str>> KeyName for S {
    fn key_name(&self) -> &str {
        self.as_ref()
    }
}

/// A name for a value of type `T`: a `Key<T>`, or any text.
pub trait KeyFor<T>: KeyName {}

impl<T> KeyFor<T> for Key<T> {}

impl<T, S: AsRef<str>> KeyFor<T> for S {}

/// Returns the name if it is allowed.
pub(crate) fn checked<K: KeyName + ?Sized>(key: &K) -> Result<&str> {
    let name = key.key_name();
    if name.is_empty() || name.len() > MAX_KEY_BYTES {
        return Err(Error::invalid_input("the name of a session value must have 1 to 256 bytes"));
    }
    if name.starts_with(RESERVED) {
        return Err(Error::invalid_input(
            "names of session values that start with `__` are reserved for the library; choose \
             another name",
        ));
    }
    Ok(name)
}

/// Returns the name, if it is allowed, in a form that can be stored.
pub(crate) fn text<K: KeyName + ?Sized>(key: &K) -> Result<Text> {
    let name = checked(key)?;
    Ok(key.static_name().filter(|own| *own == name).map_or_else(|| Text::from(name), Text::Static))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_empty_and_overlong_names_are_refused() {
        for bad in ["", "__", "__flash", &"x".repeat(257)] {
            assert!(checked(&bad).is_err_and(|error| error.is_invalid_input()), "{bad}");
        }
        assert!(checked(&"x".repeat(256)).is_ok());
        assert!(checked(&Key::<u8>::new("_x")).is_ok());
    }
}
