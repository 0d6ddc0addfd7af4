//! The owner index: which sessions a user has, so that they can be listed and ended, on any engine that keeps what it
//! acknowledged.
//!
//! One record per owner, on the same primitives as a session: an epoch, and an entry per session that names it through
//! all its rotations. Writing an entry comes before what makes the session reachable, ending one begins with marking its
//! entry, so that a session is dead or listed whatever stops half-way.

use bytes::Bytes;

use crate::content::Owner;
use crate::crypto::{self, Key, Purpose};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Place;
use crate::record::{Kind, Payload};
use crate::secret::Secrets;
use crate::store::StorageKey;
use crate::vault::{Attempt, Draft, Found, Vault, Version, pause};
use crate::wire::{self, Reader, Text};

/// How long an index outlives the last of its sessions: longer than any login that read it can take.
const LINGER: u64 = 60 * 60 * 1_000;
/// How long the keys of finished rotations stay in an entry: longer than any rotation that is under way can take.
const ROTATION: u64 = 10 * 60 * 1_000;
/// How many keys an entry has at most.
const KEYS: usize = 16;
/// How often a change of an index is tried again because others changed it.
const ROUNDS: u32 = 64;

/// What the owners' indexes need to know.
#[derive(Clone, Debug)]
pub(crate) struct Owners {
    /// What owners' names are hashed under: the first is written, all are read.
    keys: Vec<Key>,
    /// How many sessions an owner may have; the oldest is revoked to make room.
    pub(crate) most: usize,
}

/// An owner's sessions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Index {
    /// Changes whenever sessions are revoked as a set; random, so that it never comes back.
    pub(crate) epoch: u64,
    pub(crate) entries: Vec<Entry>,
}

/// One session of an owner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) handle: u64,
    /// Where it is, newest first; further keys are of rotations that may be under way.
    pub(crate) keys: Vec<StorageKey>,
    /// When the newest key was added.
    pub(crate) moved: u64,
    pub(crate) created: u64,
    pub(crate) until: u64,
    pub(crate) label: Option<Text>,
    /// Being ended: no rotation, refresh or check may revive it.
    pub(crate) revoked: bool,
}

/// What was found of an owner's index.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Where it belongs: the place under the first secret.
    first: Place,
    /// Where it is, at which version, and what it says.
    found: Option<(Place, Version, Index)>,
}

/// What a change of an index comes to.
pub(crate) enum Verdict<T> {
    /// Write it.
    Write(T),
    /// Nothing to write.
    Keep(T),
}

impl Owners {
    pub(crate) fn new(secrets: Option<&Secrets>, most: usize) -> Self {
        let mut keys: Vec<_> = secrets
            .into_iter()
            .flat_map(Secrets::iter)
            .map(|secret| crypto::derive(secret, Purpose::Owner))
            .collect();
        if keys.is_empty() {
            keys.push(crypto::derive(&[0; 32], Purpose::Owner));
        }
        Self { keys, most }
    }

    fn places(&self, owner: &Text) -> impl Iterator<Item = Place> {
        self.keys.iter().map(|key| Place::of_owner(&crypto::sign(key, owner.as_bytes())))
    }

    /// The owner's index, if there is one.
    pub(crate) async fn read(&self, vault: &Vault, owner: &Text) -> Result<Option<Index>> {
        Ok(self.find(vault, owner).await?.found.map(|(_, _, index)| index))
    }

    /// The owner's index, to be changed later if it is still the same.
    pub(crate) async fn find(&self, vault: &Vault, owner: &Text) -> Result<Seen> {
        let mut first = None;
        for place in self.places(owner) {
            let first = first.get_or_insert_with(|| place.clone());
            if let Some((version, record)) = vault.look(&place.key).await?.live() {
                let index = Index::open(vault, &place, &version, &record)?;
                return Ok(Seen { first: first.clone(), found: Some((place, version, index)) });
            }
        }
        match first {
            Some(first) => Ok(Seen { first, found: None }),
            None => Err(Error::new(ErrorKind::Internal, "there is no key to hash owners under")),
        }
    }

