//! What a framework hands to the core and gets back: the request's cookie text, and changes to the
//! response's headers.

use std::borrow::Cow;
use std::fmt;

/// The request's `Cookie` header values, shared and not copied: a framework implements it for what
/// it has.
///
/// ```
/// use mocha_session_core::CookieHeaders;
///
/// let mut seen = Vec::new();
/// "a=1; b=2".each(&mut |header| seen.push(header.to_vec()));
/// assert_eq!(seen, [b"a=1; b=2"]);
/// ```
pub trait CookieHeaders: Send + Sync + 'static {
    /// Calls `f` with the value of every `Cookie` header, in order.
    fn each(&self, f: &mut dyn FnMut(&[u8]));
}

impl CookieHeaders for () {
    fn each(&self, _f: &mut dyn FnMut(&[u8])) {}
}

impl CookieHeaders for &'static str {
    fn each(&self, f: &mut dyn FnMut(&[u8])) {
        f(self.as_bytes());
    }
}

impl CookieHeaders for String {
    fn each(&self, f: &mut dyn FnMut(&[u8])) {
        f(self.as_bytes());
    }
}

impl<T: AsRef<[u8]> + Send + Sync + 'static> CookieHeaders for Vec<T> {
    fn each(&self, f: &mut dyn FnMut(&[u8])) {
        self.iter().for_each(|header| f(header.as_ref()));
    }
}

/// The `Cookie` headers of a request, in whatever type a framework shares them: HTTP/1 has one,
/// HTTP/2 may have several. A single line needs no allocation.
///
/// ```
/// use mocha_session_core::{CookieLines, RequestInfo};
///
/// let lines: CookieLines<&str> = ["a=1", "b=2"].into_iter().collect();
/// let info = RequestInfo::new(lines);
/// # let _ = info;
/// ```
pub struct CookieLines<T> {
    first: Option<T>,
    more: Vec<T>,
}

impl<T> FromIterator<T> for CookieLines<T> {
    fn from_iter<I: IntoIterator<Item = T>>(lines: I) -> Self {
        let mut lines = lines.into_iter();
        Self { first: lines.next(), more: lines.collect() }
    }
}

impl<T: AsRef<[u8]> + Send + Sync + 'static> CookieHeaders for CookieLines<T> {
    fn each(&self, f: &mut dyn FnMut(&[u8])) {
        self.first.iter().chain(&self.more).for_each(|line| f(line.as_ref()));
    }
}

impl<T> fmt::Debug for CookieLines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieLines").finish_non_exhaustive()
    }
}

/// What a session needs to know of its request.
///
/// ```
/// use mocha_session_core::RequestInfo;
///
/// let info = RequestInfo::new("__Host-session=…").head(true).purpose(b"prefetch;prerender");
/// assert!(info.is_speculative());
/// ```
#[derive(Clone, Copy)]
pub struct RequestInfo<C = ()> {
    pub(crate) cookies: C,
    pub(crate) head: bool,
    pub(crate) prefetch: bool,
}

impl RequestInfo {
    /// The headers in which browsers say that they only prefetch: the standard's, and what older
    /// browsers send. [`purpose`](RequestInfo::purpose) takes their values.
    pub const PURPOSE_HEADERS: [&'static str; 3] = ["sec-purpose", "purpose", "x-moz"];
}

impl<C: CookieHeaders> RequestInfo<C> {
    /// A request with these cookie headers.
    pub fn new(cookies: C) -> Self {
        Self { cookies, head: false, prefetch: false }
    }

    /// Whether its method is HEAD: nobody sees what its response says.
    #[must_use]
    pub fn head(mut self, yes: bool) -> Self {
        self.head = yes;
        self
    }

    /// The value of one of its [`PURPOSE_HEADERS`](RequestInfo::PURPOSE_HEADERS): a prefetch may
    /// never be seen.
    #[must_use]
    pub fn purpose(mut self, header: &[u8]) -> Self {
        self.prefetch |=
            header.split(|c| b";, ".contains(c)).any(|word| word.eq_ignore_ascii_case(b"prefetch"));
        self
    }

