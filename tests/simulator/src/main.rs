//! `cargo xtask prove`: runs the simulation for some time, and prints what it found.
#![allow(clippy::print_stdout, reason = "a command-line tool speaks to whoever runs it")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mocha_session_simulator::explore::{Found, Tally, chance, every, replay};
use mocha_session_simulator::ops::{Mode, Setup};
use mocha_session_simulator::store::Flaw;
use mocha_session_simulator::world::Pool;
use mocha_session_simulator::{check, plan, shrink, text};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, case, steps] = args.as_slice()
        && first == "replay"
    {
        return show(case, steps);
    }
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<f64>().ok()
    };
    let minutes = value("--minutes").unwrap_or(1.0);
    let seed = value("--seed").map_or(1, |seed| seed as u64);
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1)).cloned();
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut found = Vec::new();
    if only.is_none() || only.as_deref() == Some("pairs") {
        let most = value("--faults").map_or(1, |most| most as u32);
        for faults in 0..=most {
            let started = Instant::now();
            let tally = pairs(faults, if faults == 0 { 20_000 } else { 3_000 });
            report(&format!("pairs, faults: {faults}"), &tally, started);
            found.extend(tally.found);
        }
    }
    if only.is_none() || only.as_deref() == Some("random") {
        let started = Instant::now();
        let tallies = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2).map(|thread| scope.spawn(move || random(seed, thread, end))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
        });
        let mut tally = Tally::default();
        tallies.into_iter().for_each(|other| tally.join(other));
        report(&format!("random from seed {seed}"), &tally, started);
        found.extend(tally.found);
    }
    print(found)
}

fn report(what: &str, tally: &Tally, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{what}: {} schedules in {seconds:.1} s, {:.0} a second, {} cases cut short, {} violations",
        tally.runs,
        tally.runs as f64 / seconds,
        tally.unfinished,
        tally.found.len()
    );
}

fn pairs(faults: u32, limit: u64) -> Tally {
    let plain = [Mode::Plain, Mode::Plain];
    let mut cases = Vec::new();
    for setup in [Setup::Anonymous, Setup::User, Setup::Devices, Setup::Empty] {
        cases.extend(plan::pairs(setup, &plain));
    }
    for modes in [[Mode::New, Mode::New], [Mode::Prepare, Mode::New], [Mode::New, Mode::Prepare]] {
        cases.extend(plan::pairs(Setup::User, &modes));
    }
    let tallies = std::thread::scope(|scope| {
        let cases = &cases;
        let work = move |thread: usize| {
            let (mut pool, mut tally) = (Pool::default(), Tally::default());
            for case in cases.iter().skip(thread).step_by(2) {
                every(case, Flaw::None, faults, limit, &mut pool, &mut tally);
            }
            tally
        };
        let threads: Vec<_> = (0..2).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    let mut tally = Tally::default();
    tallies.into_iter().for_each(|other| tally.join(other));
    tally
}

fn random(seed: u64, thread: u64, end: Instant) -> Tally {
    let (mut pool, mut tally) = (Pool::default(), Tally::default());
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(2) + thread);
    while Instant::now() < end {
        let migrating = rng.u8(..3) == 0;
        let (case, jumps) = plan::by_chance(&mut rng, migrating);
        let faults = [0, 0, 1, 3][rng.usize(..4)];
        for _ in 0..8 {
            let history = chance(&case, Flaw::None, rng.u64(..), faults, jumps, &mut pool);
            tally.note(&history);
        }
    }
    tally
}

/// Prints the shortest schedule of each kind of violation.
fn print(found: Vec<Found>) -> ExitCode {
    if found.is_empty() {
        println!("no violation");
        return ExitCode::SUCCESS;
    }
    let mut pool = Pool::default();
    let mut shortest: Vec<Found> = Vec::new();
    for found in found {
        let small = shrink::shrink(&found, Flaw::None, &mut pool);
        let kinds = |found: &Found| {
            let mut kinds: Vec<_> = found.case.ops.iter().map(|op| op.kind.text()).collect();
            kinds.sort_unstable();
            (found.violation.rule, kinds, found.case.migrates())
        };
        match shortest.iter_mut().find(|known| kinds(known) == kinds(&small)) {
            Some(known) if known.steps.len() > small.steps.len() => *known = small,
            Some(_) => {}
            None => shortest.push(small),
        }
    }
    shortest.sort_by_key(|found| (found.violation.rule, found.case.ops.len(), found.steps.len()));
    let mut rule = "";
    for found in &shortest {
        if found.violation.rule != rule {
            rule = found.violation.rule;
            println!("\n{rule}:");
        }
        println!("  {}\n    {} | {}", found.violation.seen, found.case, text::written(&found.steps));
    }
    println!("\n{} violations", shortest.len());
    ExitCode::FAILURE
}

/// Shows a run step by step.
fn show(case: &str, steps: &str) -> ExitCode {
    let (Ok(case), Ok(steps)) = (case.parse(), text::steps(steps)) else {
        println!("that is no case, or no schedule");
        return ExitCode::from(2);
    };
    let history = replay(&case, Flaw::None, &steps, &mut Pool::default());
    println!("{}", text::written(&history.trace));
    for (number, record) in (1..).zip(&history.records) {
        println!("{number} {}: {:?}", record.op, record.report);
        println!("  {:?}..{:?} gone {}", record.started, record.finished, record.gone);
    }
    for later in &history.later {
        println!("at {}: {:?}", later.at, later.listed);
        for (at, seen) in later.seen.iter().enumerate() {
            println!("  cookie {at} {:?}: {seen:?}", history.issued[at].by);
        }
    }
    for violation in check::check(&history) {
        println!("{}: {}", violation.rule, violation.seen);
    }
    ExitCode::SUCCESS
}
