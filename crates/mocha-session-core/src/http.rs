//! What a session is in HTTP: transports, cookies, header lines and the request, as text.
//!
//! Nothing here knows what a session holds, or where it is kept.

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
