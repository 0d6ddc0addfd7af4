//! Who decides: a script, chance, or every possibility in turn.

use crate::check::{Violation, check};
use crate::choices::{Choice, Faults, Scheduler};
use crate::history::History;
use crate::ops::Case;
use crate::pool::Pool;
use crate::store::Flaw;
use crate::text::{Act, Step};
use crate::world::run;

/// Everything random of a run comes from here: ids and pauses play no part in what a schedule is.
const SEED: u64 = 1;

/// Follows a script. What cannot be done is left out; what it does not say goes in order, one after
/// the other.
#[derive(Debug)]
pub struct Script<'s> {
    steps: std::slice::Iter<'s, Step>,
}

impl Scheduler for Script<'_> {
    fn choose(&mut self, choices: &[Choice], normal: usize) -> Option<usize> {
        for step in self.steps.by_ref() {
            if let Some(at) = choices.iter().position(|choice| choice.step == *step) {
                return Some(at);
            }
        }
        first(choices, normal)
    }

    fn faults(&self) -> Faults {
        Faults { any: true, split: true, jumps: true }
    }
}

fn first(choices: &[Choice], normal: usize) -> Option<usize> {
    let idle = |act| matches!(act, Act::Late | Act::Jump | Act::Execute);
    choices[..normal].iter().position(|choice| !idle(choice.step.act))
}

/// Runs a case by a script.
pub fn replay(case: &Case, flaw: Flaw, steps: &[Step], pool: &mut Pool) -> History {
    run(case, flaw, SEED, pool, &mut Script { steps: steps.iter() })
}

/// Chooses by chance.
#[derive(Debug)]
pub struct Chance {
    rng: fastrand::Rng,
    left: u32,
    rate: f32,
    faults: Faults,
    jumps: u32,
    /// Which process goes on unless something else is chosen; `None` for no preference.
    sticky: Option<f32>,
    last: Option<u32>,
}

impl Chance {
    /// Chance from a seed, with at most so many faults.
    pub fn new(seed: u64, most: u32, jumps: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let sticky = if rng.bool() { None } else { Some(0.5 + rng.f32() * 0.5) };
        let split = rng.u8(..4) == 0;
        let rate = 0.03 + rng.f32() * 0.17;
        Self {
            left: if most == 0 { 0 } else { rng.u32(1..=most) },
            rate,
            faults: Faults { any: most > 0, split, jumps },
            jumps: 2,
            sticky,
            last: None,
            rng,
        }
    }
}

impl Scheduler for Chance {
    fn choose(&mut self, choices: &[Choice], normal: usize) -> Option<usize> {
        if self.left > 0 && choices.len() > normal && self.rng.f32() < self.rate {
            self.left -= 1;
            return Some(self.rng.usize(normal..choices.len()));
        }
        if let (Some(keep), Some(last)) = (self.sticky, self.last)
            && self.rng.f32() < keep
        {
            let same = choices[..normal]
                .iter()
                .position(|choice| choice.step.who == last && matches!(choice.step.act, Act::Go));
            if same.is_some() {
                return same;
            }
        }
        let mut at = self.rng.usize(..normal);
        if choices[at].step.act == Act::Jump {
            if self.jumps == 0 || self.rng.u8(..3) > 0 {
                at = first(choices, normal)?;
            } else {
                self.jumps -= 1;
            }
        }
        self.last = Some(choices[at].step.who);
        Some(at)
    }

    fn faults(&self) -> Faults {
        self.faults
    }
}

/// One place where the schedule may fork.
#[derive(Debug)]
struct Fork {
    options: Vec<(Choice, bool)>,
    taken: usize,
    /// What need not be done here, for it was done first elsewhere with the same effect.
    sleep: Vec<Choice>,
}

/// Every schedule of a case, but for those that differ only in the order of what does not touch the
/// same.
#[derive(Debug)]
pub struct Every {
    forks: Vec<Fork>,
    depth: usize,
    most: u32,
    faults: u32,
    prefix: Vec<Step>,
    processes: Vec<u32>,
    concurrent: bool,
    cut: bool,
}

impl Every {
    /// Every schedule with at most so many faults: of requests that begin together, or one after
    /// the other.
    pub fn new(case: &Case, most: u32, concurrent: bool) -> Self {
        let ops = 1..=u32::try_from(case.ops.len()).unwrap_or_default();
        let prefix = if concurrent {
            ops.map(|who| Step { act: Act::Start, who, nth: 0 }).collect()
        } else {
            Vec::new()
        };
        let processes = case.ops.iter().map(|op| u32::from(op.process)).collect();
        Self {
            forks: Vec::new(),
            depth: 0,
            most,
            faults: 0,
            prefix,
            processes,
            concurrent,
            cut: false,
        }
    }

    fn process(&self, step: Step) -> u32 {
        match step.act {
            Act::Start | Act::Handle | Act::Respond | Act::Leave => {
                self.processes.get(step.who as usize - 1).copied().unwrap_or_default()
            }
            Act::Jump => u32::MAX,
            _ => step.who,
        }
    }

