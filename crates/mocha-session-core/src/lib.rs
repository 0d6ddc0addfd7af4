#![doc = include_str!("../README.md")]

mod client;
mod content;
mod cookie;
mod cross_origin;
mod crypto;
mod ending;
mod ephemeral;
mod error;
mod flash;
mod handle;
mod headers;
mod id;
mod key;
mod manager;
mod migrating;
#[cfg(mocha_mutants)]
pub mod mutants;
mod owners;
mod policy;
mod queue;
mod record;
mod registry;
mod secret;
mod session;
mod sessions;
mod signing;
mod storage;
pub mod store;
mod time;
mod url;
mod values;
mod vault;
mod wire;

pub use cookie::{CookiePolicy, MAX_COOKIE_BYTES, SameSite};
pub use cross_origin::{CrossOrigin, CrossOriginProtection};
pub use error::{Error, ErrorKind, Result};
pub use flash::{Flash, Level, Message};
pub use headers::{CookieHeaders, CookieLines, HeaderChanges, HeaderSink, RequestInfo};
pub use key::{Key, KeyFor, KeyName, MAX_KEY_BYTES};
pub use manager::{
    FailurePolicy, Kept, OwnedSession, Records, Requirement, SessionHandle, SessionManager,
    SessionManagerBuilder, SweepTotal, Sweeper,
};
pub use migrating::Migrating;
pub use registry::{BoxFuture, Driver, Opening, Registry};
pub use secret::Secrets;
pub use session::{Detached, DetachedSession, Finish, Finished, LazySession, Session, SessionData};
pub use sessions::Sessions;
pub use storage::Storage;
pub use store::{Capabilities, Durability};
pub use time::{Clock, ManualClock, SystemClock};
pub use url::{Host, StoreUrl};

#[cfg(mocha_mutants)]
use mutants::mutant;

/// Whether a bug is planted here: never, except in the simulator's own build of this crate.
#[cfg(not(mocha_mutants))]
pub(crate) const fn mutant(_name: &str) -> bool {
    false
}
