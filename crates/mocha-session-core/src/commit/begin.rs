//! Creates a session: its first record, under a new id.

use std::sync::Arc;

use super::listing::{Login, discard, enter};
use super::{Committed, Outcome, begun, committed};
use crate::crypto::id::SessionId;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::owners::{Entered, too_many};
use crate::ledger::vault::{Vault, doubtful};
use crate::ledger::written::{Attempt, Draft, Sealed, Version};
use crate::record::content::Content;
use crate::record::{Header, Kind};
use crate::session::base::Stored;
use crate::session::change::{self, Change};
use crate::session::doubt::{Doubt, NewSession};
use crate::session::shared::{Shared, reopen};
use crate::session::state::Line;
use crate::store::Revision;

/// Stores a new session, if there is anything to store. `view` is the log applied to an empty
/// content, if that is known.
pub(crate) async fn begin(
    shared: &Shared,
    vault: &Vault,
    log: &[Change],
    login: bool,
    view: Option<Arc<Content>>,
    doubt: &mut Option<Box<Doubt>>,
) -> Result<Outcome> {
    let content = match view {
        Some(view) => view,
        None => {
            let now = vault.now();
            let mut content = change::replay(&Content::new(now), log)?;
            begun(shared, &mut content, login, now);
            Arc::new(content)
        }
    };
    if content.is_empty() {
        return Ok(Outcome::Committed(Committed {
            base: None,
            content,
            line: None,
            superseded: false,
        }));
    }
    let login = Login::prepare(shared, vault, &content, login).await?;
    let new = match doubt.take() {
        None => create(shared, vault, content, log.len(), doubt).await?,
        Some(open) => Box::pin(create_again(shared, vault, *open, doubt)).await?,
    };
    if new.content.owner.is_none() {
        return Ok(Outcome::Committed(told(new)));
    }
    Box::pin(list(shared, vault, new, login)).await
}

/// Adds a session that starts with a login to the owner index. Discards the session if the login is
/// refused.
async fn list(
    shared: &Shared,
    vault: &Vault,
    new: NewSession,
    login: Option<Box<Login>>,
) -> Result<Outcome> {
    match enter(shared, vault, &new, None, login.as_deref()).await {
        Ok(Entered::Listed) => Ok(Outcome::Committed(told(new))),
        refused_or_failed => {
            discard(shared, vault, &new).await;
            match refused_or_failed? {
                Entered::Full => Err(too_many()),
                _ => Ok(Outcome::Gone),
            }
        }
    }
}

/// Creates a record under a new id. The content already has the expiry of its cookie. If the
/// outcome stays unknown, sets `doubt`.
pub(crate) async fn create(
    shared: &Shared,
    vault: &Vault,
    content: Arc<Content>,
    changes: usize,
    doubt: &mut Option<Box<Doubt>>,
) -> Result<NewSession> {
    let deadline = shared.policy.deadline(&content);
    // A second id is only tried if the store claims that a key from 256 random bits is in use.
    for _ in 0..2 {
        let id = SessionId::mint()?;
        let place = id.place(&shared.scope);
        let commit = fastrand::u64(1..);
        let draft = Draft { kind: Kind::Live, now: vault.now(), deadline, payload: &*content };
        match vault.create(&place, commit, &draft).await {
            Ok(Attempt::Done(version, _)) => {
                let stored = Stored { id, place, version };
                return Ok(NewSession { stored, content });
            }
            Ok(_) => {}
            Err(error) => {
                if error.is_ambiguous() {
                    let header = Header { kind: Kind::Live, deadline, commits: [commit, 0, 0, 0] };
                    let version = Version { header, revision: Revision::random() };
                    let base = Arc::clone(&content);
                    let stored = Stored { id, place, version: version.clone() };
                    let successor = Some(NewSession { stored, content });
                    *doubt = Some(Box::new(Doubt { commit, changes, version, base, successor }));
                }
                return Err(error);
            }
        }
    }
    Err(Error::new(
        ErrorKind::Internal,
        "the store claims that a key from 256 random bits is in use; check that it keeps the \
         contract of `create`",
    )
    .during("create"))
}

/// Creates the record of an earlier attempt whose outcome is unknown, under the same id.
async fn create_again(
    shared: &Shared,
    vault: &Vault,
    open: Doubt,
    doubt: &mut Option<Box<Doubt>>,
) -> Result<NewSession> {
    let Some(NewSession { stored, content }) = &open.successor else {
        return Err(Error::new(ErrorKind::Internal, "the doubt of a new session has no id"));
    };
    let deadline = shared.policy.deadline(content);
    let draft = Draft { kind: Kind::Live, now: vault.now(), deadline, payload: &**content };
    match vault.create(&stored.place, open.commit, &draft).await {
        Ok(Attempt::Done(version, Sealed::Found(record))) => {
            let content = reopen(vault, &stored.place, &record)?;
            Ok(NewSession { stored: Stored { version, ..stored.clone() }, content })
        }
        Ok(Attempt::Done(version, Sealed::Written(_))) => {
            let stored = Stored { version, ..stored.clone() };
            Ok(NewSession { stored, content: Arc::clone(content) })
        }
        Ok(_) => Err(Error::new(ErrorKind::Gone, "the new session was ended before its first use")),
        Err(error) => {
            *doubt = Some(Box::new(open));
            Err(doubtful(true, error))
        }
    }
}

pub(crate) fn told(NewSession { stored, content }: NewSession) -> Committed {
    let line = Line::Id(stored.id.clone(), content.told);
    let version = stored.version.clone();
    committed(&stored, version, content, Some(line))
}
