//! Schedules that broke a promise once: each stays as a test, named after what happened.
#![allow(clippy::unwrap_used, reason = "tests: the texts are right, and said here")]

use mocha_session_simulator::check::check;
use mocha_session_simulator::explore::replay;
use mocha_session_simulator::pool::Pool;
use mocha_session_simulator::store::Flaw;
use mocha_session_simulator::text::steps;

fn silent(case: &str, schedule: &str) {
    let (case, steps) = (case.parse().unwrap(), steps(schedule).unwrap());
    let violations = check(&replay(&case, Flaw::None, &steps, &mut Pool::default()));
    assert!(violations.is_empty(), "{violations:?}");
}

macro_rules! found {
    ($($name:ident $case:literal $steps:literal,)*) => { $(#[test] fn $name() { silent($case, $steps); })* };
}

found! {
    two_first_logins_of_one_user "empty oo a:login b:login" "+1 +2 b",
    a_login_beside_a_logout_keeps_a_handle_of_its_own "user oo a:login b:destroy" "+1 +2 a b b",
    a_login_beside_a_revocation_is_told "user oo a:login b:revoke" "+1 +2 b b",
    a_push_that_was_sent_before_a_login_logs_nobody_out "user oo a:login b:push" "+1 +2",
    two_logins_as_another_leave_nothing_behind "user np a:login-v b:login-v" "+1 +2 b b b b b b b b",
    a_logged_out_entry_is_not_listed "anon oo a:login b:bye" "+1 +2 b",
    a_message_pushed_after_ending_all_sessions_is_shown "user oo b:all-bye" "",
    a_token_is_taken_once_beside_a_logout "anon oo a:take a:destroy a:take" "+1 +2 +3",
    a_request_that_timed_out_commits_nothing "anon ooo a:modify/408" "",
    two_cookies_end_together "stale oo a:login@two" "",
    a_moved_migration_is_not_taken_for_nothing "user nn a:login b:forget" "+1 +2 a a a a a b b b b b a a a a b b",
    a_rotation_beside_a_revocation_in_a_migration "user nn a:rotate b:revoke" "+1 +2 b",
    an_update_while_a_secret_is_introduced "devices~4000 ooo+i c:update b:forget" "+1 c c +2",
    a_push_while_a_secret_is_introduced "rotated~660 ooo+i+d a:detach b:push" "+1 +2 b b",
    a_login_while_secrets_rotate "user~4000 ooo+r b:take c:login" "+1 +2 c c c",
    a_rotation_while_a_secret_is_introduced "devices~660 ooo+i a:label b:rotate" "+1 +2 b b b",
    a_revocation_whose_process_died_hides_nothing "rotated ooo a:revoke" "+1 a a a*",
    a_revocation_that_was_refused_hides_nothing "devices ooo b:others" "+1 b b b b!",
    a_login_beside_a_revocation_that_died_ends_the_old_id "rotated ooo c:login a:revoke" "+2 a a. a*",
    a_login_beside_a_revocation_that_was_refused "user ooo b:login b:all-bye" "+2 b b b b!",
    a_write_whose_session_was_refreshed_meanwhile "anon~40000 oo a:touch b:write&" "+1 a +2 b a a a a t3900",
    a_cookie_is_told_what_the_first_try_wrote "anon~40000 ooo a:update" "+1 a a~ a a^",
    a_cookie_is_not_signed_anew_on_the_side "user oo+i b:login b:detach" "+1 +2",
    showing_in_a_migration_consumes_once "devices~4000 nn b:show a:take" "+2 +1 b b b",
    a_write_in_a_migration_beside_a_touch "rotated~660 nnn c:write b:touch" "+2 +1 c c. c, c.",
    a_revocation_while_a_secret_is_introduced "user~4000 oo+i b:revoke a:update" "+2 +1 b",
    a_revocation_of_others_while_a_secret_is_introduced "stale oo+i a:others a:all" "+2 +1 a2 a2 a2.",
    a_copy_has_one_revision_however_it_is_learnt "anon nnn+i b:try-update b:update" "+1 +2 b b b2 b b b b b~ b b! b^",
    an_end_refused_once_beside_a_login "anon nn b:destroy a:login" "+1 b b +2 b$ b b",
    a_successor_that_a_mover_moves_during_the_rotation "user pn a:rotate b:move" "+1 +2 a a a b b b b a a a b b",
    a_successor_that_a_mover_moves_during_the_login "user pn a:login b:move" "+1 +2 a a a a a b b b b b b b b",
    a_repeated_write_that_is_refused_and_not_found_out_about "anon oo+d a:write" "+1 a a# a!",
    a_repeated_claim_that_is_refused_and_not_found_out_about "user nn+d b:claim" "+1 b b b# b!",
    a_resigned_cookie_beside_a_login_that_begins_afresh "anon ooo+r c:login b:rotate a:modify" "+2 +1 b b b -2 c +3 c c c c c",
    a_count_with_two_cookies_after_a_login_as_one "stale oo b:bye a:login@other a:count@two" "",
    a_rotation_with_two_cookies_beside_a_clear "stale oo a:login b:clear@other b:rotate@two" "+2 +1 +3",
    a_login_that_begins_afresh_leaves_no_key_under_the_old_handle "user oo+r b:touch a:login b:destroy" "+2 a. +1 +3 b. b2 b, b b2. b b2 b2 b2 b2 b2 b2",
    a_rotation_of_a_successor_that_a_login_knows_nothing_of "anon oo a:login a:rotate b:rotate" "+3 b b +1 b -3 a +2",
    what_the_turn_before_wrote_may_be_older_than_what_was_loaded "devices nn a:show a:claim b:push" "+2 a +1 a a +3 a b b b b a a2",
    a_claim_while_secrets_rotate "rotated~40000 ooo+r b:claim a:take-commit" "+1 b b b b b b b +2 a a a a a a b b b b",
    a_request_after_a_logout_that_had_to_delete_on_a_full_engine "user oo+r b:bye b:push" "+1 b b$ b b$ b b b b b b b +2",
    a_resigned_cookie_of_a_successor_beside_a_login_that_lost_to_it "anon oo+r a:login b:label a:rotate" "+3 a a +1 a2 a -3 +2",
}