    /// Whether nobody may see the response's body, so that flash messages stay.
    pub fn is_speculative(&self) -> bool {
        self.head || self.prefetch
    }
}

impl<C> fmt::Debug for RequestInfo<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestInfo")
            .field("head", &self.head)
            .field("prefetch", &self.prefetch)
            .finish_non_exhaustive()
    }
}

/// The header map of a response, whatever its type: a framework implements it for its own.
pub trait HeaderSink {
    /// Calls `f` with every value of the header `name` (given in lower case).
    fn get_all(&self, name: &'static str, f: &mut dyn FnMut(&[u8]));
    /// Adds a line and keeps those that are there.
    fn append(&mut self, name: &'static str, value: Cow<'static, str>);
    /// Replaces all lines of this name by one.
    fn set(&mut self, name: &'static str, value: Cow<'static, str>);
}

/// Implements what every framework's `headers.rs` needs over its own version of the `http` crate:
/// `PURPOSES`, the names of [`RequestInfo::PURPOSE_HEADERS`], and `Sink`, a [`HeaderSink`] over a
/// response's headers. A macro, because the versions' types are unrelated.
#[doc(hidden)]
#[macro_export]
macro_rules! __http_headers {
    ($($http:ident)::+) => {
        use $($http)::+::{self as names, HeaderMap, HeaderName, HeaderValue};

        /// A constant, because parsing a name costs more than comparing it.
        static PURPOSES: [HeaderName; 3] = {
            let [standard, older, oldest] = $crate::RequestInfo::PURPOSE_HEADERS;
            [
                HeaderName::from_static(standard),
                HeaderName::from_static(older),
                HeaderName::from_static(oldest),
            ]
        };

        /// A response's headers.
        pub(crate) struct Sink<'h>(pub(crate) &'h mut HeaderMap);

        impl $crate::HeaderSink for Sink<'_> {
            fn get_all(&self, name: &'static str, f: &mut dyn FnMut(&[u8])) {
                self.0.get_all(header_name(name)).into_iter().for_each(|value| f(value.as_bytes()));
            }

            fn append(&mut self, name: &'static str, value: ::std::borrow::Cow<'static, str>) {
                if let Some(value) = header_value(value) {
                    self.0.append(header_name(name), value);
                }
            }

            fn set(&mut self, name: &'static str, value: ::std::borrow::Cow<'static, str>) {
                if let Some(value) = header_value(value) {
                    self.0.insert(header_name(name), value);
                }
            }
        }

        /// The name of a header that the core reads or writes.
        fn header_name(name: &'static str) -> HeaderName {
            match name {
                "vary" => names::VARY,
                "cache-control" => names::CACHE_CONTROL,
                "set-cookie" => names::SET_COOKIE,
                other => HeaderName::from_static(other),
            }
        }

        /// The core writes visible ASCII only, which is always a header value.
        fn header_value(value: ::std::borrow::Cow<'static, str>) -> Option<HeaderValue> {
            match value {
                ::std::borrow::Cow::Borrowed(text) => Some(HeaderValue::from_static(text)),
                ::std::borrow::Cow::Owned(line) => {
                    let mut value = HeaderValue::try_from(line).ok()?;
                    // A cookie. HTTP/2 and HTTP/3 keep a sensitive value out of their compression
                    // tables (RFC 7541 §7.1.3).
                    value.set_sensitive(true);
                    Some(value)
                }
            }
        }
    };
}

/// What a finished session changes in the response's headers: the cookie line, `Vary`,
/// `Cache-Control`.
///
/// ```
/// use mocha_session_core::HeaderChanges;
/// assert!(HeaderChanges::none().is_none()); // the session was not touched: nothing at all
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    pub(crate) cookie: Option<String>,
    pub(crate) consulted: bool,
}

impl HeaderChanges {
    /// No change.
    pub const fn none() -> Self {
        Self { cookie: None, consulted: false }
    }

    /// Whether there is nothing to change.
    pub fn is_none(&self) -> bool {
        self.cookie.is_none() && !self.consulted
    }

