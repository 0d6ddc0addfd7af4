//! Ending sessions: what a tombstone means, and how one comes to lie where a session was.

use crate::crypto::id::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::call::pause;
use crate::ledger::vault::{Attempt, Draft, Found, Vault, Version};
use crate::mutant;
use crate::record::Kind;
use crate::store::StorageKey;

/// How many times an end is tried again because the session changed under it.
const ROUNDS: u32 = 64;

/// Who ends a session, which decides what its browser gets afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A request of its own, which tells the browser. Where the session was rotated meanwhile, its
    /// successor is ended: logging out in the middle of a rotation logs out.
    Itself,
    /// Somebody else: a revocation, a login that needs room, a rotation that lost. The browser was
    /// told nothing. Nothing is followed, because whoever revokes knows every key of the session.
    Others,
}

/// What was found where a session was to be ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It was alive, and is ended.
    Ours,
    /// A request of its own ended it before, or moved it.
    ByItself,
    /// Somebody else ended it before.
    ByOthers,
    /// Nothing: it expired, or its tombstone did.
    Nothing,
    /// It could not be read, and was deleted.
    Deleted(Error),
}

/// Ends the session under a key; `known` is the version that was seen last.
///
/// # Errors
/// Those of the engine. `Corrupt` for a record that cannot be read, unless somebody else ends it.
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
            // An engine that is full, and still is at a second try, takes no tombstone, but it
            // deletes. A rotation under way cannot finish there either, so nothing is overlooked
            // that could go on.
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
            "the engine does not tell whether the session was ended; try again",
        )
    } else {
        Error::new(
            ErrorKind::Conflict,
            "the session was changed faster than it could be ended; try again",
        )
    }
    .during("destroy"))
}

/// Ends every session under these keys on behalf of somebody else. One that cannot be read is
/// deleted and keeps no other alive; the error comes after all.
///
/// # Errors
/// `Corrupt` where a record was deleted unread; those of the engine, after the first of which it
/// stops.
pub(crate) async fn end_all(vault: &Vault, keys: &[StorageKey], tombstone: u64) -> Result<()> {
    let mut unread = None;
    for key in keys {
        if let End::Deleted(error) = end(vault, *key, None, By::Others, tombstone).await? {
            unread = Some(error);
        }
    }
    unread.map_or(Ok(()), Err)
}
