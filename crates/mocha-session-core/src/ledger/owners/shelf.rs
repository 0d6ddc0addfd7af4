//! Reads an owner index under one secret, and changes it with compare-and-set.

use super::entry::{Entry, Index};
use crate::backend::pause;
use crate::crypto::id::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::vault::Vault;
use crate::ledger::written::{Attempt, Draft, Found, Version};
use crate::record::{Header, Kind};

/// The maximum number of attempts to change an index that other requests change at the same time.
const ROUNDS: u32 = 64;

/// An owner index under one secret, as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(super) place: Place,
    version: Option<Version>,
    pub(super) index: Index,
}

/// An owner's indexes under all secrets. The one under the first secret is used for new entries.
#[derive(Clone, Debug)]
pub(crate) struct IndexView {
    first: Shelf,
    others: Vec<Shelf>,
}

/// The decision whether a change of an index must be written.
pub(super) enum Verdict<T> {
    /// Write the changed index.
    Write(T),
    /// Write nothing.
    Keep(T),
}

impl Shelf {
    async fn read(vault: &Vault, place: Place) -> Result<Self> {
        let (version, index) = match vault.look(&place.key).await? {
            Found::Nothing => (None, Index::default()),
            Found::Record(version, record) if version.header.kind == Kind::Index => {
                let read =
                    vault.open(&record, &place.seal).and_then(|payload| Index::read(&payload));
                let index = read.unwrap_or_else(|error| lost(&version, &error));
                (Some(version), index)
            }
            Found::Record(..) => {
                return Err(Error::corrupt(
                    "the record under an owner's key is not an owner index",
                ));
            }
            Found::Unreadable { revision, damaged: true, error } => {
                let header = Header { kind: Kind::Index, deadline: 0, commits: [0; 4] };
                let version = Version { header, revision };
                let index = lost(&version, &error);
                (Some(version), index)
            }
            Found::Unreadable { error, .. } => return Err(error),
        };
        Ok(Self { place, version, index })
    }

    pub(super) fn has(&self, handle: u64) -> bool {
        self.index.entries.iter().any(|entry| entry.handle == handle)
    }
}

/// Replaces an index that cannot be read with an empty one, so that its user can log in.
///
/// The sessions that it listed stay usable until they would be extended, rotated or listed, and end
/// then, because they may have been revoked. The epoch is a number that no login has read before
/// the damage.
fn lost(version: &Version, error: &Error) -> Index {
    tracing::error!(%error, "an owner index is damaged and was replaced; its sessions will end");
    Index { epoch: version.header.commits[0] | 1, entries: Vec::new() }
}

impl IndexView {
    pub(super) async fn read(
        vault: &Vault,
        mut places: impl Iterator<Item = Place>,
    ) -> Result<Self> {
        let Some(first) = places.next() else {
            return Err(Error::new(ErrorKind::Internal, "there is no key to hash owners with"));
        };
        let mut others = Vec::new();
        for place in places {
            others.push(Shelf::read(vault, place).await?);
        }
        Ok(Self { first: Shelf::read(vault, first).await?, others })
    }

    pub(super) fn first(&self) -> &Shelf {
        &self.first
    }

    pub(super) fn epoch(&self) -> u64 {
        self.first.index.epoch
    }

    /// Returns a session's entry, merged from all indexes.
    pub(super) fn entry(&self, handle: u64) -> Option<Entry> {
        self.entries().into_iter().find(|entry| entry.handle == handle)
    }

    /// Returns the indexes that have the entry, and at the end the one under the first secret.
    pub(super) fn take_with_first_last(&mut self, handle: u64) -> Vec<Shelf> {
        let mut there: Vec<_> = std::mem::take(&mut self.others)
            .into_iter()
            .filter(|shelf| shelf.has(handle))
            .collect();
        there.push(self.first.clone());
        there
    }

    /// Returns the live entries that are not in the first secret's index.
    pub(super) fn elsewhere(&self) -> impl Iterator<Item = &Entry> {
        let others = self.others.iter().flat_map(|shelf| shelf.index.live());
        others.filter(|entry| !self.first.has(entry.handle))
    }

    /// Returns all entries, each once. An entry is revoked if any index marks it, and has the keys
    /// of all indexes.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut all: Vec<Entry> = Vec::new();
        for shelf in std::iter::once(&self.first).chain(&self.others) {
            for entry in &shelf.index.entries {
                match all.iter_mut().find(|known| known.handle == entry.handle) {
                    Some(known) => known.take_over(entry),
                    None => all.push(entry.clone()),
                }
            }
        }
        all
    }
}

/// Changes an index. `change` receives the current index and may run several times. `seen` saves
/// the first read.
pub(super) async fn change<T>(
    vault: &Vault,
    place: Place,
    mut seen: Option<Shelf>,
    mut change: impl FnMut(&mut Index) -> Verdict<T> + Send,
) -> Result<T> {
    let commit = fastrand::u64(1..);
    let mut open = false;
    let mut outcome = None;
    for round in 0..ROUNDS {
        let shelf = match seen.take() {
            Some(shelf) => shelf,
            None => Shelf::read(vault, place.clone()).await?,
        };
        let done =
            shelf.version.as_ref().is_some_and(|version| version.header.commits.contains(&commit));
        if let Some(outcome) = outcome.take().filter(|_| done) {
            return Ok(outcome);
        }
        let mut index = shelf.index;
        let now = vault.now();
        index.purge(now);
        let written = match change(&mut index) {
            Verdict::Keep(outcome) => return Ok(outcome),
            Verdict::Write(outcome) => outcome,
        };
        let draft = Draft { kind: Kind::Index, now, deadline: index.until(now), payload: &index };
        let attempt = match &shelf.version {
            Some(version) => vault.replace(&place, version, commit, &draft).await?,
            None => vault.create(&place, commit, &draft).await?,
        };
        match attempt {
            Attempt::Done(..) => return Ok(written),
            // The write that may still arrive is this change, and is recognised by its commit id.
            Attempt::Open if open => {
                return Err(Error::new(
                    ErrorKind::Ambiguous,
                    "the engine did not confirm whether an owner index was changed; try again",
                )
                .during("owner index"));
            }
            Attempt::Open => (open, outcome) = (true, Some(written)),
            Attempt::Changed(_) => {
                (open, outcome) = (false, None);
                pause(round).await;
            }
        }
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "other requests changed this owner's sessions at every attempt; try again",
    )
    .during("owner index"))
}
