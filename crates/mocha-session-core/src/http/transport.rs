//! The transport of a session's id: a cookie, a header, or either.

use std::sync::Arc;

use super::cookie::{CookiePolicy, CookieWriter};
use super::request::RequestHeaders;
use super::token::{TokenHeader, TokenNames};
use crate::error::{Error, Result};

/// The response header that carries a token, unless the transport names another.
const RESPONSE_HEADER: &str = "session-token";

/// The way in which a session's id travels between the client and the server.
///
/// | transport | for |
/// |---|---|
/// | [`cookie`](Self::cookie), the default | browsers: scripts cannot read the id |
/// | [`bearer`](Self::bearer) | apps, devices, other servers: `Authorization: Bearer TOKEN` |
/// | [`header`](Self::header) | the same, if `Authorization` has another use |
/// | a cookie [`or_bearer`](Self::or_bearer), [`or_header`](Self::or_header) | one application for both |
///
/// In a header transport, a response that begins a session or changes its id carries the token in
/// the header `session-token`. An empty value means that the session has ended. Such a response is
/// `no-store`. Every response made from a session lists the request header's name in `Vary`. No
/// response has a `Set-Cookie` header. A response that only moves a deadline carries no token,
/// because a token has no `Max-Age`.
///
/// Browsers do not send this header by themselves, so an application that has only a header
/// transport needs no protection against cross-site requests.
///
/// In a transport with a cookie and a header, the response uses the one that carried the session. A
/// client without a session gets a cookie, unless it sends the header (it may be empty) and no
/// session cookie.
///
/// If the cookie and the header of a request name two different live sessions, the request has no
/// session, as with two cookies. Another site may have planted the cookie, or an old tab may have
/// kept the token. A login or a logout ends both sessions.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{CookiePolicy, Transport};
///
/// assert!(Transport::bearer().check().is_ok());
/// assert!(Transport::header("x-session-token").check().is_ok());
/// assert!(Transport::cookie(CookiePolicy::new()).or_bearer().check().is_ok());
/// assert!(Transport::header("cookie").check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    cookie: Option<CookiePolicy>,
    token: Option<TokenPolicy>,
    response: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TokenPolicy {
    Bearer,
    Header(String),
}

impl Transport {
    /// Creates a transport in a cookie.
    pub fn cookie(policy: CookiePolicy) -> Self {
        Self { cookie: Some(policy), token: None, response: None }
    }

    /// Creates a transport in the request header `Authorization`, with the scheme `Bearer` (RFC
    /// 6750). Other schemes in that header are left to the application.
    pub fn bearer() -> Self {
        Self { cookie: None, token: Some(TokenPolicy::Bearer), response: None }
    }

    /// Creates a transport in a request header of this name, which contains only the token.
    pub fn header(name: impl Into<String>) -> Self {
        Self { cookie: None, token: Some(TokenPolicy::Header(name.into())), response: None }
    }

    /// Also accepts `Authorization: Bearer`.
    #[must_use]
    pub fn or_bearer(self) -> Self {
        Self { token: Some(TokenPolicy::Bearer), ..self }
    }

    /// Also accepts a request header of this name.
    #[must_use]
    pub fn or_header(self, name: impl Into<String>) -> Self {
        Self { token: Some(TokenPolicy::Header(name.into())), ..self }
    }

    /// Sets the response header that carries a token. The default is `session-token`.
    #[must_use]
    pub fn response_header(self, name: impl Into<String>) -> Self {
        Self { response: Some(name.into()), ..self }
    }

    /// Checks for values that browsers and servers would drop or misread.
    ///
    /// # Errors
    /// `InvalidConfig`, which names the wrong name or attribute.
    pub fn check(&self) -> Result<()> {
        self.cookie.as_ref().map_or(Ok(()), CookiePolicy::check)?;
        if let Some(TokenPolicy::Header(name)) = &self.token {
            check_name("request", name)?;
        }
        if self.token.is_none() && self.response.is_some() {
            return Err(Error::invalid_config(
                "the session's transport is a cookie alone, and names a response header for tokens; \
                 add or_bearer() or or_header(…), or leave response_header out",
            ));
        }
        self.response.as_ref().map_or(Ok(()), |name| check_name("response", name))
    }

    pub(crate) fn cookie_policy(&self) -> Option<&CookiePolicy> {
        self.cookie.as_ref()
    }
}

