//! The `http` crate's header types, as the core wants to see them.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use mocha_session_core::{CookieHeaders, HeaderSink, RequestInfo};

/// A request's `Cookie` headers: HTTP/1 has one, HTTP/2 may have several. Cloned by reference count.
pub(crate) struct Cookies {
    first: Option<HeaderValue>,
    more: Vec<HeaderValue>,
}

impl CookieHeaders for Cookies {
    fn each(&self, f: &mut dyn FnMut(&[u8])) {
        self.first.iter().chain(&self.more).for_each(|value| f(value.as_bytes()));
    }
}

/// What a session needs to know of this request.
pub(crate) fn request_info<B>(request: &Request<B>) -> RequestInfo<Cookies> {
    let headers = request.headers();
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let cookies = Cookies { first: cookies.next().cloned(), more: cookies.cloned().collect() };
    let mut info = RequestInfo::new(cookies).head(request.method() == Method::HEAD);
    for name in ["sec-purpose", "purpose", "x-moz"] {
        for value in headers.get_all(name) {
            info = info.purpose(value.as_bytes());
        }
    }
    info
}

/// A response's headers.
pub(crate) struct Sink<'h>(pub(crate) &'h mut HeaderMap);

impl HeaderSink for Sink<'_> {
    fn get_all(&self, name: &'static str, f: &mut dyn FnMut(&[u8])) {
        self.0.get_all(name).iter().for_each(|value| f(value.as_bytes()));
    }

    fn append(&mut self, name: &'static str, value: Cow<'static, str>) {
        if let Some(value) = header_value(value) {
            self.0.append(HeaderName::from_static(name), value);
        }
    }

    fn set(&mut self, name: &'static str, value: Cow<'static, str>) {
        if let Some(value) = header_value(value) {
            self.0.insert(HeaderName::from_static(name), value);
        }
    }
}

/// The core writes visible ASCII alone, which is always a header value.
fn header_value(value: Cow<'static, str>) -> Option<HeaderValue> {
    let mut value = match value {
        Cow::Borrowed(text) => HeaderValue::from_static(text),
        Cow::Owned(text) => HeaderValue::try_from(text).ok()?,
    };
    // HTTP/2 and HTTP/3 then keep the session id out of their compression tables (RFC 7541 §7.1.3).
    value.set_sensitive(value.as_bytes().contains(&b'='));
    Some(value)
}
