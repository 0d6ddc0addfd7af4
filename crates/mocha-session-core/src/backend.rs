//! Building blocks for backends that use a network: reconnecting, liveness of connections,
//! deadlines, credentials, and a store on top of an object store's client.
//!
//! They are optional: a custom store only has to implement the contract in [`store`](crate::store).

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
