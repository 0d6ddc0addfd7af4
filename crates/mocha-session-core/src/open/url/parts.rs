//! The parts of a store URL: hosts, credentials, options, percent-decoding.

use percent_encoding::percent_decode_str;

use super::{invalid, raw_character};
use crate::error::Result;
use crate::open::host::host_name;

/// A host of a [`StoreUrl`](crate::StoreUrl), with its port if the URL has one.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::StoreUrl;
///
/// let url = StoreUrl::parse("redis://[::1]:6380").unwrap();
/// assert_eq!((url.hosts()[0].name(), url.hosts()[0].port()), ("::1", Some(6380)));
/// assert_eq!(url.hosts()[0].authority(6379), "[::1]:6380");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub(super) name: String,
    pub(super) port: Option<u16>,
}

impl Host {
    /// Returns the name or address. An IPv6 address has no brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port, if the URL has one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns `name:port`, with brackets around an IPv6 address. If the URL has no port, uses
    /// `default_port`.
    pub fn authority(&self, default_port: u16) -> String {
        let port = self.port.unwrap_or(default_port);
        if self.name.contains(':') {
            format!("[{}]:{port}", self.name)
        } else {
            format!("{}:{port}", self.name)
        }
    }
}

pub(crate) fn decode(text: &str, what: &str) -> Result<String> {
    let broken = text.match_indices('%').any(|(at, _)| {
        !text.get(at + 1..at + 3).is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()))
    });
    if broken {
        return Err(invalid(&format!(
            "its {what} contains a '%' without two hexadecimal digits; write %25 for a '%'"
        )));
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.contains(|c: char| c.is_control()) => Ok(text.into_owned()),
        Ok(_) => Err(invalid(&format!("its {what} contains a control character"))),
        Err(_) => Err(invalid(&format!("its {what} is not UTF-8 after percent-decoding"))),
    }
}

pub(crate) fn parse_credentials(text: &str) -> Result<(Option<String>, Option<String>)> {
    // Some parsers read a '+' as itself and others as a space, so it is refused as ambiguous.
    if let Some(raw) = text.chars().find(|c| matches!(c, '+' | '@')) {
        return Err(raw_character(raw));
    }
    let (username, password) =
        text.split_once(':').map_or((text, None), |(name, word)| (name, Some(word)));
    let username = if username.is_empty() { None } else { Some(decode(username, "user name")?) };
    Ok((username, password.map(|word| decode(word, "password")).transpose()?))
}

pub(crate) fn parse_host(text: &str) -> Result<Host> {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => match rest.strip_prefix(':') {
            _ if rest.is_empty() => (format!("[{address}]"), None),
            Some(port) => (format!("[{address}]"), Some(port)),
            None => return Err(invalid("something other than a port follows an IPv6 address")),
        },
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(invalid(
                    "a host has several colons; write an IPv6 address in brackets, like [::1]:6379",
                ));
            }
            Some((name, port)) => (name.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        },
    };
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|c| c.is_ascii_digit()) => Some(number),
            _ => return Err(invalid("a port is not a number from 1 to 65535")),
        },
    };
    Ok(Host { name: host_name(&name)?, port })
}

pub(crate) fn parse_options(query: &str) -> Result<Vec<(String, String)>> {
    let mut options: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if options.iter().any(|(known, _)| *known == name) {
            return Err(invalid("an option is given twice"));
        }
        options.push((name.into_owned(), value.into_owned()));
    }
    Ok(options)
}
