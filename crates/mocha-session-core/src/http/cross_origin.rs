//! Refuses requests that other sites make a browser send (cross-site request forgery).

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// Refuses requests that change something and that another site made a browser send.
///
/// The rules are those of Go's `http.CrossOriginProtection`. They need no token, because browsers
/// report the origin of a request:
///
/// 1. `GET`, `HEAD` and `OPTIONS` pass. They must not change anything.
/// 2. If `Sec-Fetch-Site` is present, it decides: `same-origin` and `none` pass. Every browser
///    since 2023 sends it.
/// 3. Otherwise `Origin` decides: a request passes if its host is the request's own host.
/// 4. A request with neither header passes, because it does not come from a browser, or only from a
///    very old one.
///
/// A request that these rules refuse still passes if its `Origin` is [trusted](Self::trust) or its
/// path is [exempt](Self::exempt).
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::CrossOriginProtection;
///
/// let protection = CrossOriginProtection::new()
///     .trust("https://admin.example.com")? // may send forms here
///     .exempt("POST /webhooks/")?; // checks signatures of its own
///
/// let sent_by = |site: &'static str| {
///     let header = move |name: &str| (name == "sec-fetch-site").then_some(site.as_bytes());
///     protection.check("POST", "/transfer", None, header)
/// };
/// assert!(sent_by("same-origin").is_ok());
/// assert!(sent_by("cross-site").is_err());
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CrossOriginProtection {
    trusted: Vec<String>,
    exempt: Vec<Pattern>,
}

/// The reason for which [`CrossOriginProtection`] refuses a request. The response's status is 403.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::CrossOrigin;
///
/// assert!(CrossOrigin::Site.to_string().contains("Sec-Fetch-Site"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrossOrigin {
    /// `Sec-Fetch-Site` reports that another origin caused the request.
    Site,
    /// There is no `Sec-Fetch-Site`, and `Origin` has another host.
    Origin,
}

impl CrossOriginProtection {
    /// Creates a protection that trusts no other origin and exempts no path.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets requests of another origin pass. Write the origin as browsers do:
    /// `https://admin.example.com`, with a port unless it is the scheme's default.
    ///
    /// # Errors
    /// `InvalidConfig` if a browser would not send this as an origin: it has no scheme or no host,
    /// or it has a path.
    pub fn trust(mut self, origin: impl Into<String>) -> Result<Self> {
        let origin = origin.into();
        let host =
            origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, host)| host);
        if !host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])) {
            let why = format!(
                "`{origin}` is not an origin to trust; write scheme and host without a path, like \
                 `https://admin.example.com`"
            );
            return Err(Error::new(ErrorKind::InvalidConfig, why));
        }
        self.trusted.push(origin);
        Ok(self)
    }

    /// Lets every request to a path pass. The handler of that path must not trust the session, or
    /// must check the request by other means.
    ///
    /// The pattern is a path: `/hook` matches only that path, `/hooks/` also everything below it,
    /// and `{name}` matches one segment. A method before the path (`POST /hook`) limits the pattern
    /// to that method. A path that a router could read as a different one (`..`, an empty segment,
    /// an encoded slash or dot) matches no pattern.
    ///
    /// # Errors
    /// `InvalidConfig` if the path does not begin with a slash.
    pub fn exempt(mut self, pattern: &str) -> Result<Self> {
        self.exempt.push(Pattern::parse(pattern)?);
        Ok(self)
    }

    /// Checks whether the request may continue.
    ///
    /// `path` is the path as the client sent it. `authority` is the host in the request's URI, if
    /// there is one, as in HTTP/2. Otherwise the `Host` header is used. `header` receives a name in
    /// lower case and returns the first value of that header.
    ///
    /// # Errors
    /// The reason for the refusal. Respond with 403.
    pub fn check<'a>(
        &self,
        method: &str,
        path: &str,
        authority: Option<&str>,
        header: impl Fn(&'static str) -> Option<&'a [u8]>,
    ) -> std::result::Result<(), CrossOrigin> {
        if matches!(method, "GET" | "HEAD" | "OPTIONS") {
            return Ok(());
        }
        let sent = |name| header(name).filter(|value| !value.is_empty());
        let origin = sent("origin");
        let refusal = match (sent("sec-fetch-site"), origin) {
            (Some(b"same-origin" | b"none"), _) | (None, None) => return Ok(()),
            (Some(_), _) => CrossOrigin::Site,
            (None, Some(origin)) => {
                // `Host` has no scheme, so a form of `http://us` that is sent to `https://us`
                // passes here.
                let own = authority.map(str::as_bytes).or_else(|| sent("host"));
                if own.is_some() && host(origin) == own {
                    return Ok(());
                }
                CrossOrigin::Origin
            }
        };
        let trusted =
            origin.is_some_and(|origin| self.trusted.iter().any(|own| own.as_bytes() == origin));
        if trusted
            || (is_plain(path) && self.exempt.iter().any(|pattern| pattern.matches(method, path)))
        {
            return Ok(());
        }
        Err(refusal)
    }
}

