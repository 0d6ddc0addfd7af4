//! Reads a request's headers for the core, and writes the core's changes into a response.

use http::{Method, Request};
use mocha_session_core::{CookieLines, RequestInfo};

mocha_session_core::__http_headers!(http::header);

/// The part of a request that a session needs. One pass over the headers costs less than looking up
/// four names.
pub(crate) fn request_info<B>(request: &Request<B>) -> RequestInfo<CookieLines<HeaderValue>> {
    let headers = request.headers();
    let cookies = headers.iter().filter(|(name, _)| **name == names::COOKIE);
    let cookies = cookies.map(|(_, value)| value.clone()).collect();
    let info = RequestInfo::new(cookies).head(request.method() == Method::HEAD);
    let purposes = headers.iter().filter(|(name, _)| PURPOSES.contains(name));
    purposes.fold(info, |info, (_, value)| info.purpose(value.as_bytes()))
}
