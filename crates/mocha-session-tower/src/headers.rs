//! Reads a request's headers for the core, and writes the core's changes into a response.

use http::{Method, Request};
use mocha_session_core::{HeaderLines, RequestInfo, SessionManager};

mocha_session_core::__http_headers!(http::header);

/// Returns the parts of a request that a session of this manager needs. One pass over the headers
/// costs less than four lookups.
pub(crate) fn request_info<B>(
    request: &Request<B>,
    manager: &SessionManager,
) -> RequestInfo<HeaderLines<HeaderValue>> {
    let headers = request.headers();
    let cookies = headers.iter().filter(|(name, _)| **name == names::COOKIE);
    let mut lines: HeaderLines<_> = cookies.map(|(_, value)| value.clone()).collect();
    if let Some(name) = manager.token_header() {
        lines = lines.tokens(headers.get_all(name).iter().cloned());
    }
    let info = RequestInfo::new(lines).head(request.method() == Method::HEAD);
    let purposes = headers.iter().filter(|(name, _)| PURPOSES.contains(name));
    purposes.fold(info, |info, (_, value)| info.purpose(value.as_bytes()))
}
