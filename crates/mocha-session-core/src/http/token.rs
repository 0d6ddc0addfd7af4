//! Tokens: the text of a session's id outside cookies, and the header in which it travels.

use std::fmt;
use std::sync::Arc;

use super::cookie::trim;

/// The header in which a token travels.
#[derive(Clone, Debug)]
pub(crate) struct TokenHeader {
    pub(crate) names: Arc<TokenNames>,
    pub(super) bearer: bool,
}

/// The names of its headers: in lower case, and as `Vary` spells the request's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenNames {
    pub(crate) request: String,
    pub(crate) vary: String,
    pub(crate) response: String,
}

impl TokenHeader {
    /// The token of a header line, empty where the client has none yet. `None` for a line of
    /// another scheme.
    pub(super) fn find<'h>(&self, line: &'h [u8]) -> Option<&'h [u8]> {
        let line = trim(line);
        if !self.bearer {
            return Some(line);
        }
        // `Bearer` 1*SP token (RFC 6750 §2.1); the scheme has no case (RFC 9110 §11.1).
        let (scheme, rest) = line.split_at_checked("bearer".len())?;
        let ours = scheme.eq_ignore_ascii_case(b"bearer") && matches!(rest, [] | [b' ', ..]);
        ours.then(|| trim(rest))
    }

    /// The value of the request header for this token.
    pub(crate) fn request_value(&self, token: &str) -> String {
        if self.bearer { format!("Bearer {token}") } else { token.to_owned() }
    }
}

/// The text that a client presents to be recognised: for an API that returns it in a body.
///
/// Whoever has it has the session, so its `Debug` hides it.
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
    /// The token as text. Not for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The token as text. Not for logs.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}
