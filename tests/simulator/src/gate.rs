//! Where every call of the store waits until the scheduler lets it be executed, and again until its
//! answer is delivered.

mod gated_store;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use bytes::Bytes;
use mocha_session_core::store::{Expiry, Revision, ScanPage, StorageKey, Stored, SweepReport};
use mocha_session_core::{Error, ErrorKind, Result};

pub use gated_store::GatedStore;

use crate::store::{Engine, Flaw};

/// A call that waits.
#[derive(Clone, Debug)]
pub enum Call {
    /// A read.
    Load(StorageKey),
    /// A conditional creation.
    Create(StorageKey, Bytes, Expiry),
    /// A conditional replacement.
    Update(StorageKey, Bytes, Expiry, Revision),
    /// A removal.
    Delete(StorageKey),
    /// A write without a condition: only a broken client library makes one.
    Put(StorageKey, Bytes, Expiry),
    /// A sweep of everything.
    Sweep(SystemTime),
    /// A listing of everything.
    Scan,
    /// Not a call: the handler of this operation goes on.
    Handler(u8),
}

/// What a call is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What a read found.
    Loaded(Option<Stored>),
    /// The revision of what was written.
    Written(Option<Revision>),
    /// Whether something was removed.
    Deleted(bool),
    /// What a sweep did.
    Swept(SweepReport),
    /// A page.
    Scanned(ScanPage),
    /// The handler goes on.
    Proceed,
}

/// A call at the gate.
#[derive(Debug)]
pub struct Parked {
    id: u64,
    /// Whose it is.
    pub process: u8,
    /// Which engine it is for.
    pub engine: u8,
    /// What it is.
    pub call: Call,
    /// Whether it was executed.
    pub executed: bool,
    /// Whether its caller is gone.
    pub orphan: bool,
    answer: Option<Result<Answer>>,
    delivered: bool,
    waker: Option<Waker>,
}

/// Everything that the calls of all processes share.
#[derive(Debug)]
pub struct Gates {
    /// The engines: one, or the old one and the new one.
    pub engines: Vec<Engine>,
    /// The calls that wait, in the order in which they came.
    pub parked: Vec<Parked>,
    /// Whether the client library repeats writes, and says so.
    pub repeats: bool,
    /// Which process wrote what, in order: the writes that were done.
    pub writes: Vec<(u8, StorageKey)>,
    /// Whether no call waits: while the setup is made.
    pub open: bool,
    /// Counts whatever happens.
    pub activity: u64,
    watch: Option<Waker>,
    next: u64,
}

/// A handle to the gates.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Gates>>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gates")
    }
}

impl Shared {
    /// Gates before these engines.
    pub fn new(engines: Vec<Engine>, repeats: bool) -> Self {
        Self(Arc::new(Mutex::new(Gates {
            engines,
            parked: Vec::new(),
            writes: Vec::new(),
            repeats,
            open: true,
            activity: 0,
            watch: None,
            next: 0,
        })))
    }

    /// The gates.
    pub fn lock(&self) -> MutexGuard<'_, Gates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something happened.
    pub fn stir(&self) {
        self.lock().stir();
    }

    /// A call of a process that waits here; at once where `process` is nobody's.
    pub fn call(&self, process: Option<u8>, engine: u8, call: Call) -> Waiting {
        Waiting { gates: self.clone(), process, engine, call: Some(call), id: 0 }
    }
}

impl Gates {
    fn stir(&mut self) {
        self.activity += 1;
        if let Some(waker) = self.watch.take() {
            waker.wake();
        }
    }

    /// Wakes this when something happens.
    pub fn watch(&mut self, waker: &Waker) {
        self.watch = Some(waker.clone());
    }

    /// Executes a call, now.
    pub fn perform(&mut self, engine: u8, call: &Call) -> Answer {
        let engine = &mut self.engines[usize::from(engine)];
        if engine.flaw() == Flaw::SweepRemovesRefreshed && !matches!(call, Call::Load(_)) {
            let answer = perform(engine, call);
            if !matches!(call, Call::Sweep(_)) {
                engine.sweep_goes_on();
            }
            return answer;
        }
        perform(engine, call)
    }

    /// Executes the call at this position.
    pub fn execute(&mut self, at: usize) {
        let (engine, call) = (self.parked[at].engine, self.parked[at].call.clone());
        let answer = self.perform(engine, &call);
        if let (Answer::Written(Some(_)), Some(key)) = (&answer, call.key()) {
            self.writes.push((self.parked[at].process, *key));
        }
        let parked = &mut self.parked[at];
        parked.executed = true;
        parked.answer = Some(Ok(answer));
    }

