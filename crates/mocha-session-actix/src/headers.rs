//! Reads a request's headers for the core, and writes the core's changes into a response.

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use mocha_session_core::{CookieLines, RequestInfo};

mocha_session_core::__http_headers!(actix_web::http::header);

/// The part of a request that a session needs.
pub(crate) fn request_info(request: &ServiceRequest) -> RequestInfo<CookieLines<HeaderValue>> {
    let headers = request.headers();
    let cookies = headers.get_all(names::COOKIE).cloned().collect();
    let info = RequestInfo::new(cookies).head(request.method() == Method::HEAD);
    let purposes = PURPOSES.iter().filter_map(|name| headers.get(name));
    purposes.fold(info, |info, value| info.purpose(value.as_bytes()))
}
