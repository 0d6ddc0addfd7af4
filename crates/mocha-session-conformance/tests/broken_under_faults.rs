//! The faults prove themselves: every flaw of a client is found by name, and every case finds some
//! flaw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod remote;

use mocha_session_conformance::__private::fault_outcome;
use mocha_session_conformance::Outcome;
use remote::{Flaw, Remote, engine};

async fn outcome(flaw: Flaw, case: &str) -> Outcome {
    let open = move |address| std::future::ready(Remote::new(address, flaw));
    fault_outcome(case, || async { Some(engine().await) }, open).await
}

macro_rules! flaws {
    ($($test:ident: $flaw:ident is found by $($case:ident),+;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                $(
                    let found = outcome(Flaw::$flaw, stringify!($case)).await;
                    let name = stringify!($case);
                    assert!(found.is_failed(), "{name} does not find {:?}: {found:?}", Flaw::$flaw);
                )+
            }
        )*

        /// Every case that some flaw above fails.
        const CASES_THAT_FIND: &[&str] = &[$($(stringify!($case)),+),*];
    };
}

flaws! {
    outage_taken_for_absence: OutageIsAbsence is found by
        engine_down_is_an_error_and_works_again_when_it_is_back,
        lost_answer_of_a_read_is_no_absence;
    lost_answer_taken_for_nothing_done: LostAnswerIsUnavailable is found by
        lost_answer_of_an_update_is_said,
        lost_answer_of_a_create_is_said,
        lost_answer_of_a_delete_is_said;
    write_sent_twice: WritesAreSentTwice is found by
        lost_answer_of_an_update_is_said,
        lost_answer_of_a_create_is_said;
    unsent_write_said_to_be_ambiguous: UnsentIsAmbiguous is found by
        engine_down_is_an_error_and_works_again_when_it_is_back;
    read_that_fails_with_an_idle_connection: ReadsAreNotSentTwice is found by
        connections_cut_while_idle_cost_no_read;
    server_dialled_without_a_pause: DialsWithoutPause is found by
        engine_down_is_not_dialled_without_pause;
    failure_that_lasts: FailsForGood is found by
        engine_down_is_an_error_and_works_again_when_it_is_back;
    connection_that_outlives_a_cancelled_call: ConnectionOutlivesACancelledCall is found by
        hanging_engine_goes_on_with_the_right_answers,
        silent_connections_are_left;
}

#[test]
fn every_case_finds_a_flaw() {
    let idle: Vec<_> = mocha_session_conformance::fault_names()
        .filter(|case| !CASES_THAT_FIND.contains(case))
        .collect();
    assert_eq!(idle, [""; 0], "no flaw above shows that these cases can fail");
}

#[tokio::test]
async fn engine_that_is_not_there_is_skipped() {
    let open = |address| std::future::ready(Remote::new(address, Flaw::None));
    let case = "silent_connections_are_left";
    assert!(matches!(fault_outcome(case, || async { None }, open).await, Outcome::Skipped(_)));
}

// The right client passes every case.
mod right {
    use super::remote::{Flaw, Remote, engine};

    /// Each test has a runtime of its own, and the engine lives on it.
    async fn server() -> Option<String> {
        Some(engine().await)
    }

    async fn open(address: String) -> Remote {
        Remote::new(address, Flaw::None)
    }

    mocha_session_conformance::faults!(client, server, open);
}
