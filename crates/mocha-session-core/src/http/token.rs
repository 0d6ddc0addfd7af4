//! Tokens: the text of a session's id outside cookies, and the header that carries it.

use std::fmt;
use std::sync::Arc;

use super::cookie::trim;

/// The header that carries a token.
#[derive(Clone, Debug)]
pub(crate) struct TokenHeader {
    pub(crate) names: Arc<TokenNames>,
    pub(super) bearer: bool,
}

/// The names of the token's headers, in lower case, and the request header's name as `Vary` spells
/// it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenNames {
    pub(crate) request: String,
    pub(crate) vary: String,
    pub(crate) response: String,
}

impl TokenHeader {
    /// Returns the token of a header line, empty if the client has none yet. Returns `None` if the
    /// line has another scheme.
    pub(super) fn find<'h>(&self, line: &'h [u8]) -> Option<&'h [u8]> {
        let line = trim(line);
        if !self.bearer {
            return Some(line);
        }
        // `Bearer` 1*SP token (RFC 6750 §2.1). The scheme is case-insensitive (RFC 9110 §11.1).
        let (scheme, rest) = line.split_at_checked("bearer".len())?;
        let ours = scheme.eq_ignore_ascii_case(b"bearer") && matches!(rest, [] | [b' ', ..]);
        ours.then(|| trim(rest))
    }

    /// Returns the value of the request header for this token.
    pub(crate) fn request_value(&self, token: &str) -> String {
        if self.bearer { format!("Bearer {token}") } else { token.to_owned() }
    }
}

/// The text under which a client presents its session, for an API that returns it in a body.
///
/// Anyone who has the token can use the session, so `Debug` does not show it.
///
/// ```
/// # use mocha_session_core::{RequestInfo, SessionManager, Storage, Transport, Secrets};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let storage = Storage::client_side().with_secrets(Secrets::generate()?);
/// let manager = SessionManager::builder(storage).transport(Transport::bearer()).build()?;
/// let session = manager.open(RequestInfo::new(())).load().await?;
/// session.login("alice")?;
/// session.commit().await?;
/// let token = session.token().expect("the session was committed");
/// let body = format!("{{\"token\": \"{}\"}}", token.as_str());
/// assert_eq!(format!("{token:?}"), "SessionToken(…)");
/// # Ok::<(), mocha_session_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(pub(crate) String);

impl SessionToken {
    /// Returns the token as text. Do not log it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the token as text. Do not log it.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}
