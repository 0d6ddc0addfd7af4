//! The `http` crate's header types, as the core wants to see them.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use mocha_session_core::{HeaderLines, HeaderSink, RequestInfo, SessionManager};

/// What a session of this manager needs to know of this request. Going through its headers costs
/// less than looking four names up.
pub(crate) fn request_info<B>(
    request: &Request<B>,
    manager: &SessionManager,
) -> RequestInfo<HeaderLines<HeaderValue>> {
    let headers = request.headers();
    let cookies = headers.iter().filter(|(name, _)| **name == header::COOKIE);
    let mut lines: HeaderLines<_> = cookies.map(|(_, value)| value.clone()).collect();
    if let Some(name) = manager.token_header() {
        lines = lines.tokens(headers.get_all(name).iter().cloned());
    }
    let info = RequestInfo::new(lines).head(request.method() == Method::HEAD);
    let purposes = headers.iter().filter(|(name, _)| PURPOSES.contains(name));
    purposes.fold(info, |info, (_, value)| info.purpose(value.as_bytes()))
}

/// Made when this is compiled, because parsing a name costs more than comparing it.
const PURPOSES: [HeaderName; 3] = {
    let [standard, older, oldest] = RequestInfo::PURPOSE_HEADERS;
    [
        HeaderName::from_static(standard),
        HeaderName::from_static(older),
        HeaderName::from_static(oldest),
    ]
};

/// The name of a header that the core reads or writes.
fn header_name(name: &str) -> Option<HeaderName> {
    match name {
        "vary" => Some(header::VARY),
        "cache-control" => Some(header::CACHE_CONTROL),
        "set-cookie" => Some(header::SET_COOKIE),
        other => HeaderName::try_from(other).ok(),
    }
}

/// A response's headers.
pub(crate) struct Sink<'h>(pub(crate) &'h mut HeaderMap);

impl HeaderSink for Sink<'_> {
    fn get_all(&self, name: &str, f: &mut dyn FnMut(&[u8])) {
        if let Some(name) = header_name(name) {
            self.0.get_all(name).iter().for_each(|value| f(value.as_bytes()));
        }
    }

    fn append(&mut self, name: &str, value: Cow<'static, str>) {
        if let Some((name, value)) = header_line(name, value) {
            self.0.append(name, value);
        }
    }

    fn set(&mut self, name: &str, value: Cow<'static, str>) {
        if let Some((name, value)) = header_line(name, value) {
            self.0.insert(name, value);
        }
    }
}

/// The core writes names that it has checked, and values of visible ASCII alone: both are always
/// valid.
fn header_line(name: &str, value: Cow<'static, str>) -> Option<(HeaderName, HeaderValue)> {
    let name = header_name(name)?;
    let value = match value {
        Cow::Borrowed(text) => HeaderValue::from_static(text),
        Cow::Owned(line) => {
            let mut value = HeaderValue::try_from(line).ok()?;
            // A cookie or a token: HTTP/2 and HTTP/3 keep the session id out of their compression
            // tables (RFC 7541 §7.1.3).
            value.set_sensitive(name != header::VARY);
            value
        }
    };
    Some((name, value))
}
