//! The session cookie as text: its attributes, the lines that set and remove it, and its parser.

use std::time::Duration;

use crate::error::{Error, Result};

/// The maximum size of a cookie, name and value, in bytes (RFC 6265 §6.1).
pub const MAX_COOKIE_BYTES: usize = 4096;

/// The cross-site requests with which a browser sends the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// None.
    Strict,
    /// Only navigations to this site. The default. By itself it does not protect against CSRF.
    #[default]
    Lax,
    /// All. It requires `Secure`.
    None,
}

/// The session cookie's name and attributes.
///
/// The default follows OWASP and the `__Host-` prefix: `__Host-session`, `Secure`, `HttpOnly`,
/// `SameSite=Lax`, `Path=/`, no `Domain`. The browser keeps the cookie as long as the session
/// lives. Building the manager fails for combinations that browsers would drop.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{CookiePolicy, SameSite};
///
/// let default = CookiePolicy::new();
/// assert_eq!(default.name(), "__Host-session");
/// assert!(default.check().is_ok());
///
/// let admin = CookiePolicy::named("__Host-admin").same_site(SameSite::Strict);
/// assert!(admin.check().is_ok());
///
/// let wrong = CookiePolicy::new().domain("example.com"); // `__Host-` forbids a domain
/// assert!(wrong.check().is_err());
///
/// let on_my_laptop = CookiePolicy::for_plain_http(); // `session`, without `Secure`
/// assert!(on_my_laptop.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookiePolicy {
    name: String,
    path: String,
    domain: Option<String>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    partitioned: bool,
    persistent: bool,
}

impl CookiePolicy {
    /// Creates the default policy.
    pub fn new() -> Self {
        Self::named("__Host-session")
    }

    /// Creates a policy with the default attributes and another name.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: "/".into(),
            domain: None,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
            persistent: true,
        }
    }

    /// Creates a policy for development over plain HTTP: named `session`, without `Secure`. Do not
    /// use it in production.
    ///
    /// On `localhost`, Chromium and curl keep `Secure` cookies over plain HTTP as well. Other
    /// browsers and other host names need this policy.
    pub fn for_plain_http() -> Self {
        Self { secure: false, ..Self::named("session") }
    }

    /// Limits the cookie to paths below this one.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Shares the cookie with the subdomains of this domain.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sets whether browsers send the cookie only over TLS.
    #[must_use]
    pub fn secure(mut self, yes: bool) -> Self {
        self.secure = yes;
        self
    }

    /// Sets whether the cookie is hidden from scripts.
    #[must_use]
    pub fn http_only(mut self, yes: bool) -> Self {
        self.http_only = yes;
        self
    }

    /// Sets the cross-site requests with which browsers send the cookie.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Sets whether browsers keep one cookie per embedding site (CHIPS).
    #[must_use]
    pub fn partitioned(mut self, yes: bool) -> Self {
        self.partitioned = yes;
        self
    }

    /// Sets whether the browser keeps the cookie after it is closed, as long as the session lives.
    /// The default is yes.
    #[must_use]
    pub fn persistent(mut self, yes: bool) -> Self {
        self.persistent = yes;
        self
    }

    /// Returns the cookie's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether browsers send the cookie only over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Checks for combinations that browsers drop, and for text that would break the header.
    ///
    /// # Errors
    /// `InvalidConfig`, which names the wrong attribute.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::invalid_config(format!("the session cookie: {why}")));
        let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        let text = |c: u8| (0x20..0x7f).contains(&c) && c != b';';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(token) {
            return refuse(
                "its name must be 1 to 64 letters, digits or !#$%&'*+-.^_`|~ (RFC 6265 §4.1.1)",
            );
        }
        if !self.path.starts_with('/') || !self.path.bytes().all(text) {
            return refuse("its path must begin with '/' and hold no ';' or control character");
        }
        let host = |c: u8| c.is_ascii_alphanumeric() || c == b'.' || c == b'-';
        if self.domain.as_ref().is_some_and(|domain| domain.is_empty() || !domain.bytes().all(host))
        {
            return refuse("its domain must be a host name");
        }
        let begins = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|is| is.eq_ignore_ascii_case(prefix))
        };
        if begins("__Host-") && !(self.secure && self.path == "/" && self.domain.is_none()) {
            return refuse("a name that begins with `__Host-` needs Secure, Path=/ and no Domain");
        }
        if begins("__Secure-") && !self.secure {
            return refuse("a name that begins with `__Secure-` needs Secure");
        }
        if self.same_site == SameSite::None && !self.secure {
            return refuse("SameSite=None needs Secure");
        }
        if self.partitioned && !self.secure {
            return refuse("Partitioned needs Secure");
        }
        Ok(())
    }
}

impl Default for CookiePolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// A checked policy, with the text of its lines prepared.
#[derive(Clone, Debug)]
pub(crate) struct CookieWriter {
    name: String,
    attributes: String,
    /// Whether the browser keeps the cookie after it is closed, unless a session decides otherwise.
    pub(crate) persistent: bool,
}

