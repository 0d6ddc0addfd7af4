//! One run: the processes, the browsers, and the loop that lets one thing happen at a time.
// tidy: long because one type drives a schedule from its first step to its last

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::choices::Scheduler;
use crate::client::{self, Client, Clock, Line, Report, Reporting, Request};
use crate::gate::{Answer, Call, Shared};
use crate::history::{History, Issue};
use crate::ops::{By, Carrier, Case, From, Keys, Mode, Op, Setup};
use crate::pool::Pool;
use crate::store::{Engine, Flaw};
use crate::text::{Act, Step};

/// No schedule is longer: one that is hangs.
const LONGEST: u32 = 4_000;
/// How long a process may do nothing, in seconds of its own time, before it hangs.
const HANGS: u64 = 600;

pub(crate) struct Process {
    pub(crate) runtime: Option<Runtime>,
    pub(crate) client: Client,
    pub(crate) tasks: Vec<(usize, JoinHandle<()>)>,
}

pub(crate) struct Running {
    pub(crate) op: Op,
    pub(crate) cookies: Vec<String>,
    pub(crate) report: Reporting,
    pub(crate) started: Option<u32>,
    pub(crate) finished: Option<u32>,
    pub(crate) finished_at: u64,
    pub(crate) responded: Option<u32>,
    pub(crate) gone: bool,
}

/// A cookie in a jar, and until when the browser keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Cookie {
    pub(crate) value: String,
    pub(crate) until: u64,
}

/// A run under way.
pub(crate) struct World<'p> {
    pub(crate) case: &'p Case,
    pub(crate) pool: &'p mut Pool,
    pub(crate) gates: Shared,
    pub(crate) clock: Clock,
    pub(crate) processes: Vec<Process>,
    pub(crate) outside: Option<Runtime>,
    pub(crate) ops: Vec<Running>,
    pub(crate) jars: [Option<Cookie>; 2],
    pub(crate) old: Option<String>,
    pub(crate) second: Option<String>,
    pub(crate) first_handle: Option<String>,
    pub(crate) issued: Vec<Issue>,
    pub(crate) step: u32,
    pub(crate) faults: u32,
    pub(crate) jumped: bool,
    pub(crate) hung: bool,
    pub(crate) reordered: bool,
    pub(crate) trace: Vec<Step>,
}

/// Runs a case under a scheduler, and says what was seen.
pub fn run(
    case: &Case,
    flaw: Flaw,
    seed: u64,
    pool: &mut Pool,
    scheduler: &mut dyn Scheduler,
) -> History {
    fastrand::seed(seed);
    let mut world = World::new(case, flaw, pool);
    world.set_up();
    world.go(scheduler);
    world.close()
}

impl<'p> World<'p> {
    fn new(case: &'p Case, flaw: Flaw, pool: &'p mut Pool) -> Self {
        let gates = Shared::new(vec![Engine::new(flaw), Engine::new(flaw)], case.repeats);
        let clock = client::clock();
        let processes = case.modes.iter().enumerate().map(|(number, mode)| Process {
            runtime: Some(pool.take()),
            client: client(
                &gates,
                Some(u8::try_from(number).unwrap_or(u8::MAX)),
                *mode,
                case.carrier,
                &secrets(case.keys, number),
                &clock,
            ),
            tasks: Vec::new(),
        });
        let processes = processes.collect();
        let outside = Some(pool.take());
        let ops = case.ops.iter().map(|op| Running {
            op: *op,
            cookies: Vec::new(),
            report: Arc::default(),
            started: None,
            finished: None,
            finished_at: 0,
            responded: None,
            gone: false,
        });
        Self {
            case,
            pool,
            gates,
            clock,
            processes,
            outside,
            ops: ops.collect(),
            jars: [None, None],
            old: None,
            second: None,
            first_handle: None,
            issued: Vec::new(),
            step: 0,
            faults: 0,
            jumped: false,
            hung: false,
            reordered: false,
            trace: Vec::new(),
        }
    }

    /// Runs what does not wait.
    pub(crate) fn outside<T>(&mut self, future: impl Future<Output = T>) -> T {
        let runtime = self.outside.get_or_insert_with(|| self.pool.take());
        runtime.block_on(future)
    }

