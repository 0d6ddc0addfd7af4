//! From cookie text to a live session.

use std::sync::Arc;

use bytes::Bytes;

use crate::client::Opened;
use crate::content::Content;
use crate::error::Result;
use crate::headers::CookieHeaders;
use crate::id::{Place, SessionId};
use crate::manager::{Backend, Shared};
use crate::record::Kind;
use crate::session::state::{Base, Stored};
use crate::vault::Vault;

/// Of several cookies of our name at most so many are tried: an attacker who can plant cookies cannot buy store calls.
const CANDIDATES: usize = 3;

/// A live session, and whether its cookie should be written anew.
pub(crate) struct Loaded {
    pub(crate) base: Base,
    pub(crate) content: Arc<Content>,
    pub(crate) stale_cookie: bool,
}

/// The session that the request's cookies name. Of several cookies of our name one that is live wins; two different live
/// ones are nobody, for one of them was planted.
pub(crate) async fn from_cookies(shared: &Shared, cookies: &dyn CookieHeaders) -> Result<Option<Loaded>> {
    match &shared.backend {
        Backend::Client(client) => {
            let now = shared.now();
            let mut values: Vec<Vec<u8>> = Vec::new();
            each_value(shared, cookies, |value| {
                if values.len() < CANDIDATES && !values.iter().any(|known| known == value) {
                    values.push(value.to_vec());
                }
            });
            let mut live: Option<Loaded> = None;
            for value in values {
                let Some(Opened { content, deadline, stale }) = client.open(&value, now)? else { continue };
                if shared.policy.effective(&content, deadline) <= now {
                    continue;
                }
                if live.is_some() {
                    return Ok(None);
                }
                let content = Arc::new(content);
                live = Some(Loaded { base: Base::Client { deadline }, content, stale_cookie: stale });
            }
            Ok(live)
        }
        Backend::Store { vault, .. } => {
            let mut first: Option<(SessionId, bool)> = None;
            let mut more: Vec<(SessionId, bool)> = Vec::new();
            each_value(shared, cookies, |value| {
                let Some(read) = shared.signer.read(value) else { return };
                let seen = |known: &(SessionId, bool)| known.0 == read.0;
                if first.as_ref().is_some_and(seen) || more.iter().any(seen) {
                    return;
                }
                if first.is_none() {
                    first = Some(read);
                } else if more.len() + 1 < CANDIDATES {
                    more.push(read);
                }
            });
            match first {
                None => Ok(None),
                Some((id, stale_cookie)) if more.is_empty() => {
                    let found = from_store(shared, vault, &id).await?;
                    Ok(found.map(|(stored, content)| Loaded {
                        base: Base::Stored(stored),
                        content,
                        stale_cookie,
                    }))
                }
                Some(first) => Box::pin(one_of(shared, vault, first, more)).await,
            }
        }
    }
}

/// The only live one of several sessions.
async fn one_of(
    shared: &Shared,
    vault: &Vault,
    first: (SessionId, bool),
    more: Vec<(SessionId, bool)>,
) -> Result<Option<Loaded>> {
    let mut live: Option<Loaded> = None;
    for (id, stale_cookie) in std::iter::once(first).chain(more) {
        let Some((stored, content)) = from_store(shared, vault, &id).await? else { continue };
        if live.is_some() {
            return Ok(None);
        }
        live = Some(Loaded { base: Base::Stored(stored), content, stale_cookie });
    }
    Ok(live)
}

/// The live session with this id.
pub(crate) async fn from_store(
    shared: &Shared,
    vault: &Vault,
    id: &SessionId,
) -> Result<Option<(Stored, Arc<Content>)>> {
    let place = id.place();
    let Some((version, record)) = vault.look_even_expired(&place.key).await?.live() else { return Ok(None) };
    if version.header.kind != Kind::Live {
        return Ok(None);
    }
    // First, and by the header alone: what expired is nothing, readable or not.
    let now = vault.now();
    if version.header.deadline <= now {
        return Ok(None);
    }
    let content = reopen(vault, &place, &record)?;
    if shared.policy.effective(&content, version.header.deadline) <= now {
        return Ok(None);
    }
    if let Some(owner) = content.owner.as_ref().filter(|_| shared.check_owner_at_load) {
        let index = Box::pin(shared.owners.read(vault, &owner.name)).await?;
        // An index that was evicted tells nothing, and a session that cannot be shown not to be revoked is revoked.
        if index.is_none_or(|mut index| index.live(owner.handle).is_none()) {
            return Ok(None);
        }
    }
    Ok(Some((Stored { id: id.clone(), place, version }, content)))
}

/// The content of a live session's record, opened under the session's own key.
pub(super) fn reopen(vault: &Vault, place: &Place, record: &Bytes) -> Result<Arc<Content>> {
    Content::read(vault.open(record, &place.seal)?).map(Arc::new)
}

fn each_value(shared: &Shared, cookies: &dyn CookieHeaders, mut f: impl FnMut(&[u8])) {
    cookies.each(&mut |header| shared.cookie.find(header, &mut f));
}