    /// The value of the `Set-Cookie` line, if there is one. It holds the session id: not for logs.
    pub fn set_cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Writes the changes into a response.
    ///
    /// A response made from the session varies with its cookie (RFC 9110 §12.5.5), and is `private`
    /// where the application says nothing about caching. One that sets the cookie is `no-store`,
    /// whatever the application said, lest a cache hand one user's session to another (ASVS
    /// 14.3.2).
    pub fn apply(self, headers: &mut impl HeaderSink) {
        if self.consulted && !has_token(headers, "vary", &[b"cookie", b"*"]) {
            headers.append("vary", Cow::Borrowed("Cookie"));
        }
        if let Some(line) = self.cookie {
            headers.append("set-cookie", Cow::Owned(line));
            if !has_token(headers, "cache-control", &[b"no-store"]) {
                headers.set("cache-control", Cow::Borrowed("no-store"));
            }
        } else if self.consulted {
            let mut said = false;
            headers.get_all("cache-control", &mut |_| said = true);
            if !said {
                headers.set("cache-control", Cow::Borrowed("private"));
            }
        }
    }
}

impl fmt::Debug for HeaderChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderChanges")
            .field("cookie", &self.cookie.as_ref().map(|_| "…"))
            .field("consulted", &self.consulted)
            .finish()
    }
}

fn has_token(headers: &impl HeaderSink, name: &'static str, tokens: &[&[u8]]) -> bool {
    let mut found = false;
    headers.get_all(name, &mut |value| {
        found |= value
            .split(|&c| c == b',')
            .any(|part| tokens.iter().any(|token| part.trim_ascii().eq_ignore_ascii_case(token)));
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Headers(Vec<(&'static str, String)>);

    impl HeaderSink for Headers {
        fn get_all(&self, name: &'static str, f: &mut dyn FnMut(&[u8])) {
            self.0
                .iter()
                .filter(|(own, _)| *own == name)
                .for_each(|(_, value)| f(value.as_bytes()));
        }
        fn append(&mut self, name: &'static str, value: Cow<'static, str>) {
            self.0.push((name, value.into_owned()));
        }
        fn set(&mut self, name: &'static str, value: Cow<'static, str>) {
            self.0.retain(|(own, _)| *own != name);
            self.append(name, value);
        }
    }

    fn applied(
        cookie: Option<&str>,
        before: &[(&'static str, &str)],
    ) -> Vec<(&'static str, String)> {
        let mut headers =
            Headers(before.iter().map(|(name, value)| (*name, (*value).to_owned())).collect());
        HeaderChanges { cookie: cookie.map(ToOwned::to_owned), consulted: true }
            .apply(&mut headers);
        headers.0
    }

    fn lines(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        expected.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    #[test]
    fn a_read_varies_and_is_private_unless_the_app_says_otherwise() {
        assert_eq!(applied(None, &[]), lines(&[("vary", "Cookie"), ("cache-control", "private")]));
        let own = [("vary", "Accept, COOKIE"), ("cache-control", "public, max-age=60")];
        assert_eq!(applied(None, &own), lines(&own));
        assert_eq!(
            applied(None, &[("vary", "*")]),
            lines(&[("vary", "*"), ("cache-control", "private")])
        );
    }

    #[test]
    fn not_cacheable_when_the_cookie_is_set_and_the_apps_own_cookies_stay() {
        let before = [
            ("set-cookie", "theme=dark"),
            ("cache-control", "public, max-age=60"),
            ("vary", "accept"),
        ];
        let after = [
            ("set-cookie", "theme=dark"),
            ("vary", "accept"),
            ("vary", "Cookie"),
            ("set-cookie", "s=1"),
            ("cache-control", "no-store"),
        ];
        assert_eq!(applied(Some("s=1"), &before), lines(&after));
    }

    #[test]
    fn cookie_lines_keep_their_order() {
        for lines in [vec![], vec!["a=1"], vec!["a=1", "b=2", "c=3"]] {
            let mut seen = Vec::new();
            let cookies: CookieLines<&str> = lines.iter().copied().collect();
            cookies.each(&mut |line| seen.push(line.to_vec()));
            assert_eq!(seen, lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn prefetches_are_recognised() {
        for (header, is) in
            [("prefetch", true), ("Prefetch;prerender", true), ("navigate", false), ("", false)]
        {
            assert_eq!(
                RequestInfo::new(()).purpose(header.as_bytes()).is_speculative(),
                is,
                "{header}"
            );
        }
    }
}
