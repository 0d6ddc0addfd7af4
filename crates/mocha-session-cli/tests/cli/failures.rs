//! Bad input and bad days: a sentence and an exit code, never a back-trace.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use mocha_session_conformance::{engine_url, not_run};

use super::servers::Server;
use super::{command, json, manager, run, sqlite, stderr};

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

/// The command in a process that shares its user, but not the user's power over all files.
#[cfg(target_os = "linux")]
fn without_power_over_files(url: &str, arguments: &[&str]) -> Output {
    let plain = command(url, arguments);
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-dac_override,-dac_read_search").arg(plain.get_program());
    command.args(arguments).env("SESSION_URL", url).output().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_may_not_be_read_or_written_is_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite(folder.path(), "s.db");
    run(&url, &["count"]);
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let file = folder.path().join("s.db");
    set(&file, 0o000);
    failed(&without_power_over_files(&url, &["count"]), 4, "may the process read and write it");
    set(&file, 0o400);
    failed(&without_power_over_files(&url, &["doctor"]), 4, "read-only");
    set(folder.path(), 0o500);
    let other = sqlite(folder.path(), "other.db");
    failed(&without_power_over_files(&other, &["count"]), 4, "may the process read and write it");
    set(folder.path(), 0o700);
}

/// Runs a copy to a folder of one mebibyte that only it sees, and then counts what arrived there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_copy_to_a_full_disk_says_how_far_it_came_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let old = sqlite(folder.path(), "old.db");
    let manager = manager(&old).await;
    let count = 400;
    for n in 0..count {
        manager.seed(|session| session.insert("n", n)).await.unwrap();
    }
    let small = folder.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 99\n\
                  \"$2\" copy \"$3\" \"$4\"; code=$?\n\
                  \"$2\" count --json \"$4?create=false\"; exit $code";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(&small)
        .arg(command("", &[]).get_program())
        .args([&old, &sqlite(&small, "s.db")])
        .output()
        .unwrap();
    if output.status.code() == Some(99) || stderr(&output).starts_with("unshare:") {
        return not_run("a file system of the test's own cannot be mounted here");
    }
    failed(&output, 4, "error: sqlite: create: the disk or the memory is full");
    assert!(stderr(&output).contains("entries were moved before; run it again to go on"));
    let arrived = json(&output)["sessions"].as_u64().unwrap();
    let left = json(&run(&old, &["count", "--json"]));
    let left = left["sessions"].as_u64().unwrap() + left["moving"].as_u64().unwrap_or_default();
    assert!(arrived > 0 && left > 0 && arrived + left >= count, "{arrived} and {left}");
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
