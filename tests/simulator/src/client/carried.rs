//! The way in which a client carries its sessions, and the lines that it reads of a response.

use mocha_session_core::{CookiePolicy, HeaderLines, RequestInfo, Transport};

use super::Line;
use crate::ops::{By, Carrier};

const NAME: &str = "__Host-session";

/// The lines of a response for a client.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// In the way that the client reads.
    pub(super) line: Option<Line>,
    /// In the other one.
    pub(super) beside: Option<Line>,
}

/// The transport of a manager, and how a client that looks from outside carries a session.
pub(super) fn transport(carrier: Carrier) -> (Transport, By) {
    let cookie = Transport::cookie(CookiePolicy::named(NAME));
    match carrier {
        Carrier::Cookie => (cookie, By::Cookie),
        Carrier::Token => (Transport::bearer(), By::Token),
        Carrier::Both => (cookie.or_bearer(), By::Both),
    }
}

/// The session in a request header: `NAME=SESSION`, or `Bearer SESSION`.
pub(super) fn value(header: &str) -> String {
    header.split_once(['=', ' ']).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

impl By {
    /// A request that carries these sessions.
    pub(super) fn request(self, sessions: &[impl AsRef<str>]) -> RequestInfo<HeaderLines<String>> {
        let (cookies, tokens) = match self {
            Self::Cookie => (sessions, &sessions[..0]),
            Self::Token => (&sessions[..0], sessions),
            Self::Both => (sessions, sessions),
            Self::Each => sessions.split_at(sessions.len().min(1)),
        };
        let pairs: Vec<_> =
            cookies.iter().map(|session| format!("{NAME}={}", session.as_ref())).collect();
        let mut lines: Vec<_> =
            tokens.iter().map(|session| format!("Bearer {}", session.as_ref())).collect();
        if self == Self::Token && lines.is_empty() {
            // So a client says that it takes a token and has none.
            lines.push(String::from("Bearer"));
        }
        let cookies = Some(pairs.join("; ")).filter(|cookies| !cookies.is_empty());
        RequestInfo::new(cookies.into_iter().collect::<HeaderLines<_>>().tokens(lines))
    }

    /// Returns the lines of a response for a client that carries its session so.
    pub(super) fn read(self, cookie: Option<&str>, token: Option<&str>) -> Lines {
        let cookie = cookie.map(read_line);
        let token = token.map(|token| match token {
            "" => Line::Remove,
            token => Line::Set(token.to_owned(), None),
        });
        match self {
            Self::Token => Lines { line: token, beside: cookie },
            Self::Each if cookie.is_none() => Lines { line: token, beside: None },
            _ => Lines { line: cookie, beside: token },
        }
    }
}

/// Reads a `Set-Cookie` line as a browser does.
fn read_line(line: &str) -> Line {
    let mut parts = line.split(';').map(str::trim);
    let value = parts.next().and_then(|pair| pair.split_once('=')).map(|(_, value)| value);
    let age = parts.find_map(|part| part.strip_prefix("Max-Age=")).and_then(|age| age.parse().ok());
    match value {
        Some(value) if !value.is_empty() && age != Some(0) => Line::Set(value.to_owned(), age),
        _ => Line::Remove,
    }
}
