//! Records in a store, and the rules under which they are written: unknown outcomes, turns, ends,
//! owners' indexes.
//!
//! Nothing here knows of a request or of a response; what a payload holds is opaque here.

pub(crate) mod call;
pub(crate) mod ending;
pub(crate) mod owners;
pub(crate) mod queue;
pub(crate) mod vault;
