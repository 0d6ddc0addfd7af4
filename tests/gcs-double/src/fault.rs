//! Faults on request, and a count of calls.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reading an object.
    Read,
    /// Asking for an object's metadata (`HEAD`, with an HMAC key).
    Look,
    /// Writing an object.
    Write,
    /// Deleting an object.
    Delete,
    /// Listing a bucket.
    List,
    /// Creating a bucket.
    CreateBucket,
}

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; the answer has this HTTP status, or what is like it in gRPC.
    Status(u16),
    /// It is done, but only after so long.
    Late(Duration),
    /// Nothing is done, and no answer ever comes.
    Hang,
    /// Nothing is done, and the connection is cut.
    Cut,
    /// It is done, and no answer ever comes.
    HangAfter,
    /// It is done, and the connection is cut before the answer.
    LostAnswer,
    /// It is done, and the answer is 412: what a repetition on the way makes of a write whose
    /// answer was lost.
    MismatchAfter,
    /// Nothing is done; 404 without the words by which a missing object is told from a missing
    /// bucket.
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
