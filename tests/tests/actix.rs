//! Every HTTP situation on every engine, under actix.

use mocha_session_tests::frameworks::Actix;
use mocha_session_tests::{on_each_store, on_engine};

macro_rules! under_actix {
    ($open:path) => {
        mocha_session_tests::http_cases!(super::Actix, $open);
    };
}

on_engine!(client_side, async { Some(Engine::by_url("").await) }, under_actix);
on_each_store!(under_actix);
