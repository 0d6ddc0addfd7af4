//! Cookies as text.

/// What a cookie may be at most, name and value, in bytes (RFC 6265 §6.1).
pub(crate) const MAX_COOKIE_BYTES: usize = 4096;
