//! `copy` beside live traffic: killed and started again, and interrupted.
//!
//! `MOCHA_COPY_SESSIONS` sets how many sessions are moved, and prints the rates.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mocha_session::{Migrating, RequestInfo, Secrets, SessionManager, Storage};
use mocha_session_conformance::engine_url;
use tokio::task::JoinSet;

use super::{SECRET, command, json, run, sqlite, stderr};

const KILLED_AFTER: Duration = Duration::from_millis(400);

fn asked() -> Option<usize> {
    std::env::var("MOCHA_COPY_SESSIONS").ok()?.parse().ok()
}

fn manager_on(storage: Storage) -> SessionManager {
    let secrets = Secrets::parse(SECRET).unwrap();
    SessionManager::builder(storage).secrets(secrets).build().unwrap()
}

async fn manager(url: &str) -> SessionManager {
    manager_on(mocha_session::open(url).await.unwrap())
}

/// The application as it runs while its engine is changed.
async fn moving(old: &str, new: &str) -> SessionManager {
    let open = async |url: &str| {
        let storage = mocha_session::open(url).await.unwrap();
        Arc::clone(storage.store().unwrap())
    };
    manager_on(Storage::from(Migrating::new(open(old).await, open(new).await)))
}

/// Sessions of many visitors and users: the cookie of each.
async fn filled(manager: &SessionManager, count: usize) -> Vec<String> {
    let mut making = JoinSet::new();
    for worker in 0..16 {
        let manager = manager.clone();
        making.spawn(async move {
            let mut cookies = Vec::new();
            for n in (worker..count).step_by(16) {
                let fill = |session: &mocha_session::core::Session| {
                    session.insert("n", 0)?;
                    if n % 50 == 0 { session.login(format!("user {}", n / 1_000)) } else { Ok(()) }
                };
                cookies.push((n, manager.seed(fill).await.unwrap()));
            }
            cookies
        });
    }
    let mut all: Vec<_> = making.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    all.into_iter().map(|(_, cookie)| cookie).collect()
}

