//! actix's header types, as the core wants to see them.

use std::borrow::Cow;

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use mocha_session_core::{CookieLines, HeaderSink, RequestInfo};

/// What a session needs to know of this request.
pub(crate) fn request_info(request: &ServiceRequest) -> RequestInfo<CookieLines<HeaderValue>> {
    let headers = request.headers();
    let cookies = headers.get_all(header::COOKIE).cloned().collect();
    let mut info = RequestInfo::new(cookies).head(request.method() == Method::HEAD);
    for name in &PURPOSES {
        if let Some(value) = headers.get(name) {
            info = info.purpose(value.as_bytes());
        }
    }
    info
}

/// Made when this is compiled, because parsing a name costs more than looking it up.
const PURPOSES: [HeaderName; 3] = {
    let [standard, older, oldest] = RequestInfo::PURPOSE_HEADERS;
    [
        HeaderName::from_static(standard),
        HeaderName::from_static(older),
        HeaderName::from_static(oldest),
    ]
};

/// The name of a header that the core reads or writes.
fn header_name(name: &'static str) -> HeaderName {
    match name {
        "vary" => header::VARY,
        "cache-control" => header::CACHE_CONTROL,
        "set-cookie" => header::SET_COOKIE,
        other => HeaderName::from_static(other),
    }
}

/// A response's headers.
pub(crate) struct Sink<'h>(pub(crate) &'h mut HeaderMap);

impl HeaderSink for Sink<'_> {
    fn get_all(&self, name: &'static str, f: &mut dyn FnMut(&[u8])) {
        self.0.get_all(header_name(name)).for_each(|value| f(value.as_bytes()));
    }

    fn append(&mut self, name: &'static str, value: Cow<'static, str>) {
        if let Some(value) = header_value(value) {
            self.0.append(header_name(name), value);
        }
    }

    fn set(&mut self, name: &'static str, value: Cow<'static, str>) {
        if let Some(value) = header_value(value) {
            self.0.insert(header_name(name), value);
        }
    }
}

/// The core writes visible ASCII alone, which is always a header value.
fn header_value(value: Cow<'static, str>) -> Option<HeaderValue> {
    match value {
        Cow::Borrowed(text) => Some(HeaderValue::from_static(text)),
        Cow::Owned(line) => {
            let mut value = HeaderValue::try_from(line).ok()?;
            // A cookie: HTTP/2 keeps the session id out of its compression table (RFC 7541 §7.1.3).
            value.set_sensitive(true);
            Some(value)
        }
    }
}
