//! One run: the processes, the browsers, and the loop that lets one thing happen at a time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use mocha_session_core::store::StorageKey;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::client::{self, Client, Clock, Line, Outcome, Report, Reporting, Request};
use crate::gate::{Answer, Call, Shared};
use crate::history::{History, Issue, Later, Record};
use crate::ops::{Case, From, Mode, Op, Setup};
use crate::store::{Engine, Flaw};
use crate::text::{Act, Step};

/// No schedule is longer: one that is hangs.
const LONGEST: u32 = 4_000;
/// How long a process may do nothing, in seconds of its own time, before it hangs.
const HANGS: u64 = 600;

/// What can be done next.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The step.
    pub step: Step,
    /// What it touches of what others touch.
    pub touches: Touch,
}

/// What a step touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Nothing that anybody else sees.
    Nothing,
    /// An entry of an engine, reading or writing it.
    Entry(u8, StorageKey, bool),
    /// A whole engine, or a browser.
    Everything,
}

impl Touch {
    /// Whether the order of two such steps matters.
    pub fn conflicts(self, other: Self) -> bool {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => false,
            (Self::Entry(engine, key, writes), Self::Entry(its, other, its_writes)) => {
                engine == its && key == other && (writes || its_writes)
            }
            _ => true,
        }
    }
}

/// Who decides what happens next.
pub trait Scheduler {
    /// Which of the choices is taken. The first `normal` ones are no faults. `None` ends the run as it is.
    fn choose(&mut self, choices: &[Choice], normal: usize) -> Option<usize>;
    /// Which faults may be chosen.
    fn faults(&self) -> Faults;
}

/// Which faults are offered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Those of the engine, the client and the process.
    pub any: bool,
    /// Execution apart from delivery.
    pub split: bool,
    /// Time that passes.
    pub jumps: bool,
}

/// Runtimes that are used again, one for each process and one for who looks from outside.
#[derive(Debug, Default)]
pub struct Pool {
    runtimes: Vec<Runtime>,
}

impl Pool {
    fn take(&mut self) -> Runtime {
        self.runtimes.pop().unwrap_or_else(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap_or_else(|error| unreachable!("a runtime without I/O needs nothing: {error}"))
        })
    }
}

struct Process {
    runtime: Option<Runtime>,
    client: Client,
    tasks: Vec<(usize, JoinHandle<()>)>,
}

struct Running {
    op: Op,
    cookies: Vec<String>,
    report: Reporting,
    started: Option<u32>,
    finished: Option<u32>,
    finished_at: u64,
    responded: Option<u32>,
    gone: bool,
}

/// A run under way.
struct World<'p> {
    case: &'p Case,
    pool: &'p mut Pool,
    gates: Shared,
    clock: Clock,
    processes: Vec<Process>,
    outside: Option<Runtime>,
    ops: Vec<Running>,
    jars: [Option<String>; 2],
    old: Option<String>,
    second: Option<String>,
    first_handle: Option<String>,
    issued: Vec<Issue>,
    step: u32,
    faults: u32,
    jumped: bool,
    hung: bool,
    reordered: bool,
    trace: Vec<Step>,
}

/// Runs a case under a scheduler, and says what was seen.
pub fn run(case: &Case, flaw: Flaw, seed: u64, pool: &mut Pool, scheduler: &mut dyn Scheduler) -> History {
    fastrand::seed(seed);
    let mut world = World::new(case, flaw, pool);
    world.set_up();
    world.go(scheduler);
    world.close()
}

