//! `cargo xtask prove`: every pair, then chance for some minutes; prints what was tried and what
//! was found.
#![allow(clippy::print_stdout, reason = "a command-line tool speaks to whoever runs it")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mocha_session_simulator::campaign::{Budget, pairs, random};
use mocha_session_simulator::check::check;
use mocha_session_simulator::explore::{Found, Tally, replay};
use mocha_session_simulator::pool::Pool;
use mocha_session_simulator::shrink::shortest;
use mocha_session_simulator::store::Flaw;
use mocha_session_simulator::text;

const HELP: &str = "\
prove [--minutes N] [--seed S] [--only pairs|random] [--faults 0|1]
    every pair of operations without faults and with one fault at every point, then schedules by
    chance for N minutes (one, if it is not said); with `--only pairs` more of each pair
prove replay CASE STEPS
    one schedule, with what was seen";

/// How many schedules of one pair are tried without faults: more than any has.
const WITHOUT_FAULTS: u64 = 200_000;
/// How many with one fault at every point, where there are more: before chance, and alone.
const WITH_ONE: [u64; 2] = [2_000, 20_000];

struct Options {
    minutes: f64,
    seed: u64,
    only: Option<String>,
    faults: u32,
}

fn options(args: &[String]) -> Option<Options> {
    let mut options = Options { minutes: 1.0, seed: 1, only: None, faults: 1 };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--minutes" => options.minutes = value.parse().ok()?,
            "--seed" => options.seed = value.parse().ok()?,
            "--only" => options.only = Some(value.clone()),
            "--faults" => options.faults = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, case, steps] = args.as_slice()
        && first == "replay"
    {
        return show(case, steps);
    }
    let Some(options) = options(&args) else {
        println!("{HELP}");
        return ExitCode::from(2);
    };
    let wants = |what: &str| options.only.as_deref().is_none_or(|only| only == what);
    let mut found = Vec::new();
    if wants("pairs") {
        let with_one = WITH_ONE[usize::from(options.only.is_some())];
        for (faults, limit) in (0..=options.faults).zip([WITHOUT_FAULTS, with_one]) {
            let started = Instant::now();
            let tally = pairs(Flaw::None, faults, limit);
            let what = if faults == 0 { "without faults" } else { "with one fault at every point" };
            report(&format!("every pair {what}"), &tally, started);
            found.extend(tally.found);
        }
    }
    if wants("random") {
        let started = Instant::now();
        let end = started + Duration::from_secs_f64(options.minutes * 60.0);
        let tally = random(Flaw::None, options.seed, Budget::Until(end));
        report(&format!("by chance, seed {}", options.seed), &tally, started);
        found.extend(tally.found);
    }
    print(found)
}

fn report(what: &str, tally: &Tally, started: Instant) {
    let took = started.elapsed();
    let each = u64::try_from(took.as_millis().max(1)).unwrap_or(u64::MAX);
    println!(
        "{what}: {} schedules in {:.1} s, {} a second, {} cases cut short, {} violations",
        tally.runs,
        took.as_secs_f64(),
        tally.runs * 1_000 / each,
        tally.unfinished,
        tally.found.len()
    );
}

/// Prints the shortest schedule of each kind of violation.
fn print(found: Vec<Found>) -> ExitCode {
    if found.is_empty() {
        println!("no violation");
        return ExitCode::SUCCESS;
    }
    let shortest = shortest(found, Flaw::None, &mut Pool::default());
    let mut rule = "";
    for found in &shortest {
        if found.violation.rule != rule {
            rule = found.violation.rule;
            println!("\n{rule}:");
        }
        println!(
            "  {} | {}\n      {}",
            found.case,
            text::written(&found.steps),
            found.violation.seen
        );
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
        let gone = if record.gone { ", gone" } else { "" };
        println!("{number} {} {:?}..{:?}{gone}", record.op, record.started, record.finished);
        println!("  {:?}", record.report);
    }
    for later in &history.later {
        println!("{} s later, listed {:?}", later.at, later.listed);
        for (at, seen) in later.seen.iter().enumerate() {
            println!("  cookie {at} of {:?}: {seen:?}", history.issued[at].by);
        }
    }
    let violations = check(&history);
    for violation in &violations {
        println!("{}: {}", violation.rule, violation.seen);
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