    fn set_up(&mut self) {
        let older: &[_] = if self.case.keys == Keys::Rotating { &[OLDER] } else { &[] };
        let carrier = self.case.carrier;
        let client = client(&self.gates, None, Mode::Plain, carrier, older, &self.clock);
        let seed = |mark: &'static str, owner: Option<&'static str>| {
            let client = client.clone();
            async move { client.seed(mark, owner).await.unwrap_or_default() }
        };
        let setup = self.case.setup;
        let first = match setup {
            Setup::Empty => None,
            Setup::Anonymous => Some(self.outside(seed("S", None))),
            Setup::User | Setup::Devices | Setup::Rotated | Setup::Stale => {
                Some(self.outside(seed("S", Some("u"))))
            }
        };
        if let Some(first) = first {
            self.issue(&first, None);
            self.old = Some(first.clone());
            self.keep(0, &first, self.told(From::Jar));
            self.first_handle =
                self.outside(client.look(&[&first])).ok().and_then(|seen| seen.handle);
            if setup == Setup::Rotated
                && let Ok(Some(Line::Set(value, age))) = self.outside(client.rotate(&first))
            {
                self.issue(&value, None);
                self.keep(0, &value, age);
            }
        }
        if matches!(setup, Setup::Devices | Setup::Stale) {
            let second = self.outside(seed("T", Some("u")));
            self.issue(&second, None);
            self.keep(1, &second, self.told(From::Other));
            self.second = Some(second);
        }
        self.clock.advance(Duration::from_secs(self.case.age));
        let cookies: Vec<_> = self
            .old
            .iter()
            .chain(&self.second)
            .chain(self.jars[0].as_ref().map(|it| &it.value))
            .cloned()
            .collect();
        for process in self
            .processes
            .iter()
            .zip(&self.case.modes)
            .filter(|(_, mode)| **mode == Mode::Near)
            .map(|(it, _)| it)
        {
            for cookie in &cookies {
                if let Some(runtime) = &process.runtime {
                    // What it saw is of no interest, only that it has read it.
                    drop(runtime.block_on(process.client.look(&[cookie])));
                }
            }
        }
        self.gates.lock().open = false;
    }

    /// For how long a client keeps a session of the setup. A token has no deadline.
    fn told(&self, from: From) -> Option<u64> {
        (self.case.by(from) != By::Token).then_some(client::IDLE)
    }

    fn keep(&mut self, jar: usize, value: &str, age: Option<u64>) {
        let until = age.map_or(u64::MAX, |age| client::now(&self.clock) + age * 1_000);
        self.jars[jar] = Some(Cookie { value: value.to_owned(), until });
    }

    /// What a browser would send.
    fn kept(&self, jar: usize) -> Option<String> {
        let now = client::now(&self.clock);
        self.jars[jar]
            .as_ref()
            .filter(|cookie| cookie.until > now)
            .map(|cookie| cookie.value.clone())
    }

    fn issue(&mut self, value: &str, by: Option<usize>) {
        if !self.issued.iter().any(|issue| client::same(&issue.value, value)) {
            self.issued.push(Issue { value: value.to_owned(), by });
        }
    }

    fn go(&mut self, scheduler: &mut dyn Scheduler) {
        let faults = scheduler.faults();
        while self.step < LONGEST {
            let mut choices = self.normal(faults);
            let normal = choices.len();
            if faults.any {
                self.faulty(&mut choices);
            }
            if choices[..normal].iter().all(|choice| choice.step.act == Act::Late) {
                return;
            }
            let Some(at) = scheduler.choose(&choices, normal) else { return };
            if at >= normal {
                self.faults += 1;
            }
            let step = choices[at].step;
            self.trace.push(step);
            self.step += 1;
            self.take(step);
            if self.hung {
                return;
            }
        }
        self.hung = true;
    }

