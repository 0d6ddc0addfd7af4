//! The HTTP side of a session: transports, cookies, header lines and the request, as text.
//!
//! This module does not depend on a session's content, or on its storage.

pub(crate) mod cookie;
mod cross_origin;
pub(crate) mod headers;
pub(crate) mod request;
pub(crate) mod token;
pub(crate) mod transport;

pub use cookie::{CookiePolicy, MAX_COOKIE_BYTES, SameSite};
pub use cross_origin::{CrossOrigin, CrossOriginProtection};
pub use headers::{HeaderChanges, HeaderSink};
pub use request::{HeaderLines, RequestHeaders, RequestInfo};
pub use token::SessionToken;
pub use transport::Transport;