/// A cookie with the default attributes.
impl Default for Transport {
    fn default() -> Self {
        Self::cookie(CookiePolicy::new())
    }
}

impl From<CookiePolicy> for Transport {
    fn from(policy: CookiePolicy) -> Self {
        Self::cookie(policy)
    }
}

/// Names of headers that have another meaning, which a token would break.
const TAKEN: [&str; 13] = [
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "location",
    "proxy-authorization",
    "set-cookie",
    "transfer-encoding",
    "vary",
];

fn check_name(which: &str, name: &str) -> Result<()> {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    let refuse = |why: &str| {
        Err(Error::invalid_config(format!("the {which} header of the session's token: {why}")))
    };
    if name.is_empty() || name.len() > 64 || !name.bytes().all(token) {
        return refuse("its name must be 1 to 64 letters, digits or !#$%&'*+-.^_`|~ (RFC 9110)");
    }
    match TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(name)) {
        true if name.eq_ignore_ascii_case("authorization") && which == "request" => {
            refuse("`Authorization` has schemes; use Transport::bearer()")
        }
        true => refuse("this name has another meaning in HTTP; take one of your own"),
        false => Ok(()),
    }
}

/// The transport by which a request's session came, and by which its response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    Cookie,
    Header,
    Both,
}

impl Via {
    pub(crate) fn cookie(self) -> bool {
        self != Self::Header
    }

    pub(crate) fn header(self) -> bool {
        self != Self::Cookie
    }

    /// Combines two transports of the same session.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

/// A checked transport, with the parts of its lines prepared.
#[derive(Clone, Debug)]
pub(crate) struct Carriers {
    pub(crate) cookie: Option<CookieWriter>,
    pub(crate) token: Option<TokenHeader>,
}

impl Carriers {
    pub(crate) fn new(transport: &Transport) -> Result<Self> {
        transport.check()?;
        let response = transport.response.as_deref().unwrap_or(RESPONSE_HEADER);
        let token = transport.token.as_ref().map(|policy| {
            let (request, vary) = match policy {
                TokenPolicy::Bearer => ("authorization".into(), "Authorization".into()),
                TokenPolicy::Header(name) => (name.to_ascii_lowercase(), name.clone()),
            };
            let bearer = *policy == TokenPolicy::Bearer;
            let names = TokenNames { request, vary, response: response.to_ascii_lowercase() };
            TokenHeader { names: Arc::new(names), bearer }
        });
        let cookie = transport.cookie.as_ref().map(CookieWriter::new).transpose()?;
        Ok(Self { cookie, token })
    }

    /// Returns the text that separates the sessions of two managers if the application names no
    /// scope.
    pub(crate) fn scope(&self) -> &str {
        match (&self.cookie, &self.token) {
            (Some(cookie), _) => cookie.name(),
            (None, Some(token)) if !token.bearer => &token.names.request,
            (None, _) => "bearer",
        }
    }

    /// Returns the transport for a client that has sent no session. The cookie comes first.
    pub(crate) fn first(&self) -> Via {
        if self.cookie.is_some() { Via::Cookie } else { Via::Header }
    }

    /// Returns the transport for the client of this request, unless its session came by another
    /// one.
    pub(crate) fn presented(&self, headers: &dyn RequestHeaders) -> Via {
        let (Some(cookie), Some(token)) = (&self.cookie, &self.token) else { return self.first() };
        let (mut cookies, mut tokens) = (false, false);
        headers.each_cookie(&mut |line| cookie.find(line, |_| cookies = true));
        headers.each_token(&mut |line| tokens |= token.find(line).is_some());
        if tokens && !cookies { Via::Header } else { Via::Cookie }
    }

    /// Calls `f` with every value that the request presents for a session.
    pub(crate) fn each_value(&self, headers: &dyn RequestHeaders, mut f: impl FnMut(Via, &[u8])) {
        if let Some(token) = &self.token {
            headers.each_token(&mut |line| {
                if let Some(value) = token.find(line) {
                    f(Via::Header, value);
                }
            });
        }
        if let Some(cookie) = &self.cookie {
            headers.each_cookie(&mut |line| cookie.find(line, |value| f(Via::Cookie, value)));
        }
    }

