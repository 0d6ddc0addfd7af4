//! Loads a live session from a request's cookies and tokens.

use std::sync::Arc;

use crate::crypto::id::SessionId;
use crate::error::Result;
use crate::http::request::RequestHeaders;
use crate::http::transport::Via;
use crate::ledger::ending::{By, end};
use crate::ledger::vault::Vault;
use crate::ledger::written::Found;
use crate::mutant;
use crate::observe::{Event, Loading, spans};
use crate::record::Kind;
use crate::record::client_side::Opened;
use crate::record::content::Content;
use crate::session::base::{Base, Doomed, Stored};
use crate::session::shared::{Backend, Shared, reopen};

/// The maximum number of values that are tried, so that an attacker who can plant cookies cannot
/// cause more store calls.
const CANDIDATES: usize = 3;

/// The result of reading a request's cookies and tokens.
pub(crate) enum Loaded {
    /// They name no known session.
    Stranger,
    Live(Live),
    /// They name a session that its own browser moved or ended. The browser already has a newer
    /// response, which this request crossed.
    Superseded,
    /// They name several live sessions, of which all but one were planted or left over. The request
    /// has no session until a login or a logout ends them all.
    Several(Vec<Doomed>),
}

/// A live session, its transport, and whether its cookie must be written again.
pub(crate) struct Live {
    pub(crate) base: Base,
    pub(crate) content: Arc<Content>,
    pub(crate) via: Via,
    pub(crate) stale_cookie: bool,
}

/// The result of looking up an id.
#[allow(clippy::large_enum_variant, reason = "short-lived, and nearly always the large one")]
pub(crate) enum Known {
    Nothing,
    Live(Stored, Arc<Content>),
    Superseded,
}

/// Loads the session that the request names. If there are several values, a live one wins.
pub(crate) async fn from_request(shared: &Shared, headers: &dyn RequestHeaders) -> Result<Loaded> {
    match &shared.backend {
        Backend::Client(client) => {
            let now = shared.now();
            let mut newest: Option<(u64, Live)> = None;
            let mut outcome = Loading::Absent;
            let values = values(shared, headers);
            for (via, value) in &values {
                let Some(Opened { content, deadline, sealed, stale }) = client.open(value, now)?
                else {
                    continue;
                };
                // A client-side session cannot be ended, so the value that was sealed last wins.
                let newer = newest.as_ref().is_none_or(|(at, _)| *at < sealed);
                let over = shared.policy.effective(&content, deadline) <= now;
                outcome = if over { Loading::Expired } else { outcome };
                if newer && !over {
                    let (base, content) = (Base::Client { deadline }, Arc::new(content));
                    newest = Some((sealed, Live { base, content, via: *via, stale_cookie: stale }));
                }
            }
            if newest.is_some() || !values.is_empty() {
                let live = newest.as_ref().map(|(_, live)| &live.content);
                let outcome = if live.is_some() { Loading::Found } else { outcome };
                let owner = live.and_then(|content| content.owner.as_ref());
                shared.tell(None, owner, |session| Event::Loaded { session, outcome });
            }
            Ok(newest.map_or(Loaded::Stranger, |(_, live)| Loaded::Live(live)))
        }
        Backend::Store(vault) => {
            let mut ids = ids(shared, headers);
            match (ids.first.take(), ids.more.is_empty()) {
                (None, _) => Ok(Loaded::Stranger),
                (Some(Presented { id, via, stale_cookie }), true) => {
                    Ok(match from_store(shared, vault, &id).await? {
                        Known::Nothing => Loaded::Stranger,
                        Known::Superseded => Loaded::Superseded,
                        Known::Live(stored, content) => {
                            let base = Base::Stored(stored);
                            Loaded::Live(Live { base, content, via, stale_cookie })
                        }
                    })
                }
                (Some(first), false) => Box::pin(one_of(shared, vault, first, ids.more)).await,
            }
        }
    }
}

/// Returns the only live session of several.
async fn one_of(
    shared: &Shared,
    vault: &Vault,
    first: Presented,
    more: Vec<Presented>,
) -> Result<Loaded> {
    let mut live: Vec<(Stored, Arc<Content>, Via, bool)> = Vec::new();
    let mut superseded = false;
    for Presented { id, via, stale_cookie } in std::iter::once(first).chain(more) {
        match from_store(shared, vault, &id).await? {
            Known::Nothing => {}
            Known::Superseded => superseded = true,
            Known::Live(stored, content) => live.push((stored, content, via, stale_cookie)),
        }
    }
    if mutant("a token wins over a cookie") {
        live.retain(|(_, _, via, _)| via.header());
    }
    if live.len() > 1 {
        let tokens = live.iter().filter(|(_, _, via, _)| via.header()).count();
        tracing::warn!(
            cookies = live.len() - tokens,
            tokens,
            "a request has several live session cookies of one name, set with another path or \
             domain, or tokens of other sessions; it is nobody until a login or a logout ends them \
             all"
        );
        return Ok(Loaded::Several(
            live.iter().map(|(stored, content, ..)| Doomed::of(stored, content)).collect(),
        ));
    }
    Ok(match live.pop() {
        Some((stored, content, via, stale_cookie)) => {
            Loaded::Live(Live { base: Base::Stored(stored), content, via, stale_cookie })
        }
        None if superseded => Loaded::Superseded,
        None => Loaded::Stranger,
    })
}

