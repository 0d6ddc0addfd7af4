//! Ends sessions by writing tombstones over their records.

use crate::backend::pause;
use crate::crypto::id::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::vault::Vault;
use crate::ledger::written::{Attempt, Draft, Found, Version};
use crate::mutant;
use crate::record::Kind;
use crate::store::StorageKey;

/// The maximum number of attempts to end a session that changes at the same time.
const ROUNDS: u32 = 64;

/// The party that ends a session. It decides which tombstone is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A request of the session, whose response removes the cookie. If the session was rotated at
    /// the same time, its successor is ended, so that a logout during a rotation is effective.
    Itself,
    /// A revocation, a login that needs room, or a rotation that lost. The browser keeps its
    /// cookie. Tombstones are not followed, because the caller knows every key of the session.
    Others,
}

/// The outcome of ending a session.
#[derive(Debug)]
pub(crate) enum End {
    /// The session was live, and this call ended it.
    Ours,
    /// A request of the session had already ended or moved it.
    ByItself,
    /// It was already revoked.
    ByOthers,
    /// There was no record: the session or its tombstone had expired.
    Nothing,
    /// The record could not be read, and was deleted.
    Deleted(Error),
}

/// Ends the session under a key. `known` is the version that was seen last.
///
/// # Errors
/// The engine's errors. `Corrupt` if the record cannot be read and the session ends it
/// [itself](By::Itself).
pub(crate) async fn end(
    vault: &Vault,
    key: StorageKey,
    known: Option<Version>,
    by: By,
    tombstone: u64,
) -> Result<End> {
    let commit = fastrand::u64(1..);
    let kind = if by == By::Itself { Kind::Ended } else { Kind::Revoked };
    let mut place = Place { key, seal: [0; 32] }; // a tombstone has nothing to seal
    let mut version = known;
    let (mut open, mut full) = (false, 0);
    for round in 0..ROUNDS {
        let found = match version.take() {
            Some(version) => version,
            None => match vault.look(&place.key).await? {
                Found::Record(version, _) => version,
                Found::Nothing => return Ok(End::Nothing),
                Found::Unreadable { error, .. } if by == By::Others => {
                    vault.delete(&place.key).await?;
                    return Ok(End::Deleted(error));
                }
                Found::Unreadable { error, .. } => return Err(error),
            },
        };
        match found.header.kind {
            Kind::Ended | Kind::Revoked if found.header.commits.contains(&commit) => {
                return Ok(End::Ours);
            }
            Kind::Revoked => return Ok(End::ByOthers),
            Kind::Moved(successor) if by == By::Itself && !mutant("a logout does not follow") => {
                place.key = successor;
            }
            Kind::Ended | Kind::Moved(_) => return Ok(End::ByItself),
            // An engine that is still full at the second attempt cannot store a tombstone, but it
            // can delete. A concurrent rotation cannot finish there either, so no successor is
            // missed.
            Kind::Live | Kind::Index if full > 1 || mutant("an end leaves no tombstone") => {
                vault.delete(&place.key).await?;
                return Ok(End::Ours);
            }
            Kind::Live | Kind::Index => {
                let draft = Draft::tombstone(kind, vault.now(), tombstone);
                match vault.replace(&place, &found, commit, &draft).await {
                    Ok(Attempt::Done(..)) => return Ok(End::Ours),
                    Ok(Attempt::Open) if !open => (open, version) = (true, Some(found)),
                    Ok(Attempt::Open) => break,
                    Ok(Attempt::Changed(Found::Record(changed, _))) => {
                        (open, version) = (false, Some(changed));
                        pause(round).await;
                    }
                    Ok(Attempt::Changed(_)) => open = false,
                    Err(error) if error.kind() == ErrorKind::Full => full += 1,
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Err(if open {
        Error::new(
            ErrorKind::Ambiguous,
            "the engine did not confirm whether the session was ended; try again",
        )
    } else {
        Error::new(
            ErrorKind::Conflict,
            "other requests changed the session at every attempt to end it; try again",
        )
    }
    .during("destroy"))
}

/// Revokes the sessions under all of these keys. An unreadable record is deleted, and does not stop
/// the others from being ended.
///
/// # Errors
/// `Corrupt` if an unreadable record was deleted. It stops at the first error of the engine.
pub(crate) async fn end_all(vault: &Vault, keys: &[StorageKey], tombstone: u64) -> Result<()> {
    let mut unread = None;
    for key in keys {
        if let End::Deleted(error) = end(vault, *key, None, By::Others, tombstone).await? {
            unread = Some(error);
        }
    }
    unread.map_or(Ok(()), Err)
}
