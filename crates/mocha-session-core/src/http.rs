//! What a session is in HTTP: cookies, header lines and the request, as text.
//!
//! Nothing here knows what a session holds, or where it is kept.

pub(crate) mod cookie;
mod cross_origin;
pub(crate) mod headers;

pub use cookie::{CookiePolicy, MAX_COOKIE_BYTES, SameSite};
pub use cross_origin::{CrossOrigin, CrossOriginProtection};
pub use headers::{CookieHeaders, CookieLines, HeaderChanges, HeaderSink, RequestInfo};
