//! The target `tokens` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mocha_session_fuzz_targets::run("tokens", bytes));
