//! The suite proves itself: every flaw is found by name, and every case finds some flaw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod flawed;

use flawed::{Flaw, Flawed};
use mocha_session_conformance::__private::outcome;

macro_rules! flaws {
    ($($test:ident: $flaw:ident is found by $($case:ident),+;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                $(is_found(Flaw::$flaw, stringify!($case)).await;)+
            }
        )*

        /// Every case that some flaw above fails.
        const CASES_THAT_FIND: &[&str] = &[$($(stringify!($case)),+),*];
    };
}

async fn is_found(flaw: Flaw, case: &str) {
    let store = Flawed::new(flaw);
    let found = outcome(case, opening(&store)).await;
    assert!(found.is_failed(), "{case} does not find {flaw:?}: {found:?}");
}

/// Returns the opener of this store's handles.
fn opening(
    store: &Flawed,
) -> impl Fn() -> std::future::Ready<Option<Flawed>> + Send + Sync + 'static {
    let store = store.clone();
    move || std::future::ready(Some(store.another_handle()))
}

flaws! {
    update_that_upserts: UpdateUpserts is found by
        update_of_an_unknown_key_is_refused_and_still_absent,
        update_of_a_deleted_key_is_refused_and_still_absent,
        update_does_not_revive_what_is_gone,
        delete_during_updates_is_final;
    update_that_checks_and_then_upserts: UpdateUpsertsLate is found by
        delete_during_updates_is_final;
    update_that_ignores_the_revision: UpdateIgnoresTheRevision is found by
        update_with_a_stale_revision_is_refused,
        update_with_the_same_bytes_changes_the_revision,
        stale_update_after_delete_and_create_of_the_same_bytes_is_refused,
        one_of_many_updates_wins,
        compare_and_set_counters_add_up,
        cancelled_calls_do_not_mix_answers;
    update_that_checks_and_then_writes: UpdateIsCheckedThenDone is found by
        one_of_many_updates_wins,
        compare_and_set_counters_add_up;
    update_that_keeps_the_revision_of_equal_bytes: UpdateKeepsTheRevisionOfEqualBytes is found by
        update_with_the_same_bytes_changes_the_revision,
        revisions_never_come_back;
    update_that_keeps_the_old_expiry: UpdateKeepsTheOldExpiry is found by
        update_to_a_longer_expiry_lives_on,
        update_to_a_shorter_expiry_goes;
    update_that_is_always_refused: UpdateIsRefusedAlways is found by
        update_with_the_right_revision_replaces,
        load_gives_the_revision_of_the_write;
    update_torn_by_cancelling: UpdateIsTornByCancelling is found by
        cancelled_writes_leave_old_or_new;
    create_that_overwrites: CreateOverwrites is found by
        create_on_a_taken_key_is_refused_and_the_other_untouched,
        one_of_many_creates_wins;
    create_that_checks_and_then_writes: CreateIsCheckedThenDone is found by
        one_of_many_creates_wins;
    create_torn_by_cancelling: CreateIsTornByCancelling is found by
        cancelled_creates_leave_nothing_or_all;
    create_that_is_refused_after_a_delete: CreateIsRefusedAfterDelete is found by
        create_after_delete_works;
    create_that_is_refused_after_expiry: CreateIsRefusedAfterExpiry is found by
        create_takes_the_place_of_what_is_gone;
    revisions_that_start_again: RevisionsStartAgain is found by
        revisions_never_come_back,
        stale_update_after_delete_and_create_of_the_same_bytes_is_refused,
        create_takes_the_place_of_what_is_gone;
    revisions_that_follow_the_content: RevisionsFollowTheContent is found by
        revisions_never_come_back,
        update_with_the_same_bytes_changes_the_revision;
    load_with_a_revision_of_its_own: RevisionOfLoadIsItsOwn is found by
        load_gives_the_revision_of_the_write;
    delete_that_forgets: DeleteForgets is found by
        delete_says_whether_something_was_there,
        create_after_delete_works,
        scan_finds_every_entry_across_pages;
    delete_that_always_says_yes: DeleteAlwaysSaysYes is found by
        delete_says_whether_something_was_there;
    load_that_never_says_none: LoadInventsAnEntry is found by
        load_of_an_unknown_key_is_none_and_creates_nothing;
    load_that_creates: LoadCreates is found by
        load_of_an_unknown_key_is_none_and_creates_nothing;
    load_from_a_replica: LoadLagsBehind is found by
        acknowledged_writes_are_seen_at_once;
    answers_that_mix_after_cancelling: AnswersMixAfterCancelling is found by
        cancelled_calls_do_not_mix_answers;
    expiry_that_is_dropped: ExpiryIsDropped is found by
        entry_is_gone_after_its_time,
        sweep_removes_expired_and_keeps_live,
        sweep_is_bounded_and_ends;
    expiry_that_is_early: ExpiryIsEarly is found by
        entry_is_there_before_its_time;
    expiry_over_thirty_days_taken_for_an_instant: ExpiryOverThirtyDaysIsAnInstant is found by
        long_expiry_is_kept;
    sweep_that_deletes_the_refreshed: SweepDeletesTheRefreshed is found by
        sweep_spares_what_was_refreshed_meanwhile;
    sweep_that_ignores_its_time: SweepIgnoresItsTime is found by
        sweep_goes_by_the_given_time,
        sweep_removes_expired_and_keeps_live;
    sweep_that_is_unbounded: SweepIsUnbounded is found by
        sweep_is_bounded_and_ends;
    scan_of_one_page: ScanShowsOnePage is found by
        scan_finds_every_entry_across_pages;
    scan_that_counts_positions: ScanCountsPositions is found by
        scan_while_writing_misses_nothing;
    scan_that_is_unsupported_yet_claimed: ScanIsUnsupportedYetClaimed is found by
        scan_finds_every_entry_across_pages;
    scan_that_works_yet_unclaimed: ScanWorksYetUnclaimed is found by
        scan_without_listing_is_unsupported;
    keys_that_are_truncated: KeysAreTruncated is found by
        keys_that_differ_in_one_bit_do_not_mix;
    keys_that_fold_case: KeysFoldCase is found by
        keys_that_look_alike_do_not_mix;
    keys_as_base64_that_fold_case: KeysFoldCaseInBase64 is found by
        keys_that_look_alike_do_not_mix;
    keys_that_are_lossy_text: KeysAreLossyText is found by
        keys_that_look_alike_do_not_mix;
    keys_that_end_at_nul: KeysEndAtNul is found by
        keys_that_look_alike_do_not_mix;
    keys_that_are_trimmed: KeysAreTrimmed is found by
        keys_that_look_alike_do_not_mix;
    values_that_end_at_nul: ValuesEndAtNul is found by
        roundtrip_of_every_byte;
    values_that_are_trimmed: ValuesAreTrimmed is found by
        roundtrip_of_every_byte;
    values_cut_at_65535: ValuesEndAt65535 is found by
        roundtrip_of_every_size;
    oversized_value_that_drops_the_old: OversizedDropsTheOld is found by
        oversized_value_is_refused_and_the_old_one_kept;
    largest_value_overstated: LargestValueIsOverstated is found by
        largest_value_is_taken;
    ping_that_panics: PingPanics is found by
        ping_answers;
    capabilities_that_change: CapabilitiesChange is found by
        capabilities_are_constant;
    debug_that_shows_all: DebugShowsAll is found by
        debug_shows_no_key_and_no_value;
    handles_apart_yet_durable: HandlesAreApartYetDurable is found by
        second_handle_sees_the_same_data;
    openings_that_break_each_other: OpeningsBreakEachOther is found by
        handles_opened_at_once_all_work;
}

