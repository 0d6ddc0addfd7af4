//! The list of the contract's cases. Each is an async function in one of these modules.

mod cancel;
mod conditions;
mod expiry;
mod handles;
mod races;
mod revisions;
mod scan;
mod sweep;
mod values;

use std::sync::Arc;

use mocha_session_core::BoxFuture;

use crate::subject::{Subject, Verdict};

/// A case: a requirement on a store, and the function that tests it.
pub(crate) struct Case<T> {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Arc<T>) -> BoxFuture<'static, Verdict>,
}

/// Passes the list of all cases to the macro `$then`, after `$context`.
#[doc(hidden)]
#[macro_export]
macro_rules! __with_cases {
    ($then:ident $context:tt) => {
        $crate::$then! { $context
            values::roundtrip_of_every_size
            values::roundtrip_of_every_byte
            values::load_of_an_unknown_key_is_none_and_creates_nothing
            values::keys_that_differ_in_one_bit_do_not_mix
            values::keys_that_look_alike_do_not_mix
            values::largest_value_is_taken
            values::oversized_value_is_refused_and_the_old_one_kept

            conditions::create_on_a_taken_key_is_refused_and_the_other_untouched
            conditions::create_after_delete_works
            conditions::update_with_the_right_revision_replaces
            conditions::update_with_a_stale_revision_is_refused
            conditions::update_of_an_unknown_key_is_refused_and_still_absent
            conditions::update_of_a_deleted_key_is_refused_and_still_absent
            conditions::delete_says_whether_something_was_there

            revisions::load_gives_the_revision_of_the_write
            revisions::update_with_the_same_bytes_changes_the_revision
            revisions::revisions_never_come_back
            revisions::stale_update_after_delete_and_create_of_the_same_bytes_is_refused

            races::one_of_many_creates_wins
            races::one_of_many_updates_wins
            races::compare_and_set_counters_add_up
            races::delete_during_updates_is_final
            races::acknowledged_writes_are_seen_at_once

            cancel::cancelled_writes_leave_old_or_new
            cancel::cancelled_creates_leave_nothing_or_all
            cancel::cancelled_calls_do_not_mix_answers

            expiry::entry_is_there_before_its_time
            expiry::entry_is_gone_after_its_time
            expiry::long_expiry_is_kept
            expiry::update_to_a_longer_expiry_lives_on
            expiry::update_to_a_shorter_expiry_goes
            expiry::update_does_not_revive_what_is_gone
            expiry::create_takes_the_place_of_what_is_gone

            sweep::sweep_removes_expired_and_keeps_live
            sweep::sweep_goes_by_the_given_time
            sweep::sweep_is_bounded_and_ends
            sweep::sweep_spares_what_was_refreshed_meanwhile

            scan::scan_finds_every_entry_across_pages
            scan::scan_while_writing_misses_nothing
            scan::scan_without_listing_is_unsupported

            handles::ping_answers
            handles::capabilities_are_constant
            handles::debug_shows_no_key_and_no_value
            handles::second_handle_sees_the_same_data
            handles::handles_opened_at_once_all_work
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __table {
    ({} $($group:ident::$case:ident)*) => {
        pub(crate) const CASES: &[Case<Subject>] = &[$(Case {
            name: stringify!($case),
            run: |subject| Box::pin(async move { $group::$case(&subject).await }),
        }),*];
    };
}

__with_cases! { __table {} }
