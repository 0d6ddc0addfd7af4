//! The command as an operator runs it: output, exit codes, and nothing secret in either.
#![cfg(feature = "sqlite")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests; the rate of a copy is printed"
)]

#[cfg(feature = "s3")]
mod bucket;
mod copying;
mod doctor;
mod failures;
#[cfg(all(unix, feature = "s3"))]
mod interrupted;
mod secrets;
mod servers;

use std::path::Path;
use std::process::{Command, Output};

use mocha_session::{RequestInfo, Secrets, SessionManager};

const SECRET: &str = "for tests alone: gQ3kXz7RwVbN1mLp9sTjYd2HfUcAe5Ko";
const OTHER: &str = "of another application: Zt6LwQ8RbVxK2nHs4YpGd9MfJc1UeAq7";

fn run(url: &str, arguments: &[&str]) -> Output {
    command(url, arguments).output().unwrap()
}

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mocha-session"));
    command.args(arguments).env("SESSION_URL", url).env("SESSION_SECRET", SECRET);
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sqlite(folder: &Path, name: &str) -> String {
    format!("sqlite:///{}", folder.join(name).display())
}

async fn manager(url: &str) -> SessionManager {
    SessionManager::builder(mocha_session::open(url).await.unwrap())
        .secrets(Secrets::parse(SECRET).unwrap())
        .build()
        .unwrap()
}

#[test]
fn check_reads_a_url_without_connecting_and_hides_its_password() {
    let fine = run("redis://app:hunter2@db.example:6379/0", &["check"]);
    assert_eq!(fine.status.code(), Some(0), "{}", stderr(&fine));
    assert!(stdout(&fine).contains("db.example") && !stdout(&fine).contains("hunter2"));
    let wrong = run("redis://app:hunter2@db.example/0?colour=red", &["check"]);
    assert_eq!(wrong.status.code(), Some(3));
    assert!(stderr(&wrong).contains("`colour`") && !stderr(&wrong).contains("hunter2"));
    let cookie = run("", &["check", "--json"]);
    assert_eq!(json(&cookie)["storage"], "the client's cookie");
}

#[test]
fn an_engine_that_is_down_is_a_sentence_and_exit_code_4() {
    for command in [&["doctor"][..], &["count"], &["sweep"], &["sessions", "alice"], &["prove"]] {
        let down = run("redis://app:hunter2@127.0.0.1:1/0", command);
        assert_eq!(down.status.code(), Some(4), "{command:?}: {}", stderr(&down));
        let text = stderr(&down);
        assert!(text.starts_with("error: ") && text.lines().count() == 1, "{text}");
        assert!(!text.contains("hunter2") && !text.contains("panicked"), "{text}");
    }
    let down = run("redis://127.0.0.1:1/0", &["count", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&down.stderr).unwrap();
    assert_eq!(error["kind"], "unavailable");
}

#[test]
fn wrong_usage_is_exit_code_2_and_names_the_nearest_command() {
    let wrong = run("", &["cout"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("count"), "{}", stderr(&wrong));
    let no_store = run("", &["count"]);
    assert_eq!(no_store.status.code(), Some(3), "a cookie has no store to look into");
}

#[tokio::test]
async fn the_sessions_of_an_owner_are_listed_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite(folder.path(), "s.db");
    let manager = manager(&url).await;
    let cookie = manager
        .seed(|session| {
            session.login("alice")?;
            session.insert("pin", "payload-4711")?;
            session.set_label("phone")
        })
        .await
        .unwrap();
    manager.seed(|session| session.login("alice")).await.unwrap();
    let listed = json(&run(&url, &["sessions", "alice", "--json"]));
    let handles: Vec<_> = listed["sessions"].as_array().unwrap().clone();
    assert_eq!(handles.len(), 2);
    let text = stdout(&run(&url, &["sessions", "alice"]));
    let id = cookie.split_once('=').unwrap().1;
    assert!(text.contains("phone") && !text.contains("payload") && !text.contains(id), "{text}");
    let elsewhere = command(&url, &["sessions", "alice"]).env("SESSION_SECRET", OTHER).output();
    let elsewhere = elsewhere.unwrap();
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(stdout(&elsewhere).contains("another scope or SESSION_SECRET has another index"));
    let phone = handles.iter().find(|session| session["label"] == "phone").unwrap();
    let handle = phone["handle"].as_str().unwrap();
    let ended = run(&url, &["revoke", "alice", handle, "--json"]);
    assert_eq!(json(&ended)["ended"], 1);
    assert!(manager.open(RequestInfo::new(cookie)).load().await.unwrap().is_new());
    assert_eq!(json(&run(&url, &["revoke", "alice", "--json"]))["ended"], 1);
    assert_eq!(run(&url, &["sessions", "alice"]).status.code(), Some(1));
    let wrong = run(&url, &["revoke", "alice", "1; DROP TABLE"]);
    assert_eq!(wrong.status.code(), Some(3));
}

#[tokio::test]
async fn records_are_counted_by_kind_and_swept() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite(folder.path(), "s.db");
    let manager = manager(&url).await;
    for owner in ["alice", "bob"] {
        manager.seed(|session| session.login(owner)).await.unwrap();
    }
    manager.revoke_all("bob").await.unwrap();
    let counted = json(&run(&url, &["count", "--json"]));
    assert_eq!((&counted["sessions"], &counted["revoked"]), (&1.into(), &1.into()), "{counted}");
    assert_eq!(json(&run(&url, &["sweep", "--dry-run", "--json"]))["would_remove"], 0);
    assert_eq!(json(&run(&url, &["sweep", "--json"]))["removed"], 0);
}

