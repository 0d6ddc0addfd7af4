//! The owner index: the list of a user's sessions, so that they can be listed and ended. It works
//! on any engine that does not lose acknowledged writes.
//!
//! There is one record per owner, with an epoch and an entry per session. The rules:
//!
//! - An entry covers every key under which its session may be live. A key is added before the
//!   session can be reached under it.
//! - A key is removed only when it is known to be dead. If a key is the base of a request, every
//!   key that it was rotated from is dead, and so are the other successors of those keys.
//! - Only "log out everywhere" sets a new random epoch. An index that only logins wrote has epoch
//!   0, and so has a missing index. A login adds its session only if the epoch is still the one
//!   that it read.
//! - A revoked entry is kept, marked as revoked, until its sessions are ended. It is never revived.

mod entry;
mod limit;
mod shelf;

pub(crate) use entry::{Entry, Index, Location};
pub use limit::WhenFull;
pub(crate) use limit::too_many;
pub(crate) use shelf::IndexView;

use crate::crypto::id::Place;
use crate::crypto::secret::Secrets;
use crate::crypto::{self, Key, Purpose, Scope};
use crate::error::Result;
use crate::ledger::ending::end_all;
use crate::ledger::vault::Vault;
use crate::ledger::written::Found;
use crate::observe::{Ending, Event, Subject};
use crate::record::Kind;
use crate::store::StorageKey;
use crate::values::wire::Text;

use shelf::Verdict;

/// The owner indexes of a manager.
#[derive(Clone, Debug)]
pub(crate) struct Owners {
    /// The keys under which owners' names are hashed. New entries use the first; all are read.
    keys: Vec<Key>,
    scope: Scope,
    /// The maximum number of sessions per owner.
    most: usize,
    when_full: WhenFull,
    tombstone: u64,
}

/// A session that is about to be added to its owner's index, because its user logs in.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) handle: u64,
    pub(crate) key: StorageKey,
    pub(crate) until: u64,
    /// The time of the login.
    pub(crate) at: u64,
    pub(crate) label: Option<Text>,
    /// The session's previous key, if the same owner logs in again.
    pub(crate) from: Option<StorageKey>,
}

/// The outcome of adding a session to the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    Listed,
    /// The owner's sessions were revoked during the login.
    Refused,
    /// The session's previous key is dead.
    Lost,
    /// The owner has too many sessions, and a login must not revoke one.
    Full,
}

/// The next step of adding a session.
enum Step {
    Done(Entered),
    /// The least recently used session must end first.
    Room(Vec<StorageKey>),
    /// There is no room, and no session may be ended.
    Full,
}

impl Owners {
    /// Sessions from before a secret was configured are listed under an all-zero key. They are
    /// found as long as unsigned ids are accepted.
    pub(crate) fn new(
        secrets: Option<&Secrets>,
        accept_unsigned: bool,
        scope: Scope,
        most: usize,
        when_full: WhenFull,
        tombstone: u64,
    ) -> Self {
        let derive = |secret: &Key| scope.derive(secret, Purpose::Owner);
        let mut keys: Vec<_> = secrets.into_iter().flat_map(Secrets::iter).map(derive).collect();
        if keys.is_empty() || accept_unsigned {
            keys.push(derive(&[0; 32]));
        }
        Self { keys, scope, most: most.max(1), when_full, tombstone }
    }

    fn places(&self, owner: &Text) -> impl Iterator<Item = Place> {
        self.keys
            .iter()
            .map(|key| Place::of_owner(&crypto::sign(key, owner.as_bytes()), &self.scope))
    }

    /// Reads the owner's index under every secret, as the base of a later compare-and-set.
    pub(crate) async fn find(&self, vault: &Vault, owner: &Text) -> Result<IndexView> {
        IndexView::read(vault, self.places(owner)).await
    }

    /// Returns the owner's sessions, each once. They include those that are marked as revoked but
    /// not ended yet.
    pub(crate) async fn list(&self, vault: &Vault, owner: &Text) -> Result<Vec<Entry>> {
        Ok(self.find(vault, owner).await?.entries())
    }

    /// Splits entries into those of live sessions and those whose sessions have ended, with one
    /// store call per key.
    pub(crate) async fn sort_out(
        vault: &Vault,
        entries: Vec<Entry>,
    ) -> Result<(Vec<Entry>, Vec<Entry>)> {
        let (mut alive, mut dead) = (Vec::new(), Vec::new());
        for entry in entries {
            let lives = is_alive(vault, &entry).await?;
            if lives { &mut alive } else { &mut dead }.push(entry);
        }
        Ok((alive, dead))
    }

