//! Reads a request's headers for the core, and writes the core's changes into a response.

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use mocha_session_core::{HeaderLines, RequestInfo, SessionManager};

mocha_session_core::__http_headers!(actix_web::http::header);

/// Returns the parts of a request that a session of this manager needs.
pub(crate) fn request_info(
    request: &ServiceRequest,
    manager: &SessionManager,
) -> RequestInfo<HeaderLines<HeaderValue>> {
    let headers = request.headers();
    let mut lines: HeaderLines<_> = headers.get_all(names::COOKIE).cloned().collect();
    if let Some(name) = manager.token_header() {
        lines = lines.tokens(headers.get_all(name).cloned());
    }
    let info = RequestInfo::new(lines).head(request.method() == Method::HEAD);
    let purposes = PURPOSES.iter().filter_map(|name| headers.get(name));
    purposes.fold(info, |info, value| info.purpose(value.as_bytes()))
}
