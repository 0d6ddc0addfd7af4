//! The store contract: what an engine must do so that the session above it keeps its promises.
//!
//! Building blocks for stores behind a network are in [`backend`](crate::backend).

mod capabilities;
pub(crate) mod ephemeral;
mod failure;
mod forward;
mod key;
mod types;

pub use async_trait::async_trait;
pub use bytes::Bytes;

pub use capabilities::{Capabilities, Durability};
pub use failure::{Effect, Failure};
pub use key::{KeySpace, StorageKey};
pub use types::{Expiry, Revision, ScanCursor, ScanPage, Stored, SweepReport};

use std::fmt;
use std::time::SystemTime;

use crate::error::Result;

/// A place that keeps opaque bytes under opaque keys, with compare-and-set.
///
/// This is what a backend crate or a store of your own implements. Users of sessions never call it.
///
/// # Contract
///
/// A store moves bytes. It never looks into a value, never makes a key, never decides whether
/// something has expired (except where the engine does that by itself, or in
/// [`sweep`](Self::sweep)), never repeats a write whose outcome it doesn't know, and never writes a
/// key or a password to a log or an error. Everything else (formats, sealing, conflicts, expiry,
/// limits) is above it, once, for every engine.
///
/// 1. **A revision belongs to one write.** Every successful [`create`](Self::create) and
///    [`update`](Self::update) gives the entry a [`Revision`] that this key never had and never
///    will have again, not even after a delete and another create. A fresh random 64-bit number per
///    write is right ([`Revision::random`]); a counter that starts again at 1 is not.
/// 2. **`create` never overwrites** a live entry, and of any number of simultaneous creates exactly
///    one succeeds.
/// 3. **`update` never creates**, and replaces only what still has the expected revision; of any
///    number of simultaneous updates that expect the same revision exactly one succeeds.
/// 4. **`load` never writes or deletes** and sees every write that was acknowledged before it was
///    called: read from the primary, not from a replica. It may return an entry that has expired.
/// 5. **Unknown is not absent.** `Ok(None)` is a statement that the engine has nothing under the
///    key. Whatever keeps the store from knowing (no connection, a redirect, a read-only replica, a
///    missing table or bucket) is an error.
/// 6. **An unknown outcome is reported.** A write that may or may not have happened is an error
///    whose [`is_ambiguous`](crate::Error::is_ambiguous) is true. Client libraries that retry
///    writes by themselves must be told not to. Where that is impossible the store says so
///    ([`Capabilities::with_repeated_writes`]): its "revision does not match" may then stand for
///    its own write, which the core recognises by the commit id for as long as no four others have
///    followed.
/// 7. **Cancelling is safe.** A future dropped half-way leaves the entry as it was or as it was
///    going to be.
///
/// # Upgrades
///
/// New methods arrive only with a major version: there are no default bodies, so that a wrapper
/// cannot forget one.
///
/// # Wrappers
///
/// A store that wraps another forwards every method; put `#[deny(clippy::missing_trait_methods)]`
/// on the `impl`.
///
/// # Proof
///
/// `mocha-session-conformance` checks all of this against a running engine:
/// `mocha_session_conformance::suite!(my_store, open);`
///
/// # Example
///
/// A store and its driver. The conformance suite passes on it (`tests/documented_store.rs`).
///
/// ```
#[doc = include_str!("store/example.rs")]
/// ```
#[async_trait]
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// The value under `key` and its revision; `None` when there is none.
    ///
    /// Never writes, never deletes. An expired entry may be returned: the core decides.
    ///
    /// # Errors
    /// Whatever keeps the store from knowing; a missing connection is never "nothing there".
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>>;

    /// Stores `value` under a key that holds nothing; `None` when the key is taken.
    ///
    /// An expired entry that is still there may count as taken. Never overwrites a live one.
    ///
    /// # Errors
    /// [`is_ambiguous`](crate::Error::is_ambiguous) when the entry may have been stored
    /// nevertheless; otherwise nothing was stored.
    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>>;

    /// Replaces the value if the stored revision is still `expected`; `None` when it is another, or
    /// nothing is there.
    ///
    /// Never creates. An expired entry that is still there may be updated: the core has checked the
    /// deadline.
    ///
    /// # Errors
    /// [`is_ambiguous`](crate::Error::is_ambiguous) when the entry may have been replaced
    /// nevertheless; otherwise the entry is as it was.
    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>>;

    /// Removes the entry, whatever its revision, and says whether something was there. Removing
    /// twice is fine.
    ///
    /// # Errors
    /// When the entry may still be there.
    async fn delete(&self, key: &StorageKey) -> Result<bool>;

    /// Removes one batch of entries whose expiry lies before `now`, examining about `limit`
    /// entries.
    ///
    /// Called again with the [`cursor`](SweepReport::next) it returned until that is `None`. Each
    /// removal is conditional on what was examined: an entry refreshed between the look and the
    /// removal must survive. An engine that expires by itself returns [`SweepReport::native`].
    /// Clock skew is the caller's business: `now` already has a margin.
    ///
    /// One entry that cannot be removed does not end the batch: the report counts it
    /// ([`SweepReport::with_failures`]).
    ///
    /// # Errors
    /// When the batch could not be finished. What was removed stays removed.
    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport>;

    /// One page of about `limit` entries, for moving and counting sessions. Expired entries may be
    /// among them.
    ///
    /// An entry that exists during the whole scan appears at least once; it may appear twice.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the engine cannot list
    /// ([`Capabilities::listing`] is false).
    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage>;

    /// A cheap proof that the engine answers and would take a read.
    ///
    /// # Errors
    /// When it does not.
    async fn ping(&self) -> Result<()>;

    /// What this engine can do, as configured. Constant for the life of the store; no I/O.
    fn capabilities(&self) -> Capabilities;
}
