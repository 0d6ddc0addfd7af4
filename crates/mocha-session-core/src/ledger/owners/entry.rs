//! The entries of an owner index: one per session, with the keys under which it may be live.

use crate::error::Result;
use crate::mutant;
use crate::record::Payload;
use crate::store::StorageKey;
use crate::values::wire::{self, Reader, Text};

/// The time for which an entry is kept after its session has expired, in milliseconds, because the
/// clocks of processes may differ.
const SKEW: u64 = 60 * 60 * 1_000;

/// An owner index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Index {
    /// Set to a random number by "log out everywhere"; zero until then.
    pub(crate) epoch: u64,
    pub(crate) entries: Vec<Entry>,
}

/// One session of an owner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) handle: u64,
    /// The keys under which it may be live. The key that a rotation starts from precedes its
    /// successor.
    pub(crate) locations: Vec<Location>,
    pub(crate) created: u64,
    /// The time of its last use, to the precision of the refresh interval.
    pub(crate) used: u64,
    pub(crate) label: Option<Text>,
    /// It is being ended: no rotation, refresh or check may revive it.
    pub(crate) revoked: bool,
}

/// A key under which a session may be live.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Location {
    pub(crate) key: StorageKey,
    /// The key that it is being rotated from.
    pub(crate) from: Option<StorageKey>,
    pub(crate) until: u64,
}

impl Index {
    pub(crate) fn live(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.revoked)
    }

    /// Returns the entry of a session, unless it is revoked.
    pub(crate) fn live_mut(&mut self, handle: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.handle == handle && !entry.revoked)
    }

    /// Adds a session. Returns `false` if its previous key is dead.
    pub(super) fn arrive(&mut self, arrival: &super::Arrival) -> bool {
        let location = Location { key: arrival.key, from: arrival.from, until: arrival.until };
        if let Some(from) = arrival.from {
            let Some(entry) = self.live_mut(arrival.handle) else { return false };
            if !entry.extend(from, location) {
                return false;
            }
            (entry.created, entry.used) = (arrival.at, arrival.at);
            return true;
        }
        // A login whose previous session was lost may have left this key under the old handle.
        self.drop_key(arrival.key);
        self.entries.push(Entry {
            handle: arrival.handle,
            locations: vec![location],
            created: arrival.at,
            used: arrival.at,
            label: arrival.label.clone(),
            revoked: false,
        });
        true
    }

    /// Marks the selected entries as revoked. Returns whether any of them was not marked before.
    pub(super) fn mark(&mut self, which: impl Fn(&Entry) -> bool) -> bool {
        let mut fresh = false;
        for entry in self.entries.iter_mut().filter(|entry| !entry.revoked) {
            entry.revoked = which(entry);
            fresh |= entry.revoked;
        }
        fresh
    }

    /// Drops the selected entries. Returns whether there were any.
    pub(super) fn drop_entries(&mut self, which: impl Fn(&Entry) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !which(entry));
        self.entries.len() < before
    }

    /// Drops a key, and its entry if it has no other key. Returns whether the key was there.
    pub(super) fn drop_key(&mut self, key: StorageKey) -> bool {
        let mut there = false;
        self.entries.retain_mut(|entry| {
            let before = entry.locations.len();
            entry.locations.retain(|location| location.key != key);
            there |= entry.locations.len() < before;
            !entry.locations.is_empty()
        });
        there
    }

    /// Removes entries whose sessions expired long ago.
    pub(super) fn purge(&mut self, now: u64) {
        self.entries.retain(|entry| entry.until().saturating_add(SKEW) > now);
    }

    /// Returns the position of the least recently used session, other than this one.
    pub(super) fn least_used(&self, but: u64) -> Option<usize> {
        let others = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| !entry.revoked && entry.handle != but);
        others.min_by_key(|(_, entry)| entry.used).map(|(at, _)| at)
    }

    /// Returns how long the index must be kept.
    pub(super) fn until(&self, now: u64) -> u64 {
        let last = self.entries.iter().map(Entry::until).max().unwrap_or(now).max(now);
        last.saturating_add(SKEW)
    }

    /// Returns the encoded size in bytes.
    pub(super) fn bytes(&self) -> usize {
        let mut out = Vec::with_capacity(self.size_hint());
        self.write(&mut out);
        out.len()
    }

    pub(super) fn read(payload: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let epoch = u64::from_be_bytes(reader.fixed()?);
        let entries =
            (0..reader.count()?).map(|_| Entry::read(&mut reader)).collect::<Result<_>>()?;
        reader.end()?;
        Ok(Self { epoch, entries })
    }
}

impl Entry {
    /// Returns when the session will have expired under all its keys.
    pub(crate) fn until(&self) -> u64 {
        self.locations.iter().map(|location| location.until).max().unwrap_or(0)
    }

    /// Records that the session under `from`, which a client sent, will also be live at `location`.
    /// Returns `false` if `from` is known to be dead.
    ///
    /// Keys other than `from` and its successors are dead: a client would not know `from` if
    /// another successor of its predecessors had won.
    pub(super) fn extend(&mut self, from: StorageKey, location: Location) -> bool {
        if !self.locations.iter().any(|known| known.key == from) {
            return false;
        }
        let mut alive = vec![from];
        if mutant("a rotation drops the key it comes from") {
            self.locations.clear();
        }
        self.locations.retain(|known| {
            let kept = known.key == from || known.from.is_some_and(|from| alive.contains(&from));
            if kept {
                alive.push(known.key);
            }
            kept
        });
        self.cover(location);
        true
    }

