//! Bad input and bad days: a sentence and an exit code, never a back-trace.

use std::fs::OpenOptions;
use std::process::Output;

use mocha_session_conformance::engine_url;

use super::servers::Server;
use super::{command, json, run, sqlite, stderr};

/// Asserts that the command failed with one sentence and this exit code.
#[track_caller]
fn failed(output: &Output, code: i32, sentence: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "{text}");
    assert!(text.contains(sentence), "{text}");
    assert!(!text.contains("panicked") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_wrong_url_is_a_sentence_with_what_is_wrong() {
    for (url, sentence) in [
        ("mongodb://h", "`mongodb` is not known"),
        ("redis://app:hunter2@h:port/0", ""),
        ("postgres://app:hunter2@h/db?colour=red", "`colour`"),
        ("sqlite:///no/such/folder/s.db", "does not exist"),
        ("s3://", ""),
    ] {
        failed(&run(url, &["doctor", "--rounds", "1"]), 3, sentence);
    }
}

#[test]
fn a_login_that_is_refused_is_exit_code_5() {
    let Some(server) = Server::redis(&["--requirepass", "other"]) else { return };
    let url = format!("redis://:hunter2@127.0.0.1:{}/0", server.port);
    for arguments in [&["doctor"][..], &["count"], &["revoke", "alice"]] {
        failed(&run(&url, arguments), 5, "redis: open:");
    }
    let output = run(&url, &["count", "--json"]);
    assert!(!stderr(&output).contains("hunter2"));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["kind"], "denied");
}

#[test]
fn a_full_engine_is_exit_code_4() {
    let Some(server) = Server::redis(&["--save", "", "--maxmemory", "1mb"]) else { return };
    failed(&run(&server.redis_url(), &["doctor"]), 4, "has reached its `maxmemory`");
    let folder = tempfile::tempdir().unwrap();
    let from = sqlite(folder.path(), "s.db");
    failed(&run("", &["copy", &from, &server.redis_url()]), 4, "`maxmemory`");
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_exit_code_74() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command("memory:", &["man"]).stdout(full).output().unwrap();
    failed(&output, 74, "the output could not be written: No space left on device");
}

#[test]
fn a_copy_from_a_store_to_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite(folder.path(), "s.db");
    let again = format!("{url}?timeout=3s");
    failed(&run("", &["copy", &url, &again]), 3, "both URLs name the same store");
    assert_eq!(json(&run(&url, &["count", "--json"]))["sessions"], 0);
}

#[test]
fn a_copy_to_an_engine_that_is_down_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let from = sqlite(folder.path(), "s.db");
    let down = run("", &["copy", &from, "redis://app:hunter2@127.0.0.1:1/0"]);
    failed(&down, 4, "redis: open");
    if let Some(url) = engine_url("MOCHA_TEST_MEMCACHE_URL") {
        failed(&run("", &["copy", &url, &from]), 3, "cannot list");
        failed(&run(&url, &["count"]), 3, "cannot list");
    }
}
