//! The state of a request's session: base, log and view, and the cookie that the response will set.
//!
//! Nothing in this folder calls a store.

pub(crate) mod base;
pub(crate) mod change;
pub(crate) mod doubt;
pub(crate) mod old;
pub(crate) mod reading;
pub(crate) mod shared;
pub(crate) mod state;
