//! The name or address of a host in a store URL, in the one spelling that drivers receive.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::url::invalid;
use crate::error::{Error, Result};

/// Returns a host name in lower case, or an address without its brackets.
///
/// ASCII names and addresses are read here. Other names need the large tables of the `url` package,
/// and therefore the cargo feature `idna`. It also reads percent-encoded names and shortened IPv4
/// addresses, as browsers do.
///
/// # Errors
/// `InvalidConfig` if the text does not name a host.
pub(super) fn host_name(text: &str) -> Result<String> {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err(invalid("what stands in brackets is not an IPv6 address")),
        };
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(address.to_string());
    }
    if is_plain(text) { Ok(text.to_ascii_lowercase()) } else { unusual(text) }
}

/// Returns whether this is an ASCII name that every parser reads in the same way. A name whose last
/// label is a number is an IPv4 address.
fn is_plain(name: &str) -> bool {
    let last = name.strip_suffix('.').unwrap_or(name).rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|c| c.is_ascii_digit());
    let hexadecimal = last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    name.bytes().all(in_host_name) && !number && !hexadecimal
}

fn in_host_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

#[cfg(feature = "idna")]
fn unusual(text: &str) -> Result<String> {
    match url::Host::parse(text) {
        // The name is percent-decoded here. A comma in it would read as two joined hosts.
        Ok(url::Host::Domain(name)) if name.bytes().all(in_host_name) => Ok(name),
        Ok(url::Host::Ipv4(address)) => Ok(address.to_string()),
        Ok(url::Host::Ipv6(address)) => Ok(address.to_string()),
        Ok(url::Host::Domain(_)) | Err(_) => Err(no_host()),
    }
}

#[cfg(not(feature = "idna"))]
fn unusual(text: &str) -> Result<String> {
    if text.is_ascii() {
        return Err(no_host());
    }
    Err(invalid(
        "a host name has letters outside ASCII: write its ASCII form, which begins with xn--, or \
         enable the cargo feature `idna` of mocha-session-core",
    ))
}

fn no_host() -> Error {
    invalid("a host name is empty or holds a character that no host name has")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_ascii_and_an_address_need_no_tables() {
        for (text, name) in [
            ("Db.Example", "db.example"),
            ("my_redis", "my_redis"),
            ("db.example.", "db.example."),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            // A container's name is its id.
            ("7f3a2b1c9d0e", "7f3a2b1c9d0e"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::0001]", "::1"),
        ] {
            assert_eq!(host_name(text).unwrap(), name);
            // The tables must give the same result.
            #[cfg(feature = "idna")]
            assert_eq!(unusual(text).unwrap(), name);
        }
        for text in ["", "a b", "a,b", "a+b", "a%2cb", "1.2.3.400", "[::1", "[1.2.3.4]"] {
            assert!(host_name(text).is_err_and(|error| error.is_invalid_config()), "{text}");
        }
    }

    #[cfg(feature = "idna")]
    #[test]
    fn with_the_tables_a_name_in_any_script_is_read() {
        assert_eq!(host_name("bücher.example").unwrap(), "xn--bcher-kva.example");
        assert_eq!(host_name("my%5Fredis").unwrap(), "my_redis");
        assert_eq!(host_name("127.1").unwrap(), "127.0.0.1");
    }

    #[cfg(not(feature = "idna"))]
    #[test]
    fn without_the_tables_a_name_in_another_script_is_refused_with_the_way_out() {
        let message = host_name("bücher.example").unwrap_err().to_string();
        assert!(message.contains("xn--") && message.contains("`idna`"), "{message}");
        assert!(host_name("127.1").is_err());
    }
}