    /// What a broken client library does after it lost the answer of the call at this position:
    /// later it writes again.
    pub fn repeat_later(&mut self, at: usize) {
        let parked = &self.parked[at];
        let call = match &parked.call {
            Call::Create(key, value, expiry) | Call::Update(key, value, expiry, _) => {
                Call::Put(*key, value.clone(), *expiry)
            }
            _ => return,
        };
        let again = Parked {
            id: 0,
            process: parked.process,
            engine: parked.engine,
            call,
            executed: false,
            orphan: true,
            answer: None,
            delivered: false,
            waker: None,
        };
        self.parked.push(again);
    }

    /// How the engines are broken.
    pub fn flaw(&self) -> Flaw {
        self.engines.first().map_or(Flaw::None, Engine::flaw)
    }

    /// Replaces the answer of the call at this position.
    pub fn answer_instead(&mut self, at: usize, answer: Result<Answer>) {
        self.parked[at].answer = Some(answer);
    }

    /// Delivers the answer of the call at this position.
    pub fn deliver(&mut self, at: usize) {
        let parked = &mut self.parked[at];
        parked.delivered = true;
        if let Some(waker) = parked.waker.take() {
            waker.wake();
        }
    }
}

fn perform(engine: &mut Engine, call: &Call) -> Answer {
    match call {
        Call::Load(key) => Answer::Loaded(engine.load(key)),
        Call::Create(key, value, expiry) => Answer::Written(engine.create(key, value, *expiry)),
        Call::Update(key, value, expiry, expected) => {
            Answer::Written(engine.update(key, value, *expiry, expected))
        }
        Call::Delete(key) => Answer::Deleted(engine.delete(key)),
        Call::Put(key, value, expiry) => {
            engine.put(key, value, *expiry);
            Answer::Proceed
        }
        Call::Sweep(now) => Answer::Swept(engine.sweep(*now)),
        Call::Scan => Answer::Scanned(engine.scan()),
        Call::Handler(_) => Answer::Proceed,
    }
}

impl Call {
    /// The key it is about; `None` where it is about all of them.
    pub fn key(&self) -> Option<&StorageKey> {
        match self {
            Self::Load(key)
            | Self::Create(key, ..)
            | Self::Update(key, ..)
            | Self::Put(key, ..)
            | Self::Delete(key) => Some(key),
            Self::Sweep(_) | Self::Scan | Self::Handler(_) => None,
        }
    }

    /// Whether it may change something.
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Load(_) | Self::Scan | Self::Handler(_))
    }
}

/// A call on its way.
#[derive(Debug)]
pub struct Waiting {
    gates: Shared,
    process: Option<u8>,
    engine: u8,
    call: Option<Call>,
    id: u64,
}

impl Future for Waiting {
    type Output = Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Answer>> {
        let this = &mut *self;
        let mut gates = this.gates.lock();
        if let Some(call) = this.call.take() {
            let Some(process) = this.process.filter(|_| !gates.open) else {
                return Poll::Ready(Ok(gates.perform(this.engine, &call)));
            };
            gates.next += 1;
            this.id = gates.next;
            let parked = Parked {
                id: this.id,
                process,
                engine: this.engine,
                call,
                executed: false,
                orphan: false,
                answer: None,
                delivered: false,
                waker: Some(cx.waker().clone()),
            };
            gates.parked.push(parked);
            gates.stir();
            return Poll::Pending;
        }
        let Some(at) = gates.parked.iter().position(|parked| parked.id == this.id) else {
            return Poll::Ready(Err(Error::new(
                ErrorKind::Internal,
                "a call that was answered is asked again",
            )));
        };
        if gates.parked[at].delivered {
            let answer = gates.parked.remove(at).answer;
            this.id = 0;
            return Poll::Ready(answer.unwrap_or(Ok(Answer::Proceed)));
        }
        gates.parked[at].waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.id == 0 {
            return;
        }
        let mut gates = self.gates.lock();
        let Some(at) = gates.parked.iter().position(|parked| parked.id == self.id) else { return };
        let parked = &mut gates.parked[at];
        // A write that nobody waits for any more may still be done.
        if parked.call.writes() && !parked.executed && !parked.delivered {
            parked.orphan = true;
        } else {
            gates.parked.remove(at);
        }
        gates.stir();
    }
}
