//! `copy` beside live traffic, killed and started again.
//!
//! `MOCHA_COPY_SESSIONS` sets how many sessions are moved, and prints the rates.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mocha_session::{Migrating, RequestInfo, Secrets, SessionManager, Storage};
use mocha_session_conformance::engine_url;
use tokio::task::JoinSet;

#[cfg(feature = "s3")]
use super::bucket::Bucket;
use super::{SECRET, command, json, run, sqlite, stderr};

pub(crate) const KILLED_AFTER: Duration = Duration::from_millis(400);
/// The time in which a visitor reads a page. If it is shorter, the visitors take the processor from
/// the copy.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(100);
/// The time that a call of S3 takes.
#[cfg(feature = "s3")]
const AS_FAR_AS_S3: Duration = Duration::from_millis(30);

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
pub(crate) async fn filled(manager: &SessionManager, count: usize) -> Vec<String> {
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
        tokio::time::sleep(BETWEEN_REQUESTS).await;
    }
    (cookie, confirmed)
}

async fn copy(old: &str, new: &str) -> Output {
    let (old, new) = (old.to_owned(), new.to_owned());
    let copying = move || run("", &["copy", &old, &new, "--json"]);
    tokio::task::spawn_blocking(copying).await.unwrap()
}

/// `live` is the number of visitors meanwhile. The first run is killed when `midway` is over.
async fn moves_beside_live_traffic(
    (old, new): (&str, &str),
    count: usize,
    live: usize,
    midway: impl Future<Output = ()>,
) {
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
    midway.await;
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
    let midway = tokio::time::sleep(KILLED_AFTER);
    moves_beside_live_traffic((&old, &redis), asked().unwrap_or(600), 12, midway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_redis_to_s3_nothing_is_lost_and_nobody_is_logged_out() {
    let Some(redis) = under_own_prefix("MOCHA_TEST_REDIS_URL", "b") else { return };
    let Some(s3) = under_own_prefix("MOCHA_TEST_S3_URL", "b") else { return };
    let midway = tokio::time::sleep(KILLED_AFTER);
    moves_beside_live_traffic((&redis, &s3), asked().unwrap_or(40), 3, midway).await;
}

#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_redis_to_a_bucket_as_far_away_as_s3_nothing_is_lost_and_nobody_is_logged_out() {
    let Some(redis) = under_own_prefix("MOCHA_TEST_REDIS_URL", "c") else { return };
    let (bucket, url) = Bucket::start(AS_FAR_AS_S3).await;
    let (count, live) = asked().map_or((100, 3), |count| (count, 6));
    let halfway = async {
        while bucket.len() < count / 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let midway = async {
        // Less than a case may take, unless more sessions are asked for.
        let within = Duration::from_secs(15).max(Duration::from_millis(50 * count as u64));
        let came = tokio::time::timeout(within, halfway).await;
        came.expect("half of the entries arrive in time");
        assert!(bucket.len() < count, "the first run is killed before its end");
    };
    moves_beside_live_traffic((&redis, &url), count, live, midway).await;
}

#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_costs_two_calls_of_the_new_engine_and_several_are_moved_at_the_same_time() {
    for (at_once, many) in [("1", false), ("16", true)] {
        let folder = tempfile::tempdir().unwrap();
        let old = sqlite(folder.path(), "old.db");
        let count = 30;
        filled(&manager(&old).await, count).await;
        let (bucket, url) = Bucket::start(AS_FAR_AS_S3).await;
        let arguments = ["copy", &old, &url, "--at-once", at_once].map(ToOwned::to_owned);
        let copying = move || run("", &arguments.each_ref().map(String::as_str));
        let copied = tokio::task::spawn_blocking(copying).await.unwrap();
        assert_eq!(copied.status.code(), Some(0), "{}", stderr(&copied));
        let (calls, most) = bucket.take_calls();
        assert_eq!(bucket.len(), count + 1, "with an owner's index");
        // Ten calls find out what the endpoint can do, and three whether both URLs are one store.
        assert_eq!(calls, 10 + 3 + 2 * bucket.len());
        assert!(if many { (2..=16).contains(&most) } else { most == 1 }, "{most} at once");
    }
}
