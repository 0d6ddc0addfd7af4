//! The types that handlers use: the lazy session, the session and its data, flash, and the handle
//! that outlives its request.
//!
//! A handle changes state and asks for loads and commits. The modules below implement them.

mod data;
mod detached;
mod flash;
mod key;
mod lazy;
mod scoped;
mod session;
mod session_handle;
mod update;

pub use data::SessionData;
pub use detached::{Detached, DetachedSession};
pub use flash::Flash;
pub use key::{Key, KeyFor, KeyName, MAX_KEY_BYTES};
pub use lazy::LazySession;
pub use session::Session;
pub use session_handle::SessionHandle;