    /// Adds a session that was just stored, unless the owner's sessions were revoked since the
    /// index was `seen`. If there is no room, ends the least recently used session, or refuses.
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
        // New entries are in the first secret's index only.
        let elsewhere: Vec<u64> = seen.elsewhere().map(|entry| entry.handle).collect();
        let mut ended: Vec<StorageKey> = Vec::new();
        let mut sorted_out = false;
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
                if self.when_full == WhenFull::RefuseLogin {
                    let is_full = self.is_full(index, arrival, &elsewhere) || index.bytes() > room;
                    let others = index.live().any(|entry| entry.handle != arrival.handle);
                    return if is_full && (others || !elsewhere.is_empty()) {
                        Verdict::Keep(Step::Full)
                    } else {
                        Verdict::Write(Step::Done(Entered::Listed))
                    };
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
                        tracing::warn!(%error, "an unreadable session was deleted to make room");
                    }
                    let session = Subject::new(None, Some(owner.as_str()));
                    vault.observed.tell(|| Event::Ended { session, how: Ending::MadeRoom });
                    ended.extend(keys);
                }
                // A logout may have left its entry behind, and must not lock its user out.
                Step::Full if !sorted_out => {
                    let (_, dead) = Self::sort_out(vault, self.list(vault, owner).await?).await?;
                    if dead.is_empty() {
                        return Ok(Entered::Full);
                    }
                    self.forget_entries(vault, owner, &dead).await?;
                    sorted_out = true;
                }
                Step::Full => return Ok(Entered::Full),
            }
        }
    }

    /// Whether a login would exceed the maximum number of sessions. A session that already has an
    /// entry adds none.
    fn is_full(&self, index: &Index, arrival: &Arrival, elsewhere: &[u64]) -> bool {
        let here = index.live().filter(|entry| !elsewhere.contains(&entry.handle)).count();
        arrival.from.is_none() && here + elsewhere.len() > self.most
    }

    /// Records that the session under `from` will also be live under `to`, before it is. Returns
    /// `false` if the session was revoked or `from` is known to be dead.
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

    /// Adds a location to a session's entry in every index that has the entry, and in the first
    /// secret's index.
    ///
    /// A revocation marks the entry in every index. Either it finds the key that is added here, or
    /// this method finds its mark.
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
                    // The entry was removed since it was read, so the session has ended.
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

    /// Sets a session's label in the index, after it was written to the session itself.
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

    /// Marks the entries that `which` selects as revoked and returns them, so that no concurrent
    /// request revives them. With `everyone`, concurrent logins are refused too.
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
                // Entries that an earlier, unfinished revocation marked are included.
                let fresh = index.mark(&which);
                let revoked = index.entries.iter().filter(|entry| entry.revoked).cloned().collect();
                let drawn = epoch.is_some_and(|epoch| index.epoch != epoch);
                index.epoch = epoch.unwrap_or(index.epoch);
                // A new epoch is written even if there was no index, so that a login that read "no
                // index" is refused.
                if fresh || drawn { Verdict::Write(revoked) } else { Verdict::Keep(revoked) }
            });
            let revoked: Vec<Entry> = here.await?;
            marked.extend(revoked);
        }
        Ok(marked)
    }

    /// Removes the entries with these handles, whose sessions are known to be dead.
    pub(crate) async fn forget(&self, vault: &Vault, owner: &Text, handles: &[u64]) -> Result<()> {
        self.everywhere(vault, owner, |index| {
            index.drop_entries(|entry| handles.contains(&entry.handle))
        })
        .await
    }

    /// Removes entries whose sessions were found dead, unless the entries have changed since.
    pub(crate) async fn forget_entries(
        &self,
        vault: &Vault,
        owner: &Text,
        dead: &[Entry],
    ) -> Result<()> {
        self.everywhere(vault, owner, |index| index.drop_entries(|entry| dead.contains(entry)))
            .await
    }

    /// Removes a key that is known to be dead, and its entry if the entry has no other key.
    pub(crate) async fn drop_key(
        &self,
        vault: &Vault,
        owner: &Text,
        key: StorageKey,
    ) -> Result<()> {
        self.everywhere(vault, owner, |index| index.drop_key(key)).await
    }

    /// Changes the index under every secret. `change` returns whether there is anything to write.
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

/// Whether a session is live under one of the keys of its entry.
async fn is_alive(vault: &Vault, entry: &Entry) -> Result<bool> {
    for location in entry.locations.iter().rev() {
        match vault.look(&location.key).await? {
            Found::Record(version, _) if version.header.kind == Kind::Live => return Ok(true),
            // Listed, because it may be live. Revoking it deletes the record.
            Found::Unreadable { .. } => return Ok(true),
            Found::Record(..) | Found::Nothing => {}
        }
    }
    Ok(false)
}
