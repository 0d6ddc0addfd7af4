//! Records in a store, and the rules for writing them: unknown outcomes, turns, tombstones, and
//! owner indexes.
//!
//! Nothing in this folder depends on requests or responses. Session payloads are opaque here.

pub(crate) mod call;
pub(crate) mod ending;
pub(crate) mod owners;
pub(crate) mod queue;
pub(crate) mod vault;
pub(crate) mod written;
