#![doc = include_str!("../README.md")]

pub mod backend;
mod commit;
mod crypto;
mod environment;
mod error;
mod future;
mod handle;
mod http;
mod ledger;
mod manager;
mod migrating;
#[cfg(mocha_mutants)]
pub mod mutants;
mod near;
pub mod observe;
mod open;
mod record;
mod request;
mod session;
pub mod store;
mod time;
mod values;

pub use crypto::Secrets;
pub use environment::Environment;
pub use error::{Error, ErrorKind, Result};
pub use future::BoxFuture;
pub use handle::{
    Detached, DetachedSession, Flash, Key, KeyFor, KeyName, LazySession, MAX_KEY_BYTES, Session,
    SessionData, SessionHandle,
};
pub use http::{
    CookiePolicy, CrossOrigin, CrossOriginProtection, HeaderChanges, HeaderLines, HeaderSink,
    MAX_COOKIE_BYTES, RequestHeaders, RequestInfo, SameSite, SessionToken, Transport,
};
pub use ledger::owners::WhenFull;
pub use manager::{
    FailurePolicy, Kept, OldSessions, OwnedSession, Records, Requirement, SessionManager,
    SessionManagerBuilder, Sessions, SweepTotal, Sweeper,
};
pub use migrating::{Migrating, MoveOutcome, MovedPage};
pub use open::{Driver, Examining, Host, NearPolicy, Opening, Registry, Storage, StoreUrl};
pub use record::{Level, Message, RecordInfo, RecordKind};
pub use request::{Finish, Finished};
pub use store::{Capabilities, Durability};
pub use time::{Clock, ManualClock, SystemClock};

#[cfg(mocha_mutants)]
use mutants::mutant;

/// Returns whether a bug is planted here: never, except in the simulator's own build of this crate.
#[cfg(not(mocha_mutants))]
pub(crate) const fn mutant(_name: &str) -> bool {
    false
}
