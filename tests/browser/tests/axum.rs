//! The example application `account` in a browser.

use mocha_session_browser::on_stage;
use mocha_session_conformance::engine_url;

on_stage! { "account", Some("memory:".to_owned()), Host, situations:
    the_host_cookie_is_kept_and_sent
    the_cookie_has_its_attributes
    a_form_redirects_to_a_page_that_shows_the_message
    a_reload_shows_the_message_no_second_time
    prefetch_and_prerender_eat_nothing
    two_tabs_are_one_session
    back_after_a_logout_shows_no_private_page
    the_form_of_another_site_is_refused
    the_remember_me_box_decides_whether_a_login_outlives_the_browser
    a_cookie_with_another_path_is_not_taken
}

on_stage! { "account", Some("memory:".to_owned()), Plain, situations:
    a_cookie_with_another_path_does_not_lock_the_user_out
}

mod memory {
    use super::*;
    on_stage! { "account", Some("memory:".to_owned()), Host, scenario: the_eight_pages }
}

mod sqlite {
    use super::*;
    on_stage! { "account", Some("sqlite:".to_owned()), Host, scenario: the_eight_pages }
}

mod redis {
    use super::*;
    on_stage! { "account", engine_url("MOCHA_TEST_REDIS_URL"), Host, scenario: the_eight_pages }
}