/// Loads the session of this id from the store.
pub(crate) async fn from_store(shared: &Shared, vault: &Vault, id: &SessionId) -> Result<Known> {
    if spans::wanted() {
        let span = spans::load(vault.engine, &id.fingerprint(&shared.scope));
        return Box::pin(spans::within(span, Box::pin(look_up(shared, vault, id)))).await;
    }
    look_up(shared, vault, id).await
}

async fn look_up(shared: &Shared, vault: &Vault, id: &SessionId) -> Result<Known> {
    let place = id.place(&shared.scope);
    let tell = |content: Option<&Content>, outcome: Loading| {
        let owner = content.and_then(|content| content.owner.as_ref());
        shared.tell(Some(id), owner, |session| Event::Loaded { session, outcome });
        spans::note("outcome", outcome.as_str());
    };
    let nothing = |content: Option<&Content>, outcome| {
        tell(content, outcome);
        Ok(Known::Nothing)
    };
    let (version, record, now) = match vault.probe(&place.key).await? {
        Found::Record(version, record) => (version, record, vault.now()),
        Found::Nothing => return nothing(None, Loading::Absent),
        Found::Unreadable { error, .. } => return Err(error),
    };
    if version.header.deadline <= now {
        return nothing(None, Loading::Expired);
    }
    match version.header.kind {
        Kind::Live => {}
        Kind::Moved(_) | Kind::Ended if !mutant("what moved is unknown") => {
            tell(None, Loading::Superseded);
            return Ok(Known::Superseded);
        }
        Kind::Moved(_) | Kind::Ended | Kind::Revoked | Kind::Index => {
            return nothing(None, Loading::Absent);
        }
    }
    let content = reopen(vault, &place, &record)?;
    if shared.policy.effective(&content, version.header.deadline) <= now {
        return nothing(Some(&content), Loading::Expired);
    }
    if let Some(owner) = content.owner.as_ref().filter(|_| shared.check_owner_at_load) {
        let listed = Box::pin(shared.owners.list(vault, &owner.name)).await?;
        // An index that was evicted proves nothing. A session that cannot be shown to be valid
        // counts as revoked.
        if !listed.iter().any(|entry| entry.handle == owner.handle && !entry.revoked) {
            return nothing(Some(&content), Loading::Refused);
        }
    }
    tell(Some(&content), Loading::Found);
    Ok(Known::Live(Stored { id: id.clone(), place, version }, content))
}

/// Ends every session that the request names, if one of them cannot be read.
pub(crate) async fn abandon(shared: &Shared, headers: &dyn RequestHeaders) -> Result<()> {
    let Backend::Store(vault) = &shared.backend else { return Ok(()) };
    let ids = ids(shared, headers);
    for Presented { id, .. } in ids.first.into_iter().chain(ids.more) {
        let key = id.place(&shared.scope).key;
        match vault.probe(&key).await? {
            Found::Unreadable { .. } => drop(vault.delete(&key).await?),
            Found::Record(version, _) if version.header.kind == Kind::Live => {
                end(vault, key, Some(version), By::Itself, shared.policy.tombstone).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The ids that the request presents, each once. There is nearly always at most one, which needs no
/// allocation.
struct Ids {
    first: Option<Presented>,
    more: Vec<Presented>,
}

/// An id, its transport, and whether its value must be written again.
struct Presented {
    id: SessionId,
    via: Via,
    stale_cookie: bool,
}

fn ids(shared: &Shared, headers: &dyn RequestHeaders) -> Ids {
    let mut ids = Ids { first: None, more: Vec::new() };
    shared.carriers.each_value(headers, |via, value| {
        let Some((id, stale_cookie)) = shared.signer.read(value) else { return };
        if let Some(known) = ids.first.iter_mut().chain(&mut ids.more).find(|known| known.id == id)
        {
            // Of two cookies with the same id, the first decides. The other may have another path,
            // so no line would replace it and it would be written again with every response.
            known.stale_cookie |= stale_cookie && known.via.and(via) != known.via;
            known.via = known.via.and(via);
        } else if ids.first.is_none() {
            ids.first = Some(Presented { id, via, stale_cookie });
        } else if ids.more.len() + 1 < CANDIDATES {
            ids.more.push(Presented { id, via, stale_cookie });
        }
    });
    ids
}

fn values(shared: &Shared, headers: &dyn RequestHeaders) -> Vec<(Via, Vec<u8>)> {
    let mut values: Vec<(Via, Vec<u8>)> = Vec::new();
    shared.carriers.each_value(headers, |via, value| {
        if values.len() < CANDIDATES && !values.iter().any(|(_, known)| known == value) {
            values.push((via, value.to_vec()));
        }
    });
    values
}