    /// Returns whether a request or a response could be read as that of either transport.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        let cookies = self.cookie.as_ref().zip(other.cookie.as_ref());
        let tokens = self.token.as_ref().zip(other.token.as_ref());
        cookies.is_some_and(|(one, two)| one.name() == two.name())
            || tokens.is_some_and(|(one, two)| {
                one.names.request == two.names.request || one.names.response == two.names.response
            })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::http::request::HeaderLines;

    fn found(transport: &Transport, line: &str) -> Option<String> {
        let carriers = Carriers::new(transport).unwrap();
        let token = carriers.token.unwrap();
        token.find(line.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn a_bearer_token_has_a_scheme_without_case_and_spaces_and_other_schemes_are_not_ours() {
        for (line, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER   abc ", Some("abc")),
            ("\tBearer abc", Some("abc")),
            ("Bearer", Some("")),
            ("Bearer ", Some("")),
            ("Bearer a b", Some("a b")),
            ("Bearer\tabc", None),
            ("Bearerabc", None),
            ("Bearer=abc", None),
            ("Basic YWxpY2U6c2VjcmV0", None),
            ("Digest username=\"Bearer x\"", None),
            ("abc", None),
            ("Bear", None),
            ("", None),
            ("\u{e9}earer abc", None),
        ] {
            assert_eq!(found(&Transport::bearer(), line).as_deref(), token, "{line:?}");
        }
    }

    #[test]
    fn a_header_of_ones_own_holds_the_token_alone() {
        let own = Transport::header("X-Session-Token");
        for (line, token) in [("abc", "abc"), (" abc\t", "abc"), ("", ""), ("Bearer x", "Bearer x")]
        {
            assert_eq!(found(&own, line).as_deref(), Some(token));
        }
        let carriers = Carriers::new(&own).unwrap();
        assert_eq!(carriers.token.unwrap().names.request, "x-session-token");
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for bad in [
            Transport::header(""),
            Transport::header("a b"),
            Transport::header("a\r\nset-cookie"),
            Transport::header("Authorization"),
            Transport::header("Cookie"),
            Transport::header("x".repeat(65)),
            Transport::bearer().response_header("Set-Cookie"),
            Transport::bearer().response_header("a:b"),
            Transport::default().response_header("x-token"),
            Transport::cookie(CookiePolicy::new().secure(false)).or_bearer(),
        ] {
            assert!(bad.check().is_err_and(|error| error.is_invalid_config()), "{bad:?}");
        }
        let bearer = Transport::header("authorization").check().unwrap_err().to_string();
        assert!(bearer.contains("Transport::bearer()"), "{bearer}");
    }

    #[test]
    fn a_client_without_a_session_is_answered_by_the_header_only_if_it_sends_that_alone() {
        let both = Transport::default().or_bearer();
        let presented = |transport: &Transport, cookies: &'static str, token: &'static str| {
            let lines: HeaderLines<&str> = [cookies].into_iter().collect();
            Carriers::new(transport).unwrap().presented(&lines.tokens([token]))
        };
        for (cookies, token, by) in [
            ("", "", Via::Cookie),
            ("theme=dark", "Basic x", Via::Cookie),
            ("theme=dark", "Bearer", Via::Header),
            ("", "Bearer unknown", Via::Header),
            ("__Host-session=unknown", "Bearer unknown", Via::Cookie),
        ] {
            assert_eq!(presented(&both, cookies, token), by, "{cookies} {token}");
        }
        assert_eq!(presented(&Transport::bearer(), "", ""), Via::Header);
        assert_eq!(presented(&Transport::default(), "", "Bearer x"), Via::Cookie);
    }

    #[test]
    fn transports_collide_where_a_line_could_mean_either() {
        let carriers = |transport: &Transport| Carriers::new(transport).unwrap();
        let cookie = |name: &str| Transport::cookie(CookiePolicy::named(name));
        for (one, two, collide) in [
            (cookie("a"), cookie("a"), true),
            (cookie("a"), cookie("b"), false),
            (cookie("a"), Transport::bearer(), false),
            (Transport::bearer(), Transport::bearer(), true),
            (Transport::bearer(), Transport::header("x-a"), true), // both answer in `session-token`
            (Transport::bearer(), Transport::header("x-a").response_header("x-b"), false),
            (Transport::header("X-A").response_header("x-b"), Transport::header("x-a"), true),
        ] {
            assert_eq!(carriers(&one).collides(&carriers(&two)), collide, "{one:?} {two:?}");
        }
    }
}