#[tokio::test]
async fn a_copy_moves_every_session_and_logs_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (sqlite(folder.path(), "old.db"), sqlite(folder.path(), "new.db"));
    let before = manager(&old).await;
    let mut cookies = Vec::new();
    for n in 0..120 {
        let fill = |session: &mocha_session::core::Session| {
            session.insert("n", n)?;
            if n % 10 == 0 { session.login("alice") } else { Ok(()) }
        };
        cookies.push(before.seed(fill).await.unwrap());
    }
    let copied = run("", &["copy", &old, &new, "--page", "7", "--json"]);
    assert_eq!(copied.status.code(), Some(0), "{} {}", stdout(&copied), stderr(&copied));
    assert_eq!(stderr(&copied), "", "progress is for terminals");
    let copied = json(&copied);
    assert_eq!(copied["moved"], 121, "{copied}");
    assert_eq!(copied["left_in_the_old_engine"], 0);
    assert_eq!(copied["skipped"], serde_json::json!({}));
    let after = manager(&new).await;
    for (n, cookie) in cookies.into_iter().enumerate() {
        let session = after.open(RequestInfo::new(cookie)).load().await.unwrap();
        assert_eq!(session.get::<usize>("n").unwrap(), Some(n));
    }
    assert_eq!(after.sessions_of("alice").await.unwrap().len(), 12);
    // Nothing is left to do, and that is no failure.
    assert_eq!(run("", &["copy", &old, &new]).status.code(), Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_a_terminal_a_copy_shows_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (sqlite(folder.path(), "old.db"), sqlite(folder.path(), "new.db"));
    let before = manager(&old).await;
    for n in 0..50 {
        before.seed(|session| session.insert("n", n)).await.unwrap();
    }
    let typed = format!("{} copy {old} {new}", env!("CARGO_BIN_EXE_mocha-session"));
    let mut terminal = Command::new("script");
    let shown = terminal.args(["-qec", &typed, "/dev/null"]).env("TERM", "xterm").output().unwrap();
    assert!(stdout(&shown).contains("moving"), "{}", stdout(&shown));
    assert!(stdout(&shown).contains("left in the old engine   0"), "{}", stdout(&shown));
}

#[test]
fn doctor_measures_and_warns() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite(folder.path(), "s.db");
    let report = json(&run(&url, &["doctor", "--rounds", "5", "--json"]));
    assert_eq!(report["engine"], "sqlite");
    assert!(
        report["update"]["p50_us"].as_u64().unwrap()
            <= report["update"]["p99_us"].as_u64().unwrap()
    );
    assert_eq!(json(&run(&url, &["count", "--json"]))["sessions"], 0, "no probe is left");
    let memory = run("memory:", &["doctor", "--rounds", "1"]);
    assert_eq!(memory.status.code(), Some(1));
    assert!(stdout(&memory).contains("warning: sessions end with this process"));
}

#[test]
fn prove_runs_the_suite_under_a_prefix_of_its_own() {
    let proved = run("memory:", &["prove", "--json"]);
    assert_eq!(proved.status.code(), Some(0), "{}", stdout(&proved));
    assert!(json(&proved)["passed"].as_u64().unwrap() > 20);
    let own = run("sqlite://?prefix=a", &["prove"]);
    assert_eq!(own.status.code(), Some(3), "the URL's own prefix has the application's sessions");
}

#[test]
fn schema_completions_and_the_man_page_are_printed() {
    let schema = run("sqlite://?table=web_sessions", &["schema"]);
    assert!(stdout(&schema).contains("\"web_sessions\""), "{}", stderr(&schema));
    assert_eq!(run("memory:", &["schema"]).status.code(), Some(3));
    assert!(stdout(&run("", &["completions", "bash"])).contains("mocha-session"));
    assert!(stdout(&run("", &["man"])).contains(".TH mocha-session"));
}
