//! Faults on request, and a count of calls.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reading an object.
    Read,
    /// Reading an object's metadata (`HEAD`, with an HMAC key).
    Look,
    /// Writing an object.
    Write,
    /// Deleting an object.
    Delete,
    /// Listing a bucket.
    List,
    /// Creating a bucket.
    CreateBucket,
    /// Asking for a bucket's rules or its access list.
    Examine,
}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Does nothing. The response has this HTTP status, or its equivalent in gRPC.
    Status(u16),
    /// Does the call, but only after this time.
    Late(Duration),
    /// Does nothing, and never responds.
    Hang,
    /// Does nothing, and cuts the connection.
    Cut,
    /// Does the call, and never responds.
    HangAfter,
    /// Does the call, and cuts the connection before the response.
    LostAnswer,
    /// Does the call, and responds with 412, as for a write whose answer was lost and which was
    /// then repeated on the way.
    MismatchAfter,
    /// Does nothing. Responds with 404 without the text that distinguishes a missing object from a
    /// missing bucket.
    BareNotFound,
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: HashMap<Operation, VecDeque<Fault>>,
    calls: HashMap<Operation, u64>,
}

impl Faults {
    pub(crate) fn inject(&self, operation: Operation, fault: Fault) {
        let mut inner = self.0.lock().expect("no panic under the lock");
        inner.waiting.entry(operation).or_default().push_back(fault);
    }

    pub(crate) fn calls(&self, operation: Operation) -> u64 {
        let inner = self.0.lock().expect("no panic under the lock");
        inner.calls.get(&operation).copied().unwrap_or_default()
    }

    /// Counts a call, and takes the fault that waits for it.
    pub(crate) fn arrive(&self, operation: Operation) -> Option<Fault> {
        let mut inner = self.0.lock().expect("no panic under the lock");
        *inner.calls.entry(operation).or_default() += 1;
        inner.waiting.get_mut(&operation)?.pop_front()
    }
}