/// A visitor who adds one at each request, and now and then gets another id. Returns the cookie, and
/// how often a response confirmed the addition.
async fn visitor(
    manager: SessionManager,
    mut cookie: String,
    stop: Arc<AtomicBool>,
) -> (String, u64) {
    let mut confirmed = 0;
    while !stop.load(Ordering::SeqCst) {
        let lazy = manager.open(RequestInfo::new(cookie.clone()));
        let session = lazy.load().await.unwrap();
        assert!(!session.is_new(), "logged out");
        session.update("n", |n: Option<u64>| n.unwrap_or_default() + 1).unwrap();
        if confirmed % 7 == 3 {
            session.rotate().unwrap();
        }
        let headers = manager.finish(&lazy, 200).await.into_result().unwrap();
        if let Some(line) = headers.set_cookie() {
            line.split(';').next().unwrap().clone_into(&mut cookie);
        }
        confirmed += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (cookie, confirmed)
}

async fn copy(old: &str, new: &str) -> Output {
    let (old, new) = (old.to_owned(), new.to_owned());
    let copying = move || run("", &["copy", &old, &new, "--json"]);
    tokio::task::spawn_blocking(copying).await.unwrap()
}

/// `live` is the number of visitors meanwhile.
async fn moves_beside_live_traffic(old: &str, new: &str, count: usize, live: usize) {
    let mut cookies = filled(&manager(old).await, count).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut visitors = JoinSet::new();
    for at in 0..live {
        // Users among them: each fiftieth has an owner.
        let at = at * 10;
        let visiting = visitor(moving(old, new).await, cookies[at].clone(), Arc::clone(&stop));
        visitors.spawn(async move { (at, visiting.await) });
    }
    let mut first = command("", &["copy", old, new]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    tokio::time::sleep(KILLED_AFTER).await;
    first.kill().unwrap();
    first.wait().unwrap();
    let begun = Instant::now();
    let copied = copy(old, new).await;
    assert_eq!(copied.status.code(), Some(0), "{} {}", json(&copied), stderr(&copied));
    stop.store(true, Ordering::SeqCst);
    let mut confirmed = vec![0; cookies.len()];
    for (at, (cookie, times)) in visitors.join_all().await {
        assert!(times > 0);
        (cookies[at], confirmed[at]) = (cookie, times);
    }
    if asked().is_some() {
        let seconds = begun.elapsed().as_secs_f64();
        println!("{count} sessions, copied in {seconds:.1} s beside traffic: {}", json(&copied));
    }
    // A third run moves the sessions that began in the old engine during the second.
    let again = copy(old, new).await;
    assert_eq!(json(&again)["left_in_the_old_engine"], 0, "{}", json(&again));
    let after = manager(new).await;
    let sample = (cookies.len() / 2_000).max(1);
    for (at, cookie) in cookies.iter().enumerate() {
        if at % sample == 0 || confirmed[at] > 0 {
            let session = after.open(RequestInfo::new(cookie.clone())).load().await.unwrap();
            let n: Option<u64> = session.get("n").unwrap();
            assert_eq!(n, Some(confirmed[at]), "session {at}");
        }
    }
    assert_eq!(json(&run(new, &["count", "--json"]))["sessions"], count);
    for user in 0..count.div_ceil(1_000).min(5) {
        let own = (0..count).filter(|n| n % 50 == 0 && n / 1_000 == user).count();
        let listed = after.sessions_of(&format!("user {user}")).await.unwrap();
        assert_eq!(listed.len(), own, "user {user}");
    }
}

/// An engine under a prefix of this test's own.
fn under_own_prefix(variable: &str, name: &str) -> Option<String> {
    let url = engine_url(variable)?;
    let mark = if url.contains('?') { '&' } else { '?' };
    Some(format!("{url}{mark}prefix=copy-{name}-{}-", std::process::id()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_sqlite_to_redis_nothing_is_lost_and_nobody_is_logged_out() {
    let Some(redis) = under_own_prefix("MOCHA_TEST_REDIS_URL", "a") else { return };
    let folder = tempfile::tempdir().unwrap();
    let old = sqlite(folder.path(), "old.db");
    moves_beside_live_traffic(&old, &redis, asked().unwrap_or(600), 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_redis_to_s3_nothing_is_lost_and_nobody_is_logged_out() {
    let Some(redis) = under_own_prefix("MOCHA_TEST_REDIS_URL", "b") else { return };
    let Some(s3) = under_own_prefix("MOCHA_TEST_S3_URL", "b") else { return };
    moves_beside_live_traffic(&redis, &s3, asked().unwrap_or(40), 3).await;
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_finishes_the_entry_in_hand_and_the_next_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (sqlite(folder.path(), "old.db"), sqlite(folder.path(), "new.db"));
    let count = 1_000;
    let cookies = filled(&manager(&old).await, count).await;
    let mut child = command("", &["copy", &old, &new, "--page", "5", "--at-once", "1", "--json"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    tokio::time::sleep(KILLED_AFTER).await;
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = output.await.unwrap();
    let report = json(&output);
    assert_eq!(output.status.code(), Some(6), "{report} {}", stderr(&output));
    assert_eq!(report["interrupted"], true);
    let counted = json(&run(&old, &["count", "--json"]));
    assert_eq!(counted.get("moving"), None, "no entry is half moved: {counted}");
    let finished = json(&copy(&old, &new).await);
    let moved = |report: &serde_json::Value| report["moved"].as_u64().unwrap_or_default();
    assert_eq!(moved(&report) + moved(&finished), 1_000 + 1, "with an owner's index");
    let after = manager(&new).await;
    for cookie in cookies.into_iter().step_by(20) {
        assert!(!after.open(RequestInfo::new(cookie)).load().await.unwrap().is_new());
    }
}