impl fmt::Display for CrossOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Site => "refused a cross-origin request: its Sec-Fetch-Site names another origin",
            Self::Origin => {
                "refused a cross-origin request: it has no Sec-Fetch-Site, and its Origin is not its Host"
            }
        })
    }
}

impl std::error::Error for CrossOrigin {}

/// Returns the host and port of an origin. `null` has none: browsers send it for content that has
/// no origin.
fn host(origin: &[u8]) -> Option<&[u8]> {
    let scheme = origin.windows(3).position(|window| window == b"://")?;
    Some(&origin[scheme + 3..])
}

/// Returns whether every router reads this path in the same way.
fn is_plain(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let ambiguous = ["//", "\\", "%2e", "%2f", "%5c"].iter().any(|part| lower.contains(part));
    !ambiguous && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// A path that is exempt.
#[derive(Clone, Debug)]
struct Pattern {
    method: Option<String>,
    /// `None` matches any one segment.
    segments: Vec<Option<String>>,
    /// Whether the pattern ends in a slash, and so also matches the paths below it.
    below: bool,
}

impl Pattern {
    fn parse(pattern: &str) -> Result<Self> {
        let (method, path) = match pattern.split_once(' ') {
            Some((method, path)) => (Some(method.to_owned()), path.trim_start()),
            None => (None, pattern),
        };
        let Some(path) = path.strip_prefix('/') else {
            let why = format!(
                "`{pattern}` exempts no path; write it with its first slash, like `/hooks/`"
            );
            return Err(Error::new(ErrorKind::InvalidConfig, why));
        };
        let (path, below) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, path.is_empty()),
        };
        let segment = |segment: &str| {
            let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            match name {
                Some(name)
                    if !name.is_empty()
                        && name.chars().all(|c| c.is_alphanumeric() || c == '_') =>
                {
                    Ok(None)
                }
                None if !segment.contains(['{', '}']) => Ok(Some(segment.to_owned())),
                // This includes the patterns that only Go has: `{$}` and `{name...}`.
                _ => {
                    let why = format!(
                        "`{pattern}` exempts nothing: between slashes stands a text, or `{{name}}`"
                    );
                    Err(Error::new(ErrorKind::InvalidConfig, why))
                }
            }
        };
        let segments =
            if path.is_empty() { Ok(Vec::new()) } else { path.split('/').map(segment).collect() };
        Ok(Self { method, segments: segments?, below })
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut sent = path.split('/');
        let alike = self.segments.iter().all(|own| {
            let segment = sent.next();
            match own {
                Some(own) => segment == Some(own.as_str()),
                None => segment.is_some_and(|segment| !segment.is_empty()),
            }
        });
        self.method.as_ref().is_none_or(|own| own == method)
            && alike
            && sent.next().is_some() == self.below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a request to `example.com`.
    fn check(
        protection: &CrossOriginProtection,
        (method, path): (&str, &str),
        site: &'static str,
        origin: &'static str,
    ) -> std::result::Result<(), CrossOrigin> {
        protection.check(method, path, None, |name| match name {
            "sec-fetch-site" => Some(site.as_bytes()),
            "origin" => Some(origin.as_bytes()),
            "host" => Some(b"example.com"),
            _ => None,
        })
    }

    #[test]
    fn a_form_passes_from_its_own_origin_and_not_from_another() {
        let protection = CrossOriginProtection::new();
        let (site, origin) = (Err(CrossOrigin::Site), Err(CrossOrigin::Origin));
        for (method, sec_fetch_site, sent, decision) in [
            ("POST", "same-origin", "", Ok(())),
            ("POST", "none", "", Ok(())),
            ("POST", "cross-site", "", site),
            ("POST", "same-site", "", site),
            ("POST", "anything", "", site),
            ("POST", "cross-site", "https://example.com", site),
            ("POST", "same-origin", "https://attacker.example", Ok(())),
            ("POST", "", "", Ok(())),
            ("POST", "", "https://example.com", Ok(())),
            ("POST", "", "http://example.com", Ok(())),
            ("POST", "", "https://attacker.example", origin),
            ("POST", "", "https://example.com.attacker.example", origin),
            ("POST", "", "https://example.com:8443", origin),
            ("POST", "", "null", origin),
            ("GET", "cross-site", "", Ok(())),
            ("HEAD", "cross-site", "", Ok(())),
            ("OPTIONS", "cross-site", "", Ok(())),
            ("GET", "", "https://attacker.example", Ok(())),
            ("PUT", "cross-site", "", site),
            ("PATCH", "", "https://attacker.example", origin),
            ("DELETE", "same-site", "", site),
            ("get", "cross-site", "", site),
        ] {
            let decided = check(&protection, (method, "/"), sec_fetch_site, sent);
            assert_eq!(decided, decision, "{method} {sec_fetch_site} {sent}");
        }
    }

    #[test]
    fn a_trusted_origin_passes_and_no_other() {
        let protection = CrossOriginProtection::new().trust("https://trusted.example").unwrap();
        for (site, origin, passes) in [
            ("", "https://trusted.example", true),
            ("cross-site", "https://trusted.example", true),
            ("", "https://attacker.example", false),
            ("cross-site", "https://attacker.example", false),
            ("cross-site", "http://trusted.example", false),
            ("cross-site", "https://trusted.example:8443", false),
            ("cross-site", "", false),
        ] {
            let decided = check(&protection, ("POST", "/"), site, origin);
            assert_eq!(decided.is_ok(), passes, "{site} {origin}");
        }
    }

    #[test]
    fn an_origin_to_trust_has_a_scheme_and_a_host_and_nothing_else() {
        for right in ["https://example.com", "https://example.com:8080", "http://example.com"] {
            assert!(CrossOriginProtection::new().trust(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "null",
            "example.com",
            "://example.com",
            "https://",
            "https:///path",
            "https://example.com/",
            "https://example.com/path",
            "https://example.com?query",
            "https://example.com#fragment",
            "https://user@example.com",
        ] {
            let error = CrossOriginProtection::new().trust(wrong).unwrap_err();
            assert!(
                error.is_invalid_config() && error.to_string().contains("write scheme"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_exempt_path_passes_and_no_path_beside_it() {
        let protection = CrossOriginProtection::new();
        let protection = ["/hook", "/hooks/", "/of/{user}/hook", "PATCH /one"]
            .iter()
            .try_fold(protection, |protection, pattern| protection.exempt(pattern))
            .unwrap();
        for (method, path, passes) in [
            ("POST", "/", false),
            ("POST", "/hook", true),
            ("POST", "/hook/", false),
            ("POST", "/hook/more", false),
            ("POST", "/hooks", false),
            ("POST", "/hooks/", true),
            ("POST", "/hooks/more/of/it", true),
            ("POST", "/of/alice/hook", true),
            ("POST", "/of//hook", false),
            ("POST", "/of/alice/bob/hook", false),
            ("PATCH", "/one", true),
            ("POST", "/one", false),
            ("POST", "/hooks/../transfer", false),
            ("POST", "/hooks/./more", false),
            ("POST", "/hooks/%2E%2e/transfer", false),
            ("POST", "/hooks/..%2ftransfer", false),
            ("POST", "/hooks//transfer", false),
            ("POST", "/hooks/..\\transfer", false),
            ("POST", "*", false),
        ] {
            let decided = check(&protection, (method, path), "cross-site", "");
            assert_eq!(decided.is_ok(), passes, "{method} {path}");
        }
        let everything = CrossOriginProtection::new().exempt("/").unwrap();
        assert!(check(&everything, ("POST", "/any/path"), "cross-site", "").is_ok());
        for pattern in ["hook", "/{$}", "/hooks/{$}", "/{rest...}", "/{}", "/a{b}"] {
            assert!(
                CrossOriginProtection::new().exempt(pattern).unwrap_err().is_invalid_config(),
                "{pattern}"
            );
        }
    }

    #[test]
    fn the_host_in_the_uri_counts_before_the_header() {
        let protection = CrossOriginProtection::new();
        let header = |name| match name {
            "origin" => Some(b"https://example.com".as_slice()),
            "host" => Some(b"other.example".as_slice()),
            _ => None,
        };
        assert!(protection.check("POST", "/", Some("example.com"), header).is_ok());
        assert_eq!(protection.check("POST", "/", None, header), Err(CrossOrigin::Origin));
        let no_host = |name| header(name).filter(|_| name != "host");
        assert_eq!(protection.check("POST", "/", None, no_host), Err(CrossOrigin::Origin));
    }
}
