//! Building blocks for backends, the stores of engines behind a network: when to dial again, proof
//! that a connection is alive, deadlines, and a store over any object store's client.
//!
//! A store of your own needs none of them: the contract is [`store`](crate::store) alone.

mod dial;
pub mod objects;
mod pulse;
mod runtimes;
mod timeouts;

pub use crate::open::{CredentialSource, Credentials};
pub use dial::{Attempt, Dialer, Era, Role};
pub use pulse::{Call, Pulse};
pub use runtimes::PerRuntime;
pub use timeouts::Timeouts;
