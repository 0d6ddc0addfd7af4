//! The core's result for a framework: changes to the response's headers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::token::TokenNames;

/// The header map of a response. A framework implements it for its own type.
///
/// Names are in lower case. An owned value contains a session's id, unless it is for `vary`. If a
/// header map can mark values as sensitive, mark it.
pub trait HeaderSink {
    /// Calls `f` with every value of the header `name`.
    fn get_all(&self, name: &str, f: &mut dyn FnMut(&[u8]));
    /// Adds a line and keeps the existing ones.
    fn append(&mut self, name: &str, value: Cow<'static, str>);
    /// Replaces all lines of this name by one.
    fn set(&mut self, name: &str, value: Cow<'static, str>);
}

/// Implements the shared part of every framework's `headers.rs` over its version of the `http`
/// crate: `PURPOSES`, the names of [`RequestInfo::PURPOSE_HEADERS`], and `Sink`, a [`HeaderSink`]
/// over a response's headers. It is a macro because the versions' types are unrelated.
#[doc(hidden)]
#[macro_export]
macro_rules! __http_headers {
    ($($http:ident)::+) => {
        use $($http)::+::{self as names, HeaderMap, HeaderName, HeaderValue};

        /// A static, because parsing a name costs more than comparing it.
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
            fn get_all(&self, name: &str, f: &mut dyn FnMut(&[u8])) {
                if let Some(name) = header_name(name) {
                    self.0.get_all(name).into_iter().for_each(|value| f(value.as_bytes()));
                }
            }

            fn append(&mut self, name: &str, value: ::std::borrow::Cow<'static, str>) {
                if let Some((name, value)) = header_line(name, value) {
                    self.0.append(name, value);
                }
            }

            fn set(&mut self, name: &str, value: ::std::borrow::Cow<'static, str>) {
                if let Some((name, value)) = header_line(name, value) {
                    self.0.insert(name, value);
                }
            }
        }

        /// Returns the name of a header that the core reads or writes.
        fn header_name(name: &str) -> Option<HeaderName> {
            match name {
                "vary" => Some(names::VARY),
                "cache-control" => Some(names::CACHE_CONTROL),
                "set-cookie" => Some(names::SET_COOKIE),
                other => HeaderName::try_from(other).ok(),
            }
        }

        /// Returns a header line. It is always valid, because the core writes only names that it
        /// has checked and values of visible ASCII.
        fn header_line(
            name: &str,
            value: ::std::borrow::Cow<'static, str>,
        ) -> Option<(HeaderName, HeaderValue)> {
            let name = header_name(name)?;
            let value = match value {
                ::std::borrow::Cow::Borrowed(text) => HeaderValue::from_static(text),
                ::std::borrow::Cow::Owned(line) => {
                    let mut value = HeaderValue::try_from(line).ok()?;
                    // It is a cookie or a token. HTTP/2 and HTTP/3 keep sensitive values out of
                    // their compression tables (RFC 7541 §7.1.3).
                    value.set_sensitive(name != names::VARY);
                    value
                }
            };
            Some((name, value))
        }
    };
}

/// A finished session's changes to the response's headers: the cookie line or the token, `Vary`,
/// `Cache-Control`.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::HeaderChanges;
/// assert!(HeaderChanges::none().is_none()); // the session was not touched: nothing at all
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    pub(crate) cookie: Option<String>,
    /// Whether the response depends on the request's cookie.
    pub(crate) varies_by_cookie: bool,
    /// Boxed, because most applications have no header transport.
    pub(crate) token: Option<Box<TokenChanges>>,
}

/// A finished session's changes where the transport has a header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenChanges {
    pub(crate) names: Arc<TokenNames>,
    /// The new token. It is empty if the session has ended.
    pub(crate) value: Option<String>,
}

impl HeaderChanges {
    /// Returns an empty set of changes.
    pub const fn none() -> Self {
        Self { cookie: None, varies_by_cookie: false, token: None }
    }

    /// Returns whether there is nothing to change.
    pub fn is_none(&self) -> bool {
        self.cookie.is_none() && !self.varies_by_cookie && self.token.is_none()
    }

    /// Returns the value of the `Set-Cookie` line, if there is one. It contains the session id: do
    /// not log it.
    pub fn set_cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Returns the value of the header that carries a new token, if there is one. It is empty if
    /// the session has ended. Do not log it.
    pub fn session_token(&self) -> Option<&str> {
        self.token.as_ref()?.value.as_deref()
    }

