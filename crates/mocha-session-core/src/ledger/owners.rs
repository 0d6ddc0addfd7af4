//! The owner index: which sessions a user has, so that they can be listed and ended, on any engine
//! that keeps what it acknowledged.
//!
//! One record per owner, with an epoch and an entry per session. The rules:
//!
//! - An entry covers every key under which its session may be alive. A key is entered before the
//!   session can be reached under it.
//! - A key is dropped only when it is known dead. A key that became the base of a request proves
//!   that every key it was rotated from is dead, and so are the other successors of those.
//! - Only "log out everywhere" draws a new epoch. An index that only logins wrote has epoch 0, and
//!   so has an index that does not exist. A login enters its session only while the epoch is the
//!   one it read.
//! - A revoked entry stays, marked, until its sessions are ended; nothing revives it.

mod entry;
mod shelf;

pub(crate) use entry::{Entry, Index, Location};
pub(crate) use shelf::IndexView;

use crate::crypto::id::Place;
use crate::crypto::secret::Secrets;
use crate::crypto::{self, Key, Purpose, Scope};
use crate::error::Result;
use crate::ledger::ending::end_all;
use crate::ledger::vault::Vault;
use crate::observe::{Ending, Event, Subject};
use crate::store::StorageKey;
use crate::values::wire::Text;

use shelf::Verdict;

/// What the owners' indexes need to know.
#[derive(Clone, Debug)]
pub(crate) struct Owners {
    /// What owners' names are hashed under: the first is written, all are read.
    keys: Vec<Key>,
    scope: Scope,
    /// How many sessions an owner may have; the least recently used is revoked to make room.
    most: usize,
    tombstone: u64,
}

/// A session that logs in, to be entered into its owner's index.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) handle: u64,
    pub(crate) key: StorageKey,
    pub(crate) until: u64,
    /// When it logged in.
    pub(crate) at: u64,
    pub(crate) label: Option<Text>,
    /// The key that the same handle is moving from, where its owner logs in again.
    pub(crate) from: Option<StorageKey>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    Listed,
    /// The owner's sessions were revoked while the login was under way.
    Refused,
    /// The session that it was to go on from is dead.
    Lost,
}

/// What stands in the way of an arrival.
enum Step {
    Done(Entered),
    /// The least recently used session must end first.
    Room(Vec<StorageKey>),
}

impl Owners {
    /// Sessions of before a secret was introduced are listed under no secret, and are found as long
    /// as unsigned ids are accepted.
    pub(crate) fn new(
        secrets: Option<&Secrets>,
        accept_unsigned: bool,
        scope: Scope,
        most: usize,
        tombstone: u64,
    ) -> Self {
        let derive = |secret: &Key| scope.derive(secret, Purpose::Owner);
        let mut keys: Vec<_> = secrets.into_iter().flat_map(Secrets::iter).map(derive).collect();
        if keys.is_empty() || accept_unsigned {
            keys.push(derive(&[0; 32]));
        }
        Self { keys, scope, most: most.max(1), tombstone }
    }

    fn places(&self, owner: &Text) -> impl Iterator<Item = Place> {
        self.keys
            .iter()
            .map(|key| Place::of_owner(&crypto::sign(key, owner.as_bytes()), &self.scope))
    }

    /// The owner's index under every secret, to be changed later if it is still the same.
    pub(crate) async fn find(&self, vault: &Vault, owner: &Text) -> Result<IndexView> {
        IndexView::read(vault, self.places(owner)).await
    }

    /// The owner's sessions, each once, those among them that a revocation has marked and not ended
    /// yet.
    pub(crate) async fn list(&self, vault: &Vault, owner: &Text) -> Result<Vec<Entry>> {
        Ok(self.find(vault, owner).await?.entries())
    }

    /// Enters a session that was just stored, unless the owner's sessions were revoked since the
    /// index was `seen`. Where there is no room, the least recently used session is ended and makes
    /// way.
    pub(crate) async fn enter(
        &self,
        vault: &Vault,
        owner: &Text,
        seen: &IndexView,
        arrival: &Arrival,
    ) -> Result<Entered> {
        let epoch = seen.epoch();
        let mut first = Some(seen.first().clone());
        if let Some(from) = arrival.from.filter(|_| self.keys.len() > 1) {
            first = None;
            let to = Location { key: arrival.key, from: Some(from), until: arrival.until };
            if !self.extend(vault, owner, arrival.handle, from, to, |_| {}).await? {
                return Ok(Entered::Lost);
            }
        }
        let mut ended: Vec<StorageKey> = Vec::new();
        loop {
            let place = seen.first().place.clone();
            let room = vault.room();
            let step = shelf::change(vault, place, first.take(), |index| {
                if index.epoch != epoch {
                    return Verdict::Keep(Step::Done(Entered::Refused));
                }
                if !index.arrive(arrival) {
                    return Verdict::Keep(Step::Done(Entered::Lost));
                }
                while index.live().count() > self.most || index.bytes() > room {
                    let Some(victim) = index.least_used(arrival.handle) else { break };
                    let alive = index.entries[victim].locations.iter().map(|at| at.key);
                    let alive: Vec<_> = alive.filter(|key| !ended.contains(key)).collect();
                    if !alive.is_empty() {
                        return Verdict::Keep(Step::Room(alive));
                    }
                    index.entries.remove(victim);
                }
                Verdict::Write(Step::Done(Entered::Listed))
            });
            match step.await? {
                Step::Done(entered) => return Ok(entered),
                Step::Room(keys) => {
                    if let Err(error) = end_all(vault, &keys, self.tombstone).await {
                        if !error.is_corrupt() {
                            return Err(error);
                        }
                        tracing::warn!(%error, "a session that was revoked to make room was deleted unread");
                    }
                    let session = Subject::new(None, Some(owner.as_str()));
                    vault.observed.tell(|| Event::Ended { session, how: Ending::MadeRoom });
                    ended.extend(keys);
                }
            }
        }
    }

