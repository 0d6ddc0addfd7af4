//! What can be done next: calls that may be executed, requests that may begin, and faults.

use mocha_session_core::store::StorageKey;

use crate::gate::Call;
use crate::text::{Act, Step};
use crate::world::World;

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
    /// Which of the choices is taken. The first `normal` ones are no faults. `None` ends the run as
    /// it is.
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

impl World<'_> {
    /// What happens without faults.
    pub(crate) fn normal(&self, faults: Faults) -> Vec<Choice> {
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
        // A call that hangs is not left hanging for so long: time passes while handlers work and
        // between requests.
        let begun =
            self.ops.iter().any(|running| running.started.is_some() && running.finished.is_none());
        if faults.jumps && !waits && begun && !choices.is_empty() {
            for seconds in [61, 11 * 60, 65 * 60] {
                let step = Step { act: Act::Jump, who: seconds, nth: 0 };
                choices.push(Choice { step, touches: Touch::Everything });
            }
        }
        choices.extend(late);
        choices
    }

    /// What may go wrong.
    pub(crate) fn faulty(&self, choices: &mut Vec<Choice>) {
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
                choices.push(Choice {
                    step: Step { act, who: u32::from(parked.process), nth },
                    touches,
                });
            };
            fault(Act::Refuse, Touch::Nothing);
            fault(Act::Expire, Touch::Everything);
            if parked.call.writes() {
                if !matches!(parked.call, Call::Delete(_) | Call::Sweep(_)) {
                    fault(Act::Full, Touch::Nothing);
                }
                fault(Act::Lose, touches);
                fault(Act::Miss, Touch::Nothing);
                if self.case.repeats && !matches!(parked.call, Call::Delete(_) | Call::Sweep(_)) {
                    fault(Act::Deny, touches);
                }
            }
        }
        for (number, process) in (0_u32..).zip(&self.processes) {
            if process.runtime.is_some()
                && gates
                    .parked
                    .iter()
                    .any(|parked| !parked.orphan && u32::from(parked.process) == number)
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
}

fn touches(engine: u8, call: &Call) -> Touch {
    match call.key() {
        Some(key) => Touch::Entry(engine, *key, call.writes()),
        None => Touch::Everything,
    }
}
