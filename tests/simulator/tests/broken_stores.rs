//! Every way in which an engine can be broken is found within CI's budget.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "tests: a bug that nobody noticed, and how one was"
)]

use mocha_session_simulator::hunt::hunt;
use mocha_session_simulator::store::Flaw;
use mocha_session_simulator::text::written;

fn found(flaw: Flaw) {
    let found = hunt(flaw).unwrap_or_else(|| panic!("nobody noticed {flaw:?}"));
    println!("{flaw:?}: {}\n  {} | {}", found.violation.rule, found.case, written(&found.steps));
}

macro_rules! flaws {
    ($($name:ident $flaw:ident,)*) => { $(#[test] fn $name() { found(Flaw::$flaw); })* };
}

flaws! {
    update_creates UpdateCreates,
    update_ignores_the_revision UpdateIgnoresRevision,
    update_of_another_revision_is_acknowledged UpdateLies,
    an_acknowledged_update_is_lost UpdateLost,
    create_overwrites CreateOverwrites,
    a_stale_replica_is_read StaleReplica,
    a_revision_comes_again RevisionReused,
    writes_are_repeated_without_their_condition RepeatedWrites,
    a_lost_answer_is_called_a_refusal LostIsRefused,
    an_engine_that_is_down_says_absent RefusedIsAbsent,
    a_sweep_removes_what_was_refreshed SweepRemovesRefreshed,
    entries_expire_early ExpiresEarly,
}