    /// Notes, before it happens, that the session under `from` will be alive under `to` until then;
    /// `false` when it was revoked, or `from` is known dead.
    pub(crate) async fn follow(
        &self,
        vault: &Vault,
        owner: &Text,
        handle: u64,
        from: StorageKey,
        to: Location,
        label: Option<&Text>,
    ) -> Result<bool> {
        let now = vault.now();
        let used = move |entry: &mut Entry| {
            entry.label = label.cloned();
            entry.used = entry.used.max(now);
        };
        self.extend(vault, owner, handle, from, to, used).await
    }

    /// Adds a location to a session's entry wherever the entry is, and at the first secret's place.
    /// A revocation marks every place: it either finds the key that is added here first, or is
    /// found here.
    async fn extend(
        &self,
        vault: &Vault,
        owner: &Text,
        handle: u64,
        from: StorageKey,
        to: Location,
        touch: impl Fn(&mut Entry) + Send + Sync,
    ) -> Result<bool> {
        let mut seen = self.find(vault, owner).await?;
        let Some(mut whole) = seen.entry(handle).filter(|entry| !entry.revoked) else {
            return Ok(false);
        };
        if !whole.extend(from, to.clone()) {
            return Ok(false);
        }
        touch(&mut whole);
        for shelf in seen.take_with_first_last(handle) {
            let had = shelf.has(handle);
            let alive = shelf::change(vault, shelf.place.clone(), Some(shelf), |index| {
                let Some(entry) = index.entries.iter_mut().find(|entry| entry.handle == handle)
                else {
                    // Forgotten since it was read: the session was ended.
                    if had {
                        return Verdict::Keep(false);
                    }
                    index.entries.push(whole.clone());
                    return Verdict::Write(true);
                };
                if entry.revoked {
                    return Verdict::Keep(false);
                }
                let before = entry.clone();
                whole.locations.iter().for_each(|location| entry.cover(location.clone()));
                if !entry.extend(from, to.clone()) {
                    return Verdict::Keep(false);
                }
                let moved = *entry != before || entry.label != whole.label;
                touch(entry);
                if moved { Verdict::Write(true) } else { Verdict::Keep(true) }
            });
            if !alive.await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets what a session is called, after the session itself has the label.
    pub(crate) async fn relabel(
        &self,
        vault: &Vault,
        owner: &Text,
        handle: u64,
        label: Option<&Text>,
    ) -> Result<()> {
        self.everywhere(vault, owner, |index| match index.live_mut(handle) {
            Some(entry) if entry.label.as_ref() != label => {
                entry.label = label.cloned();
                true
            }
            _ => false,
        })
        .await
    }

    /// Marks the entries that `which` picks, so that nothing under way revives them, and returns
    /// them. With `everyone`, logins that are under way are refused too.
    pub(crate) async fn mark(
        &self,
        vault: &Vault,
        owner: &Text,
        everyone: bool,
        which: impl Fn(&Entry) -> bool + Send + Sync,
    ) -> Result<Vec<Entry>> {
        let mut marked: Vec<Entry> = Vec::new();
        let epoch = everyone.then(|| fastrand::u64(1..));
        for place in self.places(owner) {
            let here = shelf::change(vault, place, None, |index| {
                // What an earlier revocation marked and did not finish is finished now.
                let fresh = index.mark(&which);
                let revoked = index.entries.iter().filter(|entry| entry.revoked).cloned().collect();
                let drawn = epoch.is_some_and(|epoch| index.epoch != epoch);
                index.epoch = epoch.unwrap_or(index.epoch);
                // Written even where there was no index: a login that read "none" must find it
                // changed.
                if fresh || drawn { Verdict::Write(revoked) } else { Verdict::Keep(revoked) }
            });
            let revoked: Vec<Entry> = here.await?;
            marked.extend(revoked);
        }
        Ok(marked)
    }

    /// Forgets entries whose sessions are all known dead.
    pub(crate) async fn forget(&self, vault: &Vault, owner: &Text, handles: &[u64]) -> Result<()> {
        self.everywhere(vault, owner, |index| {
            index.drop_entries(|entry| handles.contains(&entry.handle))
        })
        .await
    }

    /// Forgets entries whose sessions were found dead, unless they have changed since.
    pub(crate) async fn forget_entries(
        &self,
        vault: &Vault,
        owner: &Text,
        dead: &[Entry],
    ) -> Result<()> {
        self.everywhere(vault, owner, |index| index.drop_entries(|entry| dead.contains(entry)))
            .await
    }

    /// Drops a key that is known dead, and the entry with it where it has no other.
    pub(crate) async fn drop_key(
        &self,
        vault: &Vault,
        owner: &Text,
        key: StorageKey,
    ) -> Result<()> {
        self.everywhere(vault, owner, |index| index.drop_key(key)).await
    }

    /// Changes the index under every secret. `change` says whether there is anything to write.
    async fn everywhere(
        &self,
        vault: &Vault,
        owner: &Text,
        change: impl Fn(&mut Index) -> bool + Send + Sync,
    ) -> Result<()> {
        for place in self.places(owner) {
            shelf::change(vault, place, None, |index| {
                if change(index) { Verdict::Write(()) } else { Verdict::Keep(()) }
            })
            .await?;
        }
        Ok(())
    }
}