    /// Changes the index under compare-and-set: `change` sees the present one (an empty one of a fresh epoch where there
    /// is none) and may run several times.
    pub(crate) async fn change<T>(
        &self,
        vault: &Vault,
        owner: &Text,
        change: impl FnMut(&mut Index, bool) -> Result<Verdict<T>> + Send,
    ) -> Result<T> {
        self.change_from(vault, owner, None, change).await
    }

    /// As [`change`](Self::change), from what was seen earlier: it is looked for only if it changed since.
    async fn change_from<T>(
        &self,
        vault: &Vault,
        owner: &Text,
        mut seen: Option<Seen>,
        mut change: impl FnMut(&mut Index, bool) -> Result<Verdict<T>> + Send,
    ) -> Result<T> {
        let commit = fastrand::u64(1..);
        for round in 0..ROUNDS {
            let Seen { first, found } = match seen.take() {
                Some(seen) => seen,
                None => self.find(vault, owner).await?,
            };
            let there = found.is_some();
            let mut index = found.as_ref().map_or_else(Index::fresh, |(_, _, index)| index.clone());
            let now = vault.now();
            index.entries.retain(|entry| entry.until > now);
            let outcome = match change(&mut index, there)? {
                Verdict::Keep(outcome) => return Ok(outcome),
                Verdict::Write(outcome) => outcome,
            };
            let deadline =
                index.entries.iter().map(|entry| entry.until).max().unwrap_or(now).max(now) + LINGER;
            let draft = Draft { kind: Kind::Index, now, deadline, payload: &index };
            let attempt = match &found {
                Some((place, version, _)) if place.key == first.key => {
                    vault.replace(place, version, commit, draft).await?
                }
                _ => vault.create(&first, draft).await?,
            };
            if let Attempt::Done(..) = attempt {
                // It was under an older secret: from here on it is under the first.
                if let Some((place, ..)) = found.filter(|(place, ..)| place.key != first.key) {
                    vault.delete(&place.key).await?;
                }
                return Ok(outcome);
            }
            pause(round).await;
        }
        Err(Error::new(ErrorKind::Conflict, "too many requests change this owner's sessions at once")
            .during("owner index"))
    }

    /// Enters a session that was just stored, if nobody revoked the owner's sessions since the index was `seen`; says which
    /// sessions have to go to make room. `None` when it was refused.
    pub(crate) async fn enter(
        &self,
        vault: &Vault,
        owner: &Text,
        seen: &Seen,
        entry: &Entry,
    ) -> Result<Option<Vec<(u64, Vec<StorageKey>)>>> {
        let most = self.most.max(1);
        let epoch = seen.found.as_ref().map(|(_, _, index)| index.epoch);
        self.change_from(vault, owner, Some(seen.clone()), |index, there| {
            if there.then_some(index.epoch) != epoch && !index.has(entry) {
                return Ok(Verdict::Keep(None));
            }
            match index.entries.iter_mut().find(|known| known.handle == entry.handle) {
                Some(known) if known.revoked => return Ok(Verdict::Keep(None)),
                Some(known) => {
                    let from = entry.keys.last().copied();
                    entry.keys.first().into_iter().for_each(|key| known.add(*key, from, entry.moved));
                    (known.created, known.until) = (entry.created, entry.until);
                    known.label.clone_from(&entry.label);
                }
                None => index.entries.push(entry.clone()),
            }
            let mut gone = Vec::new();
            while index.entries.iter().filter(|entry| !entry.revoked).count() > most {
                let oldest =
                    index.entries.iter_mut().filter(|known| !known.revoked && known.handle != entry.handle);
                let Some(oldest) = oldest.min_by_key(|entry| entry.created) else { break };
                oldest.revoked = true;
                gone.push((oldest.handle, oldest.keys.clone()));
            }
            Ok(Verdict::Write(Some(gone)))
        })
        .await
    }

