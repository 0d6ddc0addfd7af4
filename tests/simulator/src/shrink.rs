//! From a schedule that breaks a promise to the shortest one that does.

use crate::check::check;
use crate::explore::{Found, replay};
use crate::ops::{Carrier, Case, From, Mode};
use crate::pool::Pool;
use crate::store::Flaw;
use crate::text::{Act, Step};

/// The shortest schedules of what was found: one for each promise and each set of operations.
pub fn shortest(found: Vec<Found>, flaw: Flaw, pool: &mut Pool) -> Vec<Found> {
    let mut shortest: Vec<Found> = Vec::new();
    for found in found {
        let small = shrink(&found, flaw, pool);
        let kinds =
            |found: &Found| (found.violation.rule, found.case.kinds(), found.case.migrates());
        match shortest.iter_mut().find(|known| kinds(known) == kinds(&small)) {
            Some(known) if known.steps.len() > small.steps.len() => *known = small,
            Some(_) => {}
            None => shortest.push(small),
        }
    }
    shortest.sort_by_key(|found| (found.violation.rule, found.case.ops.len(), found.steps.len()));
    shortest
}

/// Whether a case under a script breaks this promise.
fn breaks(case: &Case, flaw: Flaw, steps: &[Step], rule: &str, pool: &mut Pool) -> bool {
    let history = replay(case, flaw, steps, pool);
    check(&history).iter().any(|violation| violation.rule == rule)
}

/// The shortest schedule that breaks the same promise, as far as leaving things out leads to one.
pub fn shrink(found: &Found, flaw: Flaw, pool: &mut Pool) -> Found {
    let rule = found.violation.rule;
    let mut best = found.clone();
    if !breaks(&best.case, flaw, &best.steps, rule, pool) {
        return best;
    }
    loop {
        let before = (best.case.clone(), best.steps.clone());
        for case in simpler(&best.case) {
            if breaks(&case, flaw, &best.steps, rule, pool) {
                best.case = case;
            }
        }
        let mut number = best.case.ops.len();
        while number > 0 && best.case.ops.len() > 1 {
            let (case, steps) = without(&best.case, &best.steps, number);
            if breaks(&case, flaw, &steps, rule, pool) {
                (best.case, best.steps) = (case, steps);
            }
            number -= 1;
        }
        let mut size = best.steps.len().max(1);
        while size > 0 {
            let mut at = 0;
            while at < best.steps.len() {
                let mut steps = best.steps.clone();
                steps.drain(at..(at + size).min(steps.len()));
                if breaks(&best.case, flaw, &steps, rule, pool) {
                    best.steps = steps;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        if before == (best.case.clone(), best.steps.clone()) {
            break;
        }
    }
    let history = replay(&best.case, flaw, &best.steps, pool);
    if let Some(violation) = check(&history).into_iter().find(|violation| violation.rule == rule) {
        best.violation = violation;
    }
    best
}

/// Cases that are simpler in one respect.
fn simpler(case: &Case) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |change: &dyn Fn(&mut Case)| {
        let mut other = case.clone();
        change(&mut other);
        if other != *case {
            cases.push(other);
        }
    };
    add(&|case| case.age = 1);
    add(&|case| case.carrier = Carrier::Cookie);
    add(&|case| case.modes.iter_mut().for_each(|mode| *mode = Mode::Plain));
    for at in 0..case.modes.len() {
        add(&|case| case.modes[at] = Mode::Plain);
    }
    for at in (0..case.modes.len()).filter(|at| case.modes[*at] == Mode::Prepare) {
        add(&|case| case.modes[at] = Mode::New);
    }
    for at in 0..case.ops.len() {
        add(&|case| case.ops[at].status = 200);
        add(&|case| case.ops[at].slow = false);
        add(&|case| case.ops[at].from = From::Jar);
    }
    cases
}

/// The case and the script without one operation.
fn without(case: &Case, steps: &[Step], number: usize) -> (Case, Vec<Step>) {
    let mut case = case.clone();
    case.ops.remove(number - 1);
    let steps = steps.iter().filter_map(|step| {
        let of_op = matches!(step.act, Act::Start | Act::Handle | Act::Respond | Act::Leave);
        match (step.who as usize).cmp(&number) {
            std::cmp::Ordering::Equal if of_op => None,
            std::cmp::Ordering::Greater if of_op => Some(Step { who: step.who - 1, ..*step }),
            _ => Some(*step),
        }
    });
    let steps = steps.collect();
    (case, steps)
}