    /// Writes the changes into a response.
    ///
    /// A response that was made from the session varies with its cookie, or with the header of its
    /// token (RFC 9110 §12.5.5). It is `private` unless the application sets `Cache-Control`. A
    /// response that carries a cookie or a token is always `no-store`, because otherwise a cache
    /// could return one user's session to another (ASVS 14.3.2).
    pub fn apply(self, headers: &mut impl HeaderSink) {
        if self.is_none() {
            return;
        }
        let mut carries = self.cookie.is_some();
        if self.varies_by_cookie && !has_token(headers, "vary", &[b"cookie", b"*"]) {
            headers.append("vary", Cow::Borrowed("Cookie"));
        }
        if let Some(TokenChanges { names, value }) = self.token.map(|token| *token) {
            if !has_token(headers, "vary", &[names.request.as_bytes(), b"*"]) {
                headers.append("vary", Cow::Owned(names.vary.clone()));
            }
            carries |= value.is_some();
            match value {
                Some(ended) if ended.is_empty() => headers.set(&names.response, Cow::Borrowed("")),
                Some(token) => headers.set(&names.response, Cow::Owned(token)),
                None => {}
            }
        }
        if let Some(line) = self.cookie {
            headers.append("set-cookie", Cow::Owned(line));
        }
        if !carries {
            let mut said = false;
            headers.get_all("cache-control", &mut |_| said = true);
            if !said {
                headers.set("cache-control", Cow::Borrowed("private"));
            }
        } else if !has_token(headers, "cache-control", &[b"no-store"]) {
            headers.set("cache-control", Cow::Borrowed("no-store"));
        }
    }
}

impl fmt::Debug for HeaderChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderChanges")
            .field("cookie", &self.cookie.as_ref().map(|_| "…"))
            .field("token", &self.session_token().map(|_| "…"))
            .field("consulted", &(self.varies_by_cookie || self.token.is_some()))
            .finish()
    }
}

fn has_token(headers: &impl HeaderSink, name: &str, tokens: &[&[u8]]) -> bool {
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
    struct Headers(Vec<(String, String)>);

    impl HeaderSink for Headers {
        fn get_all(&self, name: &str, f: &mut dyn FnMut(&[u8])) {
            self.0
                .iter()
                .filter(|(own, _)| *own == name)
                .for_each(|(_, value)| f(value.as_bytes()));
        }
        fn append(&mut self, name: &str, value: Cow<'static, str>) {
            self.0.push((name.to_owned(), value.into_owned()));
        }
        fn set(&mut self, name: &str, value: Cow<'static, str>) {
            self.0.retain(|(own, _)| *own != name);
            self.append(name, value);
        }
    }

    fn changed(changes: HeaderChanges, before: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut headers = Headers(lines(before));
        changes.apply(&mut headers);
        headers.0
    }

    fn applied(cookie: Option<&str>, before: &[(&str, &str)]) -> Vec<(String, String)> {
        let cookie = cookie.map(ToOwned::to_owned);
        changed(HeaderChanges { cookie, varies_by_cookie: true, token: None }, before)
    }

    fn lines(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
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
    fn a_token_replaces_what_the_app_said_and_is_never_a_cookie() {
        let names = Arc::new(TokenNames {
            request: "x-token".into(),
            vary: "X-Token".into(),
            response: "session-token".into(),
        });
        let token = |value: Option<&str>| {
            let value = value.map(ToOwned::to_owned);
            let token = Some(Box::new(TokenChanges { names: Arc::clone(&names), value }));
            HeaderChanges { token, ..HeaderChanges::none() }
        };
        let before = [("cache-control", "public"), ("session-token", "forged")];
        let after = [("vary", "X-Token"), ("session-token", "new"), ("cache-control", "no-store")];
        assert_eq!(changed(token(Some("new")), &before), lines(&after));
        let ended = [("vary", "X-Token"), ("session-token", ""), ("cache-control", "no-store")];
        assert_eq!(changed(token(Some("")), &[]), lines(&ended));
        let read = [("vary", "x-token"), ("cache-control", "private")];
        assert_eq!(changed(token(None), &[("vary", "x-token")]), lines(&read));
        assert!(!token(None).is_none() && token(Some("new")).set_cookie().is_none());
        assert!(!format!("{:?}", token(Some("hunter2"))).contains("hunter2"));
    }
}
