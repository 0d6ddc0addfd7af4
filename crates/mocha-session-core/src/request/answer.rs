//! The header lines of a response: the cookie, and the token.

use std::sync::Arc;
use std::time::Duration;

use crate::http::headers::{HeaderChanges, TokenChanges};
use crate::http::transport::Via;
use crate::mutant;
use crate::record::content::{Content, UNTIL_CLOSED};
use crate::session::base::Base;
use crate::session::shared::Shared;
use crate::session::state::{Line, stored};
use crate::store::Revision;

/// Returns the header lines that carry `line` to a client whose session came by `via`.
pub(super) fn headers(shared: &Shared, via: Via, line: Option<Line>) -> HeaderChanges {
    let via = if mutant("a token is answered by a cookie") { Via::Cookie } else { via };
    let token = shared.carriers.token.as_ref().map(|token| {
        let value = line.as_ref().filter(|_| via.header()).map(|line| match line {
            Line::Id(id, _) => shared.signer.text(id),
            Line::Sealed(value, _) => value.clone(),
            Line::Remove => String::new(),
        });
        let value = value.filter(|told| !told.is_empty() || !mutant("a token never ends"));
        Box::new(TokenChanges { names: Arc::clone(&token.names), value })
    });
    let Some(cookie) = &shared.carriers.cookie else {
        return HeaderChanges { token, ..HeaderChanges::none() };
    };
    let left = |told: u64| {
        let left =
            |told: u64| Duration::from_secs(told.saturating_sub(shared.now()).div_ceil(1_000));
        (told != UNTIL_CLOSED).then(|| left(told))
    };
    let cookie = line.filter(|_| via.cookie()).map(|line| match line {
        Line::Id(id, told) => {
            let signer = &shared.signer;
            cookie.set(signer.length(), |line| signer.write(&id, line), left(told))
        }
        Line::Sealed(value, told) => {
            cookie.set(value.len(), |line| line.push_str(&value), left(told))
        }
        Line::Remove => cookie.remove(),
    });
    HeaderChanges { cookie, varies_by_cookie: true, token }
}

/// Returns the line for a client with a token after a commit that kept the session's id. There is
/// none, unless the session is empty now, or was empty when the last line was sent, or the token
/// must be signed again. A signature is renewed only with a write, because a write shows that the
/// session still has this id.
pub(super) fn token_line(
    base: Option<&Base>,
    before: Option<&Revision>,
    content: &Content,
    stale: bool,
) -> Option<Line> {
    let stored = stored(base).filter(|stored| Some(&stored.version.revision) != before)?;
    if content.is_empty() {
        return Some(Line::Remove);
    }
    let filled = content.told == 0 && !mutant("a token of an emptied session is not told again");
    (stale || filled).then(|| Line::Id(stored.id.clone(), content.told))
}
