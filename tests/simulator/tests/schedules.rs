//! What CI runs of the simulation: a fixed number of schedules, the same ones each time.
#![allow(clippy::print_stdout, reason = "tests: how many schedules ran")]

use mocha_session_simulator::campaign::{Budget, pairs, random};
use mocha_session_simulator::explore::Tally;
use mocha_session_simulator::shrink::shortest;
use mocha_session_simulator::store::Flaw;
use mocha_session_simulator::text::{steps, written};
use mocha_session_simulator::world::Pool;

fn silent(tally: Tally) {
    println!("{} schedules", tally.runs);
    let found = shortest(tally.found, Flaw::None, &mut Pool::default());
    let found: Vec<_> = found
        .iter()
        .map(|found| format!("{}: {} | {}", found.violation.rule, found.case, written(&found.steps)))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_pair_without_faults_keeps_the_promises() {
    silent(pairs(Flaw::None, 0, 60));
}

#[test]
fn every_pair_with_one_fault_keeps_the_promises() {
    silent(pairs(Flaw::None, 1, 12));
}

#[test]
fn more_requests_with_more_faults_keep_the_promises() {
    silent(random(Flaw::None, 1, Budget::Schedules(60_000)));
}

#[test]
fn a_schedule_is_read_as_it_is_written() {
    let text = "+1 +2 a b2 a! b$ a? b% a# b~ a. a, b^ a* =1 x2 t660 -1";
    assert_eq!(written(&steps(text).unwrap()), text);
    let case = "devices~660 npo+r+d a:write b:login@other/303 c:all b:show@two/304&";
    let read: mocha_session_simulator::ops::Case = case.parse().unwrap();
    assert_eq!(read.to_string(), case);
}
