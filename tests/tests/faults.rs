//! Every fault of a connection, on every engine that has one.

use mocha_session_tests::on_each_server;

macro_rules! faults {
    ($open:path) => {
        mocha_session_tests::fault_cases!($open);
    };
}

on_each_server!(faults);