impl<'p> World<'p> {
    fn new(case: &'p Case, flaw: Flaw, pool: &'p mut Pool) -> Self {
        let gates = Shared::new(vec![Engine::new(flaw), Engine::new(flaw)]);
        let clock = client::clock();
        let processes = case.modes.iter().enumerate().map(|(number, mode)| Process {
            runtime: Some(pool.take()),
            client: client(&gates, Some(u8::try_from(number).unwrap_or(u8::MAX)), *mode, &clock),
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
    fn outside<T>(&mut self, future: impl Future<Output = T>) -> T {
        let runtime = self.outside.get_or_insert_with(|| self.pool.take());
        runtime.block_on(future)
    }

    fn set_up(&mut self) {
        let client = client(&self.gates, None, Mode::Plain, &self.clock);
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
            self.jars[0] = Some(first.clone());
            self.first_handle = self.outside(client.look(&[&first])).ok().and_then(|seen| seen.handle);
            if setup == Setup::Rotated
                && let Ok(Some(Line::Set(value, _))) = self.outside(client.rotate(&first))
            {
                self.issue(&value, None);
                self.jars[0] = Some(value);
            }
        }
        if matches!(setup, Setup::Devices | Setup::Stale) {
            let second = self.outside(seed("T", Some("u")));
            self.issue(&second, None);
            self.jars[1] = Some(second.clone());
            self.second = Some(second);
        }
        self.clock.advance(Duration::from_secs(self.case.age));
    }

    fn issue(&mut self, value: &str, by: Option<usize>) {
        if !self.issued.iter().any(|issue| issue.value == value) {
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

    fn normal(&self, faults: Faults) -> Vec<Choice> {
        let mut choices = Vec::with_capacity(16);
        let mut late = Vec::new();
        let gates = self.gates.lock();
        let mut waits = false;
        let mut counts = [[0_u8; 8]; 2];
        for parked in &gates.parked {
            let count = &mut counts[usize::from(parked.orphan)][usize::from(parked.process)];
            let nth = *count;
            *count += 1;
            let touches = touches(parked.engine, &parked.call);
            let step = |act| Step { act, who: u32::from(parked.process), nth };
            if parked.orphan {
                late.push(Choice { step: step(Act::Late), touches });
                continue;
            }
            if let Call::Handler(number) = parked.call {
                let step = Step { act: Act::Handle, who: u32::from(number) + 1, nth: 0 };
                choices.push(Choice { step, touches: Touch::Nothing });
                continue;
            }
            waits = true;
            if parked.executed {
                choices.push(Choice { step: step(Act::Deliver), touches: Touch::Nothing });
            } else {
                choices.push(Choice { step: step(Act::Go), touches });
                if faults.split {
                    choices.push(Choice { step: step(Act::Execute), touches });
                }
            }
        }
        drop(gates);
        choices.sort_by_key(|choice| (choice.step.act == Act::Handle, choice.step.who));
        for (number, running) in (1_u32..).zip(&self.ops) {
            if running.finished.is_some() && running.responded.is_none() && !running.gone {
                let step = Step { act: Act::Respond, who: number, nth: 0 };
                choices.push(Choice { step, touches: Touch::Everything });
            }
        }
        for (number, running) in (1_u32..).zip(&self.ops) {
            let alive = self.processes[usize::from(running.op.process)].runtime.is_some();
            if running.started.is_none() && alive {
                let step = Step { act: Act::Start, who: number, nth: 0 };
                choices.push(Choice { step, touches: Touch::Everything });
            }
        }
        // A call that hangs is not left hanging for so long: time passes while handlers work and between requests.
        let begun = self.ops.iter().any(|running| running.started.is_some() && running.finished.is_none());
        if faults.jumps && !waits && begun && !choices.is_empty() {
            for seconds in [61, 11 * 60, 65 * 60] {
                let step = Step { act: Act::Jump, who: seconds, nth: 0 };
                choices.push(Choice { step, touches: Touch::Everything });
            }
        }
        choices.extend(late);
        choices
    }

    fn faulty(&self, choices: &mut Vec<Choice>) {
        let gates = self.gates.lock();
        let mut counts = [0_u8; 8];
        for parked in gates.parked.iter().filter(|parked| !parked.orphan) {
            let count = &mut counts[usize::from(parked.process)];
            let nth = *count;
            *count += 1;
            if matches!(parked.call, Call::Handler(_)) || parked.executed {
                continue;
            }
            let touches = touches(parked.engine, &parked.call);
            let mut fault = |act, touches| {
                choices.push(Choice { step: Step { act, who: u32::from(parked.process), nth }, touches });
            };
            fault(Act::Refuse, Touch::Nothing);
            fault(Act::Expire, Touch::Everything);
            if parked.call.writes() {
                fault(Act::Lose, touches);
                fault(Act::Miss, Touch::Nothing);
                if !matches!(parked.call, Call::Delete(_) | Call::Sweep(_)) {
                    fault(Act::Deny, touches);
                }
            }
        }
        for (number, process) in (0_u32..).zip(&self.processes) {
            if process.runtime.is_some()
                && gates.parked.iter().any(|parked| !parked.orphan && u32::from(parked.process) == number)
            {
                let step = Step { act: Act::Kill, who: number, nth: 0 };
                choices.push(Choice { step, touches: Touch::Nothing });
            }
        }
        for (number, running) in (1_u32..).zip(&self.ops) {
            if running.started.is_some() && running.finished.is_none() && !running.gone {
                let step = Step { act: Act::Leave, who: number, nth: 0 };
                choices.push(Choice { step, touches: Touch::Nothing });
            }
        }
    }

    fn take(&mut self, step: Step) {
        let number = step.who as usize;
        match step.act {
            Act::Start => self.start(number - 1),
            Act::Respond => self.respond(number - 1),
            Act::Leave => {
                self.ops[number - 1].gone = true;
                let process = usize::from(self.ops[number - 1].op.process);
                for (_, task) in self.processes[process].tasks.iter().filter(|(op, _)| *op == number - 1) {
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
                match act {
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
            From::Jar => self.jars[0].iter().cloned().collect(),
            From::Other => self.jars[1].iter().cloned().collect(),
            From::Old => self.old.iter().cloned().collect(),
            From::Nobody => Vec::new(),
            From::Two => self.jars[0].iter().chain(&self.second).cloned().collect(),
        };
        let process = usize::from(op.process);
        let client = self.processes[process].client.clone();
        let texts: Vec<&str> = cookies.iter().map(String::as_str).collect();
        let request = Request {
            number: u8::try_from(number).unwrap_or(u8::MAX),
            op,
            cookies: client.header(&texts),
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
            From::Jar | From::Two => 0,
            From::Other => 1,
            From::Old => return,
            From::Nobody if self.case.setup == Setup::Empty => 0,
            From::Nobody => return,
        };
        match line {
            Some(Line::Set(value, _)) => self.jars[jar] = Some(value),
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
            gates.parked.iter().any(|parked| !parked.orphan && usize::from(parked.process) == number)
        };
        let hangs = runtime.block_on(async {
            loop {
                let before = gates.lock().activity;
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                if gates.lock().activity != before {
                    continue;
                }
                if own() || tokio::runtime::Handle::current().metrics().num_alive_tasks() == 0 {
                    return false;
                }
                // Somebody sleeps: the paused time goes on to when that one wakes.
                let mut dog = pin!(tokio::time::sleep(Duration::from_secs(HANGS)));
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
                    return tokio::runtime::Handle::current().metrics().num_alive_tasks() != 0;
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

    /// What the browsers, the owners and the engines look like in the end, and later.
    fn close(mut self) -> History {
        self.gates.lock().parked.retain(|parked| !parked.orphan);
        let mut later = Vec::new();
        let values: Vec<String> = self.issued.iter().map(|issue| issue.value.clone()).collect();
        let mode = if self.case.migrates() { Mode::New } else { Mode::Plain };
        let clean = client(&self.gates, None, mode, &self.clock);
        let mut wait = |world: &mut Self, seconds: u64| {
            world.clock.advance(Duration::from_secs(seconds));
            if seconds > 0 {
                let now = mocha_session_core::Clock::now(&world.clock);
                world.gates.lock().engines.iter_mut().for_each(|engine| drop(engine.sweep(now)));
            }
            let seen = values.iter().map(|value| world.outside(clean.look(&[value])).map_err(|e| e.kind()));
            let seen = seen.collect();
            let listed = ["u", "v"].map(|owner| world.outside(clean.listed(owner)).map_err(|e| e.kind()));
            later.push(Later { at: seconds, now: client::now(&world.clock), seen, listed });
        };
        wait(&mut self, 0);
        let records = self.ops.iter().map(|running| Record {
            op: running.op,
            cookies: running.cookies.clone(),
            report: lock(&running.report).clone(),
            started: running.started,
            finished: running.finished,
            finished_at: running.finished_at,
            responded: running.responded,
            gone: running.gone,
        });
        let records: Vec<Record> = records.collect();
        // What nobody asked for twice is asked once more when tombstones and index margins have run out.
        let moves = self.case.ops.iter().any(|op| op.kind.moves() || op.kind.ends() || op.kind.revokes());
        if moves {
            wait(&mut self, 61);
            wait(&mut self, 11 * 60);
        }
        let mut revoked = Vec::new();
        if self.case.setup != Setup::Empty || moves {
            for owner in ["u", "v"] {
                if let Err(error) = self.outside(clean.revoke_all(owner)) {
                    revoked.push(error.kind());
                }
            }
        }
        wait(&mut self, 0);
        for value in &values {
            let _ = self.outside(clean.end(value));
        }
        self.clock.advance(Duration::from_secs(3 * 60 * 60));
        let now = mocha_session_core::Clock::now(&self.clock);
        let mut gates = self.gates.lock();
        gates.engines.iter_mut().for_each(|engine| drop(engine.sweep(now)));
        let left = gates.engines.iter().map(Engine::len).sum();
        drop(gates);
        let jars = self.jars.clone();
        self.reclaim();
        History {
            case: self.case.clone(),
            records,
            issued: std::mem::take(&mut self.issued),
            jars,
            first: self.old.take(),
            second: self.second.take(),
            first_handle: self.first_handle.take(),
            later,
            revoke_failed: revoked,
            left,
            faults: self.faults,
            jumped: self.jumped,
            reordered: self.reordered,
            hung: self.hung,
            trace: std::mem::take(&mut self.trace),
        }
    }

    /// Gives runtimes back in which nothing lives any more.
    fn reclaim(&mut self) {
        let used = self.processes.iter_mut().filter_map(|process| process.runtime.take());
        for runtime in used.chain(self.outside.take()).collect::<Vec<_>>() {
            if runtime.metrics().num_alive_tasks() == 0 {
                self.pool.runtimes.push(runtime);
            }
        }
    }
}

fn client(gates: &Shared, process: Option<u8>, mode: Mode, clock: &Clock) -> Client {
    Client::new(gates, process, mode, clock)
        .unwrap_or_else(|error| unreachable!("the simulated settings are right: {error}"))
}

fn touches(engine: u8, call: &Call) -> Touch {
    match call.key() {
        Some(key) => Touch::Entry(engine, *key, call.writes()),
        None => Touch::Everything,
    }
}

fn nth(parked: &[crate::gate::Parked], step: Step, orphan: bool) -> Option<usize> {
    let own = parked
        .iter()
        .enumerate()
        .filter(|(_, parked)| parked.orphan == orphan && u32::from(parked.process) == step.who);
    own.map(|(at, _)| at).nth(usize::from(step.nth))
}

fn lock(report: &Reporting) -> std::sync::MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an operation ended as it wanted to.
pub fn answered(report: &Report) -> bool {
    report.outcome == Some(Outcome::Answered)
}
