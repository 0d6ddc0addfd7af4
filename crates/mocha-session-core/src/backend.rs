//! Building blocks for backends that use a network: reconnecting, liveness of connections,
//! deadlines, pauses, credentials, and a store on top of an object store's client.
//!
//! They are optional: a custom store only has to implement the contract in [`store`](crate::store).

mod dial;
pub mod objects;
mod pause;
mod pulse;
mod runtimes;
mod timeouts;

use std::sync::Arc;

pub use crate::open::{CredentialSource, Credentials};
pub use dial::{Attempt, Dialer, Era, Role};
pub use pause::pause;
pub use pulse::{Call, Pulse};
pub use runtimes::PerRuntime;
pub use timeouts::Timeouts;

use crate::error::Result;
use crate::future::BoxFuture;
use crate::store::SessionStore;

/// Makes what a [`Driver`](crate::Driver) returns from the future that opens a store.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{BoxFuture, Driver, Result, StoreUrl, backend, store::SessionStore};
///
/// fn open<S: SessionStore>(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<S>>> {
///     Err(url.refuse("its server has no name yet"))
/// }
/// # mod mine { pub(crate) use mocha_session_core::backend::objects::ObjectStore as MyStore; }
/// # use mine::MyStore;
///
/// const DRIVER: Driver = Driver::new(&["mine"], |url| open::<MyStore>(url).map(backend::shared));
/// # assert!(DRIVER.answers("mine"));
/// ```
pub fn shared<S: SessionStore>(
    opening: BoxFuture<'static, Result<S>>,
) -> BoxFuture<'static, Result<Arc<dyn SessionStore>>> {
    Box::pin(async move { Ok(Arc::new(opening.await?) as Arc<dyn SessionStore>) })
}