    fn take(&mut self, step: Step) {
        let number = step.who as usize;
        match step.act {
            Act::Start => self.start(number - 1),
            Act::Respond => self.respond(number - 1),
            Act::Leave => {
                self.ops[number - 1].gone = true;
                let process = usize::from(self.ops[number - 1].op.process);
                for (_, task) in
                    self.processes[process].tasks.iter().filter(|(op, _)| *op == number - 1)
                {
                    task.abort();
                }
                self.settle(process);
            }
            Act::Handle => {
                let mut gates = self.gates.lock();
                let at = gates.parked.iter().position(
                    |parked| matches!(parked.call, Call::Handler(op) if usize::from(op) == number - 1),
                );
                if let Some(at) = at {
                    gates.deliver(at);
                }
                drop(gates);
                self.settle(usize::from(self.ops[number - 1].op.process));
            }
            Act::Jump => self.jump(u64::from(step.who)),
            Act::Kill => {
                self.processes[number].runtime = None;
                self.processes[number].tasks.clear();
                for running in &mut self.ops {
                    if usize::from(running.op.process) == number && running.finished.is_none() {
                        running.gone = true;
                    }
                }
            }
            Act::Expire => {
                self.clock.advance(Duration::from_secs(client::DEADLINE));
                if let Some(runtime) = &self.processes[number].runtime {
                    runtime.block_on(tokio::time::advance(Duration::from_secs(client::DEADLINE)));
                }
                self.settle(number);
            }
            Act::Late => {
                let mut gates = self.gates.lock();
                if let Some(at) = nth(&gates.parked, step, true) {
                    gates.execute(at);
                    gates.parked.remove(at);
                }
            }
            act => {
                let mut gates = self.gates.lock();
                let Some(at) = nth(&gates.parked, step, false) else { return };
                if matches!(act, Act::Go | Act::Execute | Act::Lose | Act::Deny) {
                    gates.execute(at);
                }
                let flaw = gates.flaw();
                match act {
                    Act::Refuse
                        if flaw == Flaw::RefusedIsAbsent
                            && matches!(gates.parked[at].call, Call::Load(_)) =>
                    {
                        gates.answer_instead(at, Ok(Answer::Loaded(None)));
                    }
                    Act::Lose if flaw == Flaw::LostIsRefused => {
                        gates.answer_instead(at, Err(client::refused()));
                    }
                    Act::Lose if flaw == Flaw::RepeatedWrites => {
                        gates.repeat_later(at);
                        gates.answer_instead(at, Err(client::lost()));
                    }
                    Act::Full => gates.answer_instead(at, Err(client::full())),
                    Act::Refuse => gates.answer_instead(at, Err(client::refused())),
                    Act::Lose | Act::Miss => gates.answer_instead(at, Err(client::lost())),
                    Act::Deny => gates.answer_instead(at, Ok(Answer::Written(None))),
                    _ => {}
                }
                if act != Act::Execute {
                    gates.deliver(at);
                    drop(gates);
                    self.settle(number);
                }
            }
        }
        self.note();
    }

    fn start(&mut self, number: usize) {
        let op = self.ops[number].op;
        let cookies: Vec<String> = match op.from {
            From::Jar => self.kept(0).into_iter().collect(),
            From::Other => self.kept(1).into_iter().collect(),
            From::Old => self.old.iter().cloned().collect(),
            From::Nobody => Vec::new(),
            From::Two => self.kept(0).into_iter().chain(self.second.clone()).collect(),
        };
        let process = usize::from(op.process);
        let client = self.processes[process].client.clone();
        let request = Request {
            number: u8::try_from(number).unwrap_or(u8::MAX),
            op,
            sessions: cookies.clone(),
            by: self.case.by(op.from),
            first: self.first_handle.clone(),
            report: Arc::clone(&self.ops[number].report),
            gates: self.gates.clone(),
        };
        self.ops[number].cookies = cookies;
        self.ops[number].started = Some(self.step);
        let Some(runtime) = &self.processes[process].runtime else { return };
        let task = runtime.spawn(async move { client.serve(request).await });
        self.processes[process].tasks.push((number, task));
        self.settle(process);
    }

    fn respond(&mut self, number: usize) {
        // The network may deliver a response after one that was sent later.
        let sent = self.ops[number].finished;
        self.reordered |=
            self.ops.iter().any(|other| other.responded.is_some() && other.finished > sent);
        self.ops[number].responded = Some(self.step);
        let line = lock(&self.ops[number].report).line.clone();
        let jar = match self.ops[number].op.from {
            From::Jar | From::Two | From::Old => 0,
            From::Other => 1,
            From::Nobody if self.case.setup == Setup::Empty => 0,
            From::Nobody => return,
        };
        match line {
            Some(Line::Set(value, age)) => self.keep(jar, &value, age),
            Some(Line::Remove) => self.jars[jar] = None,
            None => {}
        }
    }

