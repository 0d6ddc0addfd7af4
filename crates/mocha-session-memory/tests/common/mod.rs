//! Words for this crate's tests.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use mocha_session_core::store::{Expiry, StorageKey};

/// Returns the result of a future's first poll, because this store never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the store waits"),
    }
}

/// A key as random as the core's, and the same for the same number.
pub(crate) fn key(number: u32) -> StorageKey {
    let mut random = fastrand::Rng::with_seed(u64::from(number));
    StorageKey::from_bytes(std::array::from_fn(|_| random.u8(..)))
}

pub(crate) fn hour() -> Expiry {
    within(Duration::from_secs(60 * 60))
}

pub(crate) fn within(ttl: Duration) -> Expiry {
    Expiry::after(ttl, SystemTime::now())
}