    /// Notes where the session will be and until when, before it is; `false` when it was revoked. `from` is where it is
    /// now.
    pub(crate) async fn follow(
        &self,
        vault: &Vault,
        owner: &Owner,
        label: Option<&Text>,
        (from, key): (StorageKey, StorageKey),
        until: u64,
    ) -> Result<bool> {
        let now = vault.now();
        self.change(vault, &owner.name, |index, _| {
            let Some(entry) = index.live(owner.handle) else { return Ok(Verdict::Keep(false)) };
            let before = entry.clone();
            entry.add(key, Some(from), now);
            entry.until = entry.until.max(until);
            entry.label = label.cloned();
            Ok(if *entry == before { Verdict::Keep(true) } else { Verdict::Write(true) })
        })
        .await
    }

    /// Marks the entries that `which` picks, so that nothing under way revives them, and returns where they are. With
    /// `everyone`, logins that are under way are refused too.
    pub(crate) async fn mark(
        &self,
        vault: &Vault,
        owner: &Text,
        everyone: bool,
        which: impl Fn(&Entry) -> bool + Send + Sync,
    ) -> Result<Vec<(u64, Vec<StorageKey>)>> {
        self.change(vault, owner, |index, _| {
            // What an earlier revocation marked and did not finish is finished now.
            let mut marked = Vec::new();
            for entry in &mut index.entries {
                entry.revoked |= which(entry);
                if entry.revoked {
                    marked.push((entry.handle, entry.keys.clone()));
                }
            }
            if everyone {
                index.epoch = fastrand::u64(..);
            }
            // An index is written even where there was none: a login that read "none" must find it changed.
            Ok(if marked.is_empty() && !everyone { Verdict::Keep(marked) } else { Verdict::Write(marked) })
        })
        .await
    }

    /// Forgets entries whose sessions are gone.
    pub(crate) async fn forget(&self, vault: &Vault, owner: &Text, handles: &[u64]) -> Result<()> {
        self.change(vault, owner, |index, _| {
            let before = index.entries.len();
            index.entries.retain(|entry| !handles.contains(&entry.handle));
            Ok(if index.entries.len() == before { Verdict::Keep(()) } else { Verdict::Write(()) })
        })
        .await
    }
}

impl Index {
    fn fresh() -> Self {
        Self { epoch: fastrand::u64(..), entries: Vec::new() }
    }

    /// The entry of a session that nobody revoked.
    pub(crate) fn live(&mut self, handle: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.handle == handle && !entry.revoked)
    }

    /// Whether an earlier attempt has entered it already.
    fn has(&self, entry: &Entry) -> bool {
        self.entries
            .iter()
            .any(|known| known.handle == entry.handle && known.keys.first() == entry.keys.first())
    }

    fn open(vault: &Vault, place: &Place, version: &Version, record: &Bytes) -> Result<Self> {
        if version.header.kind != Kind::Index {
            return Err(Error::corrupt("what lies under an owner's key is not an index of sessions"));
        }
        Self::read(&vault.open(record, &place.seal)?)
    }

    fn read(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let epoch = u64::from_be_bytes(reader.fixed()?);
        let entries = (0..reader.count()?).map(|_| Entry::read(&mut reader)).collect::<Result<_>>()?;
        reader.end()?;
        Ok(Self { epoch, entries })
    }
}

impl Entry {
    fn add(&mut self, key: StorageKey, from: Option<StorageKey>, now: u64) {
        if self.keys.first() == Some(&key) {
            return;
        }
        if self.moved.saturating_add(ROTATION) < now {
            self.keys.retain(|known| Some(*known) == from);
        }
        self.keys.retain(|known| *known != key);
        self.keys.insert(0, key);
        self.keys.truncate(KEYS);
        self.moved = now;
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let handle = u64::from_be_bytes(reader.fixed()?);
        let count = reader.count()?;
        let keys = (0..count).map(|_| Ok(StorageKey::from_bytes(reader.fixed()?))).collect::<Result<_>>()?;
        let (moved, created, until) = (reader.number()?, reader.number()?, reader.number()?);
        let flags = reader.number()?;
        let label = if flags & 2 == 0 { None } else { Some(reader.text()?.into()) };
        Ok(Self { handle, keys, moved, created, until, label, revoked: flags & 1 != 0 })
    }
}

