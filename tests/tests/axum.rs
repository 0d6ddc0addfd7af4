//! Every HTTP situation on every engine, under axum.

use mocha_session_tests::frameworks::Axum;
use mocha_session_tests::{on_each_store, on_engine};

macro_rules! under_axum {
    ($open:path) => {
        mocha_session_tests::http_cases!(super::Axum, $open);
    };
}

on_engine!(client_side, async { Some(Engine::by_url("").await) }, under_axum);
on_each_store!(under_axum);