    fn independent(&self, one: &Choice, other: &Choice) -> bool {
        self.process(one.step) != self.process(other.step) && !one.touches.conflicts(other.touches)
    }

    /// Goes on to the next schedule; whether there is one.
    pub fn advance(&mut self) -> bool {
        self.depth = 0;
        self.faults = 0;
        self.cut = false;
        while let Some(mut fork) = self.forks.pop() {
            let done = fork.options[fork.taken].0;
            fork.sleep.push(done);
            let next = (fork.taken + 1..fork.options.len()).find(|at| {
                !fork.sleep.iter().any(|asleep| asleep.step == fork.options[*at].0.step)
            });
            if let Some(next) = next {
                fork.taken = next;
                self.forks.push(fork);
                return true;
            }
        }
        false
    }
}

impl Scheduler for Every {
    fn choose(&mut self, choices: &[Choice], normal: usize) -> Option<usize> {
        let mut steps = self.prefix.iter();
        if let Some(at) =
            steps.find_map(|step| choices[..normal].iter().position(|choice| choice.step == *step))
        {
            return Some(at);
        }
        // A response that is ready is delivered: chance tries other orders.
        let respond = choices[..normal].iter().position(|choice| choice.step.act == Act::Respond);
        if let Some(at) = respond {
            return Some(at);
        }
        if self.depth < self.forks.len() {
            let fork = &self.forks[self.depth];
            self.depth += 1;
            let (choice, fault) = fork.options[fork.taken];
            self.faults += u32::from(fault);
            return choices.iter().position(|known| known.step == choice.step);
        }
        let mut options: Vec<(Choice, bool)> = if self.concurrent {
            choices[..normal].iter().map(|choice| (*choice, false)).collect()
        } else {
            first(choices, normal).into_iter().map(|at| (choices[at], false)).collect()
        };
        if self.faults < self.most {
            options.extend(choices[normal..].iter().map(|choice| (*choice, true)));
        }
        let sleep = match self.forks.last() {
            Some(fork) => {
                let taken = fork.options[fork.taken].0;
                fork.sleep
                    .iter()
                    .filter(|asleep| self.independent(asleep, &taken))
                    .copied()
                    .collect()
            }
            None => Vec::new(),
        };
        let asleep =
            |choice: &Choice| sleep.iter().any(|asleep: &Choice| asleep.step == choice.step);
        let Some(taken) = options.iter().position(|(choice, _)| !asleep(choice)) else {
            // Everything that could be done here was done before.
            self.cut = true;
            return None;
        };
        self.faults += u32::from(options[taken].1);
        let step = options[taken].0.step;
        self.forks.push(Fork { options, taken, sleep });
        self.depth += 1;
        choices.iter().position(|choice| choice.step == step)
    }

    fn faults(&self) -> Faults {
        Faults { any: self.most > 0, split: false, jumps: false }
    }
}

/// A broken promise, and the schedule that broke it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The promise.
    pub violation: Violation,
    /// The case.
    pub case: Case,
    /// The schedule.
    pub steps: Vec<Step>,
}

/// What was tried, and what was found.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many schedules ran.
    pub runs: u64,
    /// How many cases were not tried to their end.
    pub unfinished: u64,
    /// The first schedule of each promise that was broken.
    pub found: Vec<Found>,
}

impl Tally {
    /// Checks a run.
    pub fn note(&mut self, history: &History) {
        self.runs += 1;
        for violation in check(history) {
            let known = self.found.iter().any(|found| {
                found.violation.rule == violation.rule
                    && found.case.setup == history.case.setup
                    && found.case.kinds() == history.case.kinds()
            });
            if !known {
                let (case, steps) = (history.case.clone(), history.trace.clone());
                self.found.push(Found { violation, case, steps });
            }
        }
    }

    /// Takes another tally in.
    pub fn join(&mut self, other: Self) {
        self.runs += other.runs;
        self.unfinished += other.unfinished;
        self.found.extend(other.found);
    }
}

/// Runs every schedule of a case.
pub fn every(case: &Case, flaw: Flaw, faults: u32, limit: u64, pool: &mut Pool, tally: &mut Tally) {
    for concurrent in [false, true] {
        let mut scheduler = Every::new(case, faults, concurrent);
        let mut runs = 0;
        loop {
            let history = run(case, flaw, SEED, pool, &mut scheduler);
            if !scheduler.cut {
                tally.note(&history);
            }
            runs += 1;
            if runs >= limit {
                tally.unfinished += 1;
                break;
            }
            if !scheduler.advance() {
                break;
            }
        }
    }
}

/// Runs a case once, by chance.
pub fn chance(
    case: &Case,
    flaw: Flaw,
    seed: u64,
    faults: u32,
    jumps: bool,
    pool: &mut Pool,
) -> History {
    run(case, flaw, SEED, pool, &mut Chance::new(seed, faults, jumps))
}