impl CookieWriter {
    pub(crate) fn new(policy: &CookiePolicy) -> Result<Self> {
        policy.check()?;
        let mut attributes = format!("; Path={}", policy.path);
        if let Some(domain) = &policy.domain {
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        for (yes, text) in [(policy.secure, "; Secure"), (policy.http_only, "; HttpOnly")] {
            attributes.push_str(if yes { text } else { "" });
        }
        attributes.push_str(match policy.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        attributes.push_str(if policy.partitioned { "; Partitioned" } else { "" });
        Ok(Self { name: policy.name.clone(), attributes, persistent: policy.persistent })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the line that sets the cookie to the text that `value` appends, of `length` bytes.
    /// The browser deletes the cookie after `max_age`, or when it is closed.
    pub(crate) fn set(
        &self,
        length: usize,
        value: impl FnOnce(&mut String),
        max_age: Option<Duration>,
    ) -> String {
        const MAX_AGE: &str = "; Max-Age=";
        let seconds = max_age.map(|max_age| max_age.as_secs().max(1));
        let digits = |seconds: u64| seconds.checked_ilog10().map_or(1, |log| log as usize + 1);
        let age = seconds.map_or(0, |seconds| MAX_AGE.len() + digits(seconds));
        // Allocated to the byte, so that a framework can take the text over without a copy.
        let mut line =
            String::with_capacity(self.name.len() + 1 + length + age + self.attributes.len());
        line.push_str(&self.name);
        line.push('=');
        value(&mut line);
        if let Some(seconds) = seconds {
            line.push_str(MAX_AGE);
            push_number(seconds, &mut line);
        }
        line.push_str(&self.attributes);
        line
    }

    /// Returns the line that removes the cookie. It has the same name, path, domain and attributes,
    /// because otherwise the browser would keep the cookie.
    pub(crate) fn remove(&self) -> String {
        format!(
            "{}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT{}",
            self.name, self.attributes
        )
    }

    /// Calls `each` with every value of our cookie in the header.
    pub(crate) fn find<'h>(&self, header: &'h [u8], each: impl FnMut(&'h [u8])) {
        find(&self.name, header, each);
    }
}

/// Calls `each` with every value in the header of the cookie with this name. Names are compared
/// exactly, and only spaces and tabs are white space, so that no similar name of a proxy or an
/// attacker is accepted.
pub(crate) fn find<'h>(name: &str, header: &'h [u8], mut each: impl FnMut(&'h [u8])) {
    for pair in header.split(|&c| c == b';') {
        let pair = trim(pair);
        if let Some(value) =
            pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
        {
            each(trim(value));
        }
    }
}

/// Returns the text without the spaces and tabs around it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn push_number(number: u64, out: &mut String) {
    use std::fmt::Write as _;
    // Writing a number into a String cannot fail.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn found(header: &str) -> Vec<String> {
        let writer = CookieWriter::new(&CookiePolicy::named("id").secure(false)).unwrap();
        let mut values = Vec::new();
        writer.find(header.as_bytes(), |value| {
            values.push(String::from_utf8_lossy(value).into_owned());
        });
        values
    }

    #[test]
    fn only_our_own_name_is_found() {
        assert_eq!(found("a=1; id=x;id=y ; b=2"), ["x", "y"]);
        assert_eq!(
            found("ID=x; idx=1; xid=2; id =3; \u{a0}id=4; $Version=1; \"id\"=5; id"),
            Vec::<String>::new()
        );
        assert_eq!(found("id=\"x\""), ["\"x\""]); // ids have no quotes
        assert_eq!(found("id=a=b; id="), ["a=b", ""]);
        assert_eq!(found("\tid=t\t"), ["t"]);
    }

    fn set(writer: &CookieWriter) -> String {
        let line = writer.set(
            1,
            |line| line.push('v'),
            writer.persistent.then(|| Duration::from_secs(60)),
        );
        assert_eq!(line.capacity(), line.len());
        line
    }

    #[test]
    fn the_lines_agree_in_all_but_the_value() {
        let writer = CookieWriter::new(&CookiePolicy::new()).unwrap();
        assert_eq!(
            set(&writer),
            "__Host-session=v; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            writer.remove(),
            "__Host-session=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        let policy = CookiePolicy::named("s")
            .domain("example.com")
            .path("/app")
            .partitioned(true)
            .persistent(false);
        let writer = CookieWriter::new(&policy).unwrap();
        assert_eq!(
            set(&writer),
            "s=v; Path=/app; Domain=example.com; Secure; HttpOnly; SameSite=Lax; Partitioned"
        );
        assert!(writer.remove().ends_with(
            "; Path=/app; Domain=example.com; Secure; HttpOnly; SameSite=Lax; Partitioned"
        ));
    }

    #[test]
    fn bad_combinations_are_refused() {
        let plain = CookiePolicy::for_plain_http;
        for bad in [
            CookiePolicy::new().secure(false),
            CookiePolicy::new().path("/app"),
            CookiePolicy::new().domain("example.com"),
            CookiePolicy::named("__host-x").secure(false),
            CookiePolicy::named("__Secure-x").secure(false),
            plain().same_site(SameSite::None),
            plain().partitioned(true),
            CookiePolicy::named(""),
            CookiePolicy::named("a b"),
            CookiePolicy::named("a=b"),
            plain().path("app"),
            plain().path("/a;b"),
            plain().path("/a\r\nb"),
            plain().domain("a;b"),
        ] {
            assert!(bad.check().is_err_and(|error| error.is_invalid_config()), "{bad:?}");
        }
    }
}
