//! What CI runs of the simulation: a fixed number of schedules, the same ones each time.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests: how many schedules ran; texts said here"
)]

use mocha_session_simulator::campaign::{Budget, PAIRS, one, some_pairs};
use mocha_session_simulator::explore::Tally;
use mocha_session_simulator::pool::Pool;
use mocha_session_simulator::shrink::shortest;
use mocha_session_simulator::store::Flaw;
use mocha_session_simulator::text::{steps, written};

fn silent(tally: Tally) {
    println!("{} schedules", tally.runs);
    let found = shortest(tally.found, Flaw::None, &mut Pool::default());
    let found: Vec<_> = found
        .iter()
        .map(|found| {
            format!("{}: {} | {}", found.violation.rule, found.case, written(&found.steps))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// How many schedules of each pair CI tries, without faults and with one.
const OF_A_PAIR: u64 = 10;
/// How many schedules of more requests each of the tests by chance tries.
const BY_CHANCE: u64 = 4_000;

macro_rules! pairs {
    ($($name:ident $line:literal,)*) => {
        #[test]
        fn every_line_of_pairs_has_a_test() {
            assert_eq!(PAIRS.len(), [$($line,)*].len());
        }
        $(mod $name {
            #[test]
            fn one_half() { super::silent(super::some_pairs($line, 0, super::OF_A_PAIR)); }
            #[test]
            fn other_half() { super::silent(super::some_pairs($line, 1, super::OF_A_PAIR)); }
        })*
    };
}

pairs! {
    pairs_of_an_anonymous_session 0,
    pairs_of_a_user 1,
    pairs_of_two_devices 2,
    pairs_of_strangers 3,
    pairs_in_a_migration 4,
    pairs_while_a_migration_begins 5,
    pairs_while_a_migration_is_rolled_back 6,
    pairs_over_old_reads 7,
    pairs_of_two_devices_over_old_reads 8,
    pairs_of_a_client_with_a_token 9,
    pairs_of_a_client_with_a_cookie_and_a_token_beside_one_with_a_token 10,
    pairs_with_a_cookie_and_the_token_of_another_session 11,
}

fn by_chance(seed: u64) {
    let mut tally = Tally::default();
    one(Flaw::None, seed, Budget::Schedules(BY_CHANCE), &mut tally, &|_| false);
    silent(tally);
}

macro_rules! chance {
    ($($name:ident $seed:literal,)*) => { $(#[test] fn $name() { by_chance($seed); })* };
}

chance! {
    more_requests_from_seed_1 1,
    more_requests_from_seed_2 2,
    more_requests_from_seed_3 3,
    more_requests_from_seed_4 4,
    more_requests_from_seed_5 5,
    more_requests_from_seed_6 6,
}

#[test]
fn a_schedule_is_read_as_it_is_written() {
    let text = "+1 +2 a b2 a! b$ a? b% a# b~ a. a, b^ a* =1 x2 t660 -1";
    assert_eq!(written(&steps(text).unwrap()), text);
    let case = "devices~660 npo+r+b+d a:write b:login@other/303 c:all b:show@two/304&";
    let read: mocha_session_simulator::ops::Case = case.parse().unwrap();
    assert_eq!(read.to_string(), case);
}
