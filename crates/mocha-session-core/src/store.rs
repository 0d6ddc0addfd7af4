//! The store contract: the trait that every store implements, and its types.
//!
//! Building blocks for stores that use a network are in [`backend`](crate::backend).

mod capabilities;
mod changes;
pub(crate) mod ephemeral;
mod failure;
mod finding;
mod forward;
mod key;
mod types;

pub use async_trait::async_trait;
pub use bytes::Bytes;

pub use capabilities::{Capabilities, Durability};
pub use changes::Changes;
pub(crate) use changes::Watcher;
pub use failure::{Effect, Failure};
pub use finding::Finding;
pub use key::{KeySpace, StorageKey};
pub use types::{Expiry, Revision, ScanCursor, ScanPage, Stored, SweepReport};

use std::fmt;
use std::time::SystemTime;

use crate::error::Result;

/// A store: keeps opaque bytes under opaque keys, with compare-and-set.
///
/// Backend crates and custom stores implement this trait. Applications never call it.
///
/// # Contract
///
/// A store moves bytes. It never reads a value, never makes a key, never repeats a write whose
/// outcome is unknown, and never writes a key or a password to a log or an error. It never decides
/// whether an entry has expired, except in [`sweep`](Self::sweep) or where the engine itself
/// expires entries. The core does everything else for every engine: formats, encryption,
/// conflicts, expiry and limits.
///
/// 1. **A revision belongs to one write.** Every successful [`create`](Self::create) and
///    [`update`](Self::update) gives the entry a [`Revision`] that this key never had before and
///    never will have again, even after a delete and another create. Use a new random 64-bit number
///    for each write ([`Revision::random`]), not a counter that restarts at 1.
/// 2. **`create` never overwrites** a live entry. Of several simultaneous creates exactly one
///    succeeds.
/// 3. **`update` never creates.** It replaces the entry only if the entry still has the expected
///    revision. Of several simultaneous updates that expect the same revision exactly one succeeds.
/// 4. **`load` never writes or deletes.** It sees every write that was acknowledged before the
///    call, so it reads from the primary, not from a replica. It may return an expired entry.
/// 5. **Unknown is not absent.** `Ok(None)` states that the engine has no entry under the key. If
///    the store cannot know (no connection, a redirect, a read-only replica, a missing table or
///    bucket), it returns an error.
/// 6. **An unknown outcome is reported.** If a write may or may not have happened, the store
///    returns an error whose [`is_ambiguous`](crate::Error::is_ambiguous) is true. Client libraries
///    must be configured not to retry writes. If one cannot be, the store declares it with
///    [`Capabilities::with_repeated_writes`]: a failed compare-and-set may then mean that its own
///    write was done. The core recognises its own write by the commit id, unless four other commits
///    have followed.
/// 7. **Cancelling is safe.** When a future is dropped half-way, the entry has either its old or
///    its new content.
///
/// # Upgrades
///
/// New methods arrive only with a major version. No method has a default body, so that a wrapper
/// cannot forget one.
///
/// # Wrappers
///
/// A store that wraps another store forwards every method. Use
/// [`forward_store!`](crate::forward_store), or put `#[deny(clippy::missing_trait_methods)]` on the
/// `impl`.
///
/// # Conformance
///
/// `mocha-session-conformance` checks this contract against a running engine:
/// `mocha_session_conformance::suite!(my_store, open);`
///
/// # Example
///
/// A store and its driver. It passes the conformance suite (`tests/documented_store.rs`).
///
/// ```
#[doc = include_str!("store/example.rs")]
/// # use mocha_session_core as mocha_session;
/// ```
#[async_trait]
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// Returns the value under `key` and its revision, or `None` if there is no entry.
    ///
    /// Never writes or deletes. May return an expired entry: the core checks the deadline.
    ///
    /// # Errors
    /// If the store cannot know whether there is an entry, for example without a connection.
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>>;

    /// Stores `value` under an unused key and returns its revision, or `None` if the key is in use.
    ///
    /// An expired entry that was not removed yet may count as in use. Never overwrites a live
    /// entry.
    ///
    /// # Errors
    /// [`is_ambiguous`](crate::Error::is_ambiguous) if the entry may have been stored. Otherwise
    /// nothing was stored.
    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>>;

    /// Replaces the value if the stored revision is `expected`, and returns the new revision.
    /// Returns `None` if the revision differs or there is no entry.
    ///
    /// Never creates an entry. An expired entry that was not removed yet may be updated, because
    /// the core has checked the deadline.
    ///
    /// # Errors
    /// [`is_ambiguous`](crate::Error::is_ambiguous) if the entry may have been replaced. Otherwise
    /// the entry is unchanged.
    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>>;

    /// Removes the entry, whatever its revision, and returns whether there was one.
    ///
    /// Removing an entry twice is not an error.
    ///
    /// # Errors
    /// If the entry may still exist.
    async fn delete(&self, key: &StorageKey) -> Result<bool>;

    /// Examines one batch of about `limit` entries and removes those that expired before `now`.
    ///
    /// The caller repeats the call with the [cursor](SweepReport::next) that it returned, until
    /// that is `None`. Each removal is conditional: an entry that is refreshed after it was
    /// examined must not be removed. A store whose engine expires entries by itself returns
    /// [`SweepReport::native`]. The store need not allow for clock skew, because `now` already
    /// includes a margin.
    ///
    /// An entry that cannot be removed does not end the batch. The report counts it
    /// ([`SweepReport::with_failures`]).
    ///
    /// # Errors
    /// If the batch could not be finished. Entries that were removed stay removed.
    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport>;

    /// Returns one page of about `limit` entries, for moving and counting sessions.
    ///
    /// The page may include expired entries. An entry that exists during the whole scan appears at
    /// least once, and may appear more than once.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the engine cannot list entries
    /// ([`Capabilities::listing`] is false).
    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage>;

    /// Checks, at low cost, that the engine answers and accepts reads.
    ///
    /// # Errors
    /// If it does not.
    async fn ping(&self) -> Result<()>;

    /// Returns the engine's capabilities as configured.
    ///
    /// They are constant for the lifetime of the store. Does no I/O.
    fn capabilities(&self) -> Capabilities;
}
