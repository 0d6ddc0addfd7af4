//! The core under every schedule: what the README of this crate says.

mod aftermath;
pub mod campaign;
pub mod check;
pub mod choices;
pub mod client;
pub mod explore;
pub mod gate;
pub mod history;
pub mod hunt;
pub mod ops;
pub mod plan;
pub mod pool;
pub mod shrink;
pub mod store;
pub mod text;
pub mod world;
