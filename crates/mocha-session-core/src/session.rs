//! What one request knows of its session: the base, the log of changes, the view, and what its
//! client is to be told. State alone: nothing here calls a store.

pub(crate) mod change;
pub(crate) mod doubt;
pub(crate) mod reading;
pub(crate) mod shared;
pub(crate) mod state;
