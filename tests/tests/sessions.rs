//! Every promise on every engine that keeps sessions on a server.

use mocha_session_tests::on_each_store;

macro_rules! promises {
    ($open:path) => {
        mocha_session_tests::session_cases!($open);
    };
}

on_each_store!(promises);