impl Payload for Index {
    fn size_hint(&self) -> usize {
        let labels = self
            .entries
            .iter()
            .filter_map(|entry| entry.label.as_ref())
            .map(|label| label.as_bytes().len() + 4);
        let keys = self.entries.iter().map(|entry| 40 + entry.keys.len() * StorageKey::BYTES);
        16 + labels.chain(keys).sum::<usize>()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_be_bytes());
        wire::put_number(self.entries.len() as u64, out);
        for entry in &self.entries {
            out.extend_from_slice(&entry.handle.to_be_bytes());
            wire::put_number(entry.keys.len() as u64, out);
            entry.keys.iter().for_each(|key| out.extend_from_slice(key.as_bytes()));
            for number in [entry.moved, entry.created, entry.until] {
                wire::put_number(number, out);
            }
            wire::put_number(u64::from(entry.revoked) | u64::from(entry.label.is_some()) << 1, out);
            if let Some(label) = &entry.label {
                wire::put_bytes(label.as_bytes(), out);
            }
        }
    }
}

/// Ends the session under a key, following it through rotations; whether one was alive.
pub(crate) async fn end(
    vault: &Vault,
    key: StorageKey,
    known: Option<Version>,
    tombstone: u64,
) -> Result<bool> {
    let commit = fastrand::u64(1..);
    let mut place = Place { key, seal: [0; 32] }; // a tombstone has nothing to seal
    let mut version = known;
    for round in 0..ROUNDS {
        let found = match version.take() {
            Some(version) => Some(version),
            None => match vault.look(&place.key).await? {
                Found::Nothing => None,
                Found::Record(version, _) => Some(version),
            },
        };
        let Some(found) = found else { return Ok(false) };
        match found.header.kind {
            Kind::Removed => return Ok(found.header.commits.contains(&commit)),
            Kind::Moved(successor) => place.key = successor,
            Kind::Live | Kind::Index => {
                let draft = Draft::tombstone(Kind::Removed, vault.now(), tombstone);
                match vault.replace(&place, &found, commit, draft).await? {
                    Attempt::Done(..) => return Ok(true),
                    Attempt::Changed(Found::Nothing) => return Ok(false),
                    Attempt::Changed(Found::Record(changed, _)) => {
                        version = Some(changed);
                        pause(round).await;
                    }
                }
            }
        }
    }
    Err(Error::new(ErrorKind::Conflict, "the session was changed faster than it could be ended")
        .during("destroy"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn entry(handle: u64) -> Entry {
        Entry {
            handle,
            keys: vec![StorageKey::from_bytes([1; 20])],
            moved: 3,
            created: 1,
            until: 2,
            label: Some("phone".into()),
            revoked: false,
        }
    }

    #[test]
    fn an_index_comes_back_and_damage_is_refused() {
        let index =
            Index { epoch: 7, entries: vec![entry(1), Entry { revoked: true, label: None, ..entry(2) }] };
        let mut out = Vec::new();
        index.write(&mut out);
        assert!(index.size_hint() >= out.len());
        assert_eq!(Index::read(&out).unwrap(), index);
        for length in 0..out.len() {
            assert!(Index::read(&out[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn keys_of_rotations_under_way_stay_and_old_ones_go() {
        let mut it = entry(1);
        let key = |at: u8| StorageKey::from_bytes([at; 20]);
        it.add(key(2), Some(key(1)), 10);
        it.add(key(3), Some(key(1)), 20);
        assert_eq!(it.keys, [key(3), key(2), key(1)]);
        // The second of the two won: what it comes from stays, the loser's key goes.
        it.add(key(4), Some(key(2)), 21 + ROTATION);
        assert_eq!(it.keys, [key(4), key(2)]);
        it.add(key(4), Some(key(2)), 22 + ROTATION);
        assert_eq!(it.keys, [key(4), key(2)]);
    }
}