    /// Merges the same session's entry from another index.
    pub(super) fn take_over(&mut self, other: &Self) {
        other.locations.iter().for_each(|location| self.cover(location.clone()));
        self.used = self.used.max(other.used);
        self.revoked |= other.revoked;
    }

    pub(super) fn cover(&mut self, location: Location) {
        match self.locations.iter_mut().find(|known| known.key == location.key) {
            Some(known) => known.until = known.until.max(location.until),
            None => self.locations.push(location),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let handle = u64::from_be_bytes(reader.fixed()?);
        let locations = (0..reader.count()?)
            .map(|_| {
                let key = StorageKey::from_bytes(reader.fixed()?);
                let from = match reader.number()? {
                    0 => None,
                    _ => Some(StorageKey::from_bytes(reader.fixed()?)),
                };
                Ok(Location { key, from, until: reader.number()? })
            })
            .collect::<Result<_>>()?;
        let (created, used, flags) = (reader.number()?, reader.number()?, reader.number()?);
        let label = if flags & 2 == 0 { None } else { Some(reader.text()?.into()) };
        Ok(Self { handle, locations, created, used, label, revoked: flags & 1 != 0 })
    }
}

impl Payload for Index {
    fn size_hint(&self) -> usize {
        let entry = |entry: &Entry| {
            let label = entry.label.as_ref().map_or(0, |label| label.as_bytes().len() + 4);
            48 + label + entry.locations.len() * (2 * StorageKey::BYTES + 11)
        };
        16 + self.entries.iter().map(entry).sum::<usize>()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_be_bytes());
        wire::put_number(self.entries.len() as u64, out);
        for entry in &self.entries {
            out.extend_from_slice(&entry.handle.to_be_bytes());
            wire::put_number(entry.locations.len() as u64, out);
            for location in &entry.locations {
                out.extend_from_slice(location.key.as_bytes());
                wire::put_number(u64::from(location.from.is_some()), out);
                if let Some(from) = &location.from {
                    out.extend_from_slice(from.as_bytes());
                }
                wire::put_number(location.until, out);
            }
            wire::put_number(entry.created, out);
            wire::put_number(entry.used, out);
            wire::put_number(u64::from(entry.revoked) | u64::from(entry.label.is_some()) << 1, out);
            if let Some(label) = &entry.label {
                wire::put_bytes(label.as_bytes(), out);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn key(at: u8) -> StorageKey {
        StorageKey::from_bytes([at; 20])
    }

    fn location(at: u8, from: u8) -> Location {
        Location { key: key(at), from: (from > 0).then(|| key(from)), until: 2 }
    }

    fn entry(handle: u64) -> Entry {
        Entry {
            handle,
            locations: vec![location(1, 0)],
            created: 1,
            used: 1,
            label: Some("phone".into()),
            revoked: false,
        }
    }

    fn keys(entry: &Entry) -> Vec<StorageKey> {
        entry.locations.iter().map(|location| location.key).collect()
    }

    #[test]
    fn an_index_comes_back_and_damage_is_refused() {
        let mut second = Entry { revoked: true, label: None, ..entry(2) };
        second.locations.push(location(2, 1));
        let index = Index { epoch: 7, entries: vec![entry(1), second] };
        let mut out = Vec::new();
        index.write(&mut out);
        assert!(index.size_hint() >= out.len());
        assert_eq!(Index::read(&out).unwrap(), index);
        for length in 0..out.len() {
            assert!(Index::read(&out[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn keys_that_may_live_stay_and_keys_that_are_known_dead_go() {
        let mut it = entry(1);
        // Two concurrent rotations of one session: either may win.
        assert!(it.extend(key(1), location(2, 1)) && it.extend(key(1), location(3, 1)));
        assert_eq!(keys(&it), [key(1), key(2), key(3)]);
        // A client presents 2, so 2 has won, 1 is dead and 3 has lost.
        assert!(it.extend(key(2), location(4, 2)));
        assert_eq!(keys(&it), [key(2), key(4)]);
        // A late rotation of 1 has lost, and drops nothing.
        assert!(!it.extend(key(1), location(5, 1)));
        assert_eq!(keys(&it), [key(2), key(4)]);
        // A late rotation of 2, after 4 was rotated to 6.
        assert!(it.extend(key(4), location(6, 4)) && !it.extend(key(2), location(7, 2)));
        assert_eq!(keys(&it), [key(4), key(6)]);
    }

    #[test]
    fn the_life_of_a_key_is_never_shortened() {
        let mut it = entry(1);
        it.locations[0].until = 100;
        assert!(it.extend(key(1), location(1, 0)) && it.until() == 100);
        assert!(it.extend(key(1), location(2, 1)) && it.until() == 100);
        assert!(it.extend(key(2), location(2, 1)) && it.until() == 2, "what lived longer is dead");
    }
}