    /// Time passes for everybody. What was on its way is done by then, or never.
    fn jump(&mut self, seconds: u64) {
        self.jumped = true;
        let by = Duration::from_secs(seconds);
        self.gates.lock().parked.retain(|parked| !parked.orphan);
        self.clock.advance(by);
        for number in 0..self.processes.len() {
            if let Some(runtime) = &self.processes[number].runtime {
                runtime.block_on(tokio::time::advance(by));
            }
            self.settle(number);
        }
    }

    /// Lets a process do what it can do by itself: until it waits at a gate, or for nothing.
    fn settle(&mut self, number: usize) {
        let Some(runtime) = &self.processes[number].runtime else { return };
        let gates = &self.gates;
        let own = || {
            let gates = gates.lock();
            let own = gates.parked.iter();
            let mut own =
                own.filter(|parked| !parked.orphan && usize::from(parked.process) == number);
            let handlers = own.clone().any(|parked| matches!(parked.call, Call::Handler(_)));
            (own.any(|parked| !matches!(parked.call, Call::Handler(_))), handlers)
        };
        let hangs = runtime.block_on(async {
            loop {
                let before = gates.lock().activity;
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                if gates.lock().activity != before {
                    continue;
                }
                let (calls, handlers) = own();
                if calls || tokio::runtime::Handle::current().metrics().num_alive_tasks() == 0 {
                    return false;
                }
                // Somebody sleeps: the paused time goes on to when that one wakes. Pauses are
                // short, and who waits for a handler may wait for longer.
                let patience =
                    if handlers { Duration::from_secs(1) } else { Duration::from_secs(HANGS) };
                let mut dog = pin!(tokio::time::sleep(patience));
                let woken = poll_fn(|cx| {
                    let mut gates = gates.lock();
                    if gates.activity != before {
                        return Poll::Ready(true);
                    }
                    gates.watch(cx.waker());
                    drop(gates);
                    if tokio::runtime::Handle::current().metrics().num_alive_tasks() == 0 {
                        return Poll::Ready(true);
                    }
                    dog.as_mut().poll(cx).map(|()| false)
                });
                if !woken.await {
                    return !handlers
                        && tokio::runtime::Handle::current().metrics().num_alive_tasks() != 0;
                }
            }
        });
        self.hung |= hangs;
    }

    /// Notes which operations have ended.
    fn note(&mut self) {
        let now = client::now(&self.clock);
        for number in 0..self.ops.len() {
            let running = &mut self.ops[number];
            if running.finished.is_some() || running.gone || running.started.is_none() {
                continue;
            }
            let line = {
                let report = lock(&running.report);
                if report.outcome.is_none() {
                    continue;
                }
                report.line.clone()
            };
            running.finished = Some(self.step);
            running.finished_at = now;
            if let Some(Line::Set(value, _)) = line {
                self.issue(&value, Some(number));
            }
        }
    }

    /// Gives runtimes back in which nothing lives any more.
    pub(crate) fn reclaim(&mut self) {
        let used = self.processes.iter_mut().filter_map(|process| process.runtime.take());
        for runtime in used.chain(self.outside.take()).collect::<Vec<_>>() {
            if runtime.metrics().num_alive_tasks() == 0 {
                self.pool.runtimes.push(runtime);
            }
        }
    }
}

const OLDER: client::Secret = *b"the older secret of a simulation";
const NEWER: client::Secret = *b"the newer secret of a simulation";

/// The secrets of a process.
pub(crate) fn secrets(keys: Keys, process: usize) -> Vec<client::Secret> {
    match keys {
        Keys::None => Vec::new(),
        Keys::Introduced => vec![NEWER],
        Keys::Rotating if process.is_multiple_of(2) => vec![OLDER, NEWER],
        Keys::Rotating => vec![NEWER, OLDER],
    }
}

pub(crate) fn client(
    gates: &Shared,
    process: Option<u8>,
    mode: Mode,
    carrier: Carrier,
    secrets: &[client::Secret],
    clock: &Clock,
) -> Client {
    Client::new(gates, process, mode, carrier, secrets, clock)
        .unwrap_or_else(|error| unreachable!("the simulated settings are right: {error}"))
}

fn nth(parked: &[crate::gate::Parked], step: Step, orphan: bool) -> Option<usize> {
    let own = parked
        .iter()
        .enumerate()
        .filter(|(_, parked)| parked.orphan == orphan && u32::from(parked.process) == step.who);
    own.map(|(at, _)| at).nth(usize::from(step.nth))
}

pub(crate) fn lock(report: &Reporting) -> std::sync::MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}