#[test]
fn every_case_finds_a_flaw() {
    let idle: Vec<_> = mocha_session_conformance::case_names()
        .filter(|case| !CASES_THAT_FIND.contains(case))
        .collect();
    assert_eq!(idle, [""; 0], "no flaw above shows that these cases can fail");
}

/// A flaw spoils what it spoils: the store is not simply broken, so the case that found it found
/// that.
#[tokio::test(flavor = "multi_thread")]
async fn a_flaw_leaves_the_rest_right() {
    for (flaw, right) in [
        (Flaw::CreateIsCheckedThenDone, "create_on_a_taken_key_is_refused_and_the_other_untouched"),
        (Flaw::UpdateIsCheckedThenDone, "update_with_a_stale_revision_is_refused"),
        (Flaw::UpdateUpsertsLate, "update_of_a_deleted_key_is_refused_and_still_absent"),
        (Flaw::SweepDeletesTheRefreshed, "sweep_removes_expired_and_keeps_live"),
        (Flaw::RevisionsStartAgain, "update_with_a_stale_revision_is_refused"),
        (Flaw::KeysFoldCaseInBase64, "keys_that_differ_in_one_bit_do_not_mix"),
        (Flaw::ExpiryIsDropped, "roundtrip_of_every_size"),
        (Flaw::ScanCountsPositions, "scan_finds_every_entry_across_pages"),
    ] {
        let found = outcome(right, opening(&Flawed::new(flaw))).await;
        assert!(!found.is_failed(), "{right} fails on {flaw:?}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_and_an_error_are_told() {
    let store = std::sync::Arc::new(Flawed::new(Flaw::PingPanics));
    let found = outcome("ping_answers", opening(&store)).await;
    assert!(format!("{found:?}").contains("panicked: no connection"), "{found:?}");
    let found = outcome(
        "scan_finds_every_entry_across_pages",
        opening(&Flawed::new(Flaw::ScanIsUnsupportedYetClaimed)),
    );
    let found = found.await;
    assert!(format!("{found:?}").contains("Unsupported"), "{found:?}");
}

#[test]
fn a_store_that_is_not_there_is_skipped() {
    mocha_session_conformance::__private::prove("a::b", "ping_answers", || async {
        None::<Flawed>
    });
}
