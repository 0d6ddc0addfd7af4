//! Every bug that can be planted in the core is found within CI's budget, and without one nothing
//! is.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "tests: a bug that nobody noticed, and how one was"
)]

use mocha_session_core::mutants::plant;
use mocha_session_simulator::hunt::hunt;
use mocha_session_simulator::store::Flaw;
use mocha_session_simulator::text::written;

fn found(bug: &'static str) {
    plant(bug);
    let found = hunt(Flaw::None);
    plant("");
    let found = found.unwrap_or_else(|| panic!("nobody noticed that {bug}"));
    println!("{bug}: {}\n  {} | {}", found.violation.rule, found.case, written(&found.steps));
}

macro_rules! bugs {
    ($($name:ident $bug:literal,)*) => { $(#[test] fn $name() { found($bug); })* };
}

bugs! {
    a_commit_revives_what_expired "a commit revives what expired",
    a_conflict_drops_the_changes "a conflict drops the changes",
    a_refresh_is_not_listed "a refresh is not listed",
    an_own_commit_is_not_recognised "an own commit is not recognised",
    a_take_is_not_compared "a take is not compared",
    showing_consumes_everything "showing consumes everything",
    a_claim_gets_what_it_asked_for "a claim gets what it asked for",
    what_is_dropped_is_dropped_in_silence "what is dropped is dropped in silence",
    the_old_id_stays "the old id stays",
    a_new_id_is_not_listed "a new id is not listed",
    a_lost_rotation_drops_its_entry "a lost rotation drops its entry",
    a_logout_does_not_follow "a logout does not follow",
    an_end_leaves_no_tombstone "an end leaves no tombstone",
    a_revocation_ends_the_newest_id_alone "a revocation ends the newest id alone",
    a_rotation_drops_the_key_it_comes_from "a rotation drops the key it comes from",
    a_redirect_shows "a redirect shows",
    a_response_that_timed_out_commits "a response that timed out commits",
    a_304_tells "a 304 tells",
    what_moved_is_unknown "what moved is unknown",
    a_move_does_not_freeze "a move does not freeze",
    a_write_over_an_old_read_overwrites "a write over an old read overwrites",
    a_token_is_answered_by_a_cookie "a token is answered by a cookie",
    a_token_never_ends "a token never ends",
    a_token_of_an_emptied_session_is_not_told_again "a token of an emptied session is not told again",
    a_token_wins_over_a_cookie "a token wins over a cookie",
}

#[test]
fn without_a_bug_nothing_is_found() {
    if let Some(found) = hunt(Flaw::None) {
        panic!("{:?}: {} | {}", found.violation, found.case, written(&found.steps));
    }
}
