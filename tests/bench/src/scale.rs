//! The growth of the cost: with the sessions in the store, the writers of one session, the bytes of
//! a value, and the values of a session.
//!
//! It calls the manager directly, without a framework, and prints one line of JSON per figure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mocha_session::core::Session;
use mocha_session::memory::MemoryStore;
use mocha_session::store::{
    Capabilities, Expiry, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored,
    SweepReport, async_trait,
};
use mocha_session::{Clock, ManualClock, RequestInfo, Result, SessionManager, Storage};

use crate::data;
use crate::measure;

const HOT: usize = 64;

/// Prints all figures. `quick` omits the largest ones.
pub fn main(quick: bool) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        for sessions in [1_000, 100_000, 1_000_000] {
            if !quick || sessions < 1_000_000 {
                many_sessions(sessions).await;
            }
        }
        for processes in [1, 2] {
            one_hot_session(processes, Duration::from_millis(if quick { 300 } else { 2_000 }))
                .await;
        }
        for bytes in [100, 1 << 10, 10 << 10, 100 << 10, 1000 << 10] {
            one_value(bytes).await;
        }
        for values in [1, 10, 50, 200] {
            many_values(values).await;
        }
    });
}

fn say(what: &str, unit: &str, value: f64) {
    println!("{}", serde_json::json!({ "what": what, "unit": unit, "value": value }));
}

/// A memory store without limits that counts the updates that lost a race.
#[derive(Debug)]
struct Counting {
    store: MemoryStore,
    refused: AtomicU64,
}

impl Counting {
    fn new(clock: impl Clock) -> Arc<Self> {
        let store = MemoryStore::builder().max_bytes(usize::MAX).clock(clock).build();
        Arc::new(Self { store, refused: AtomicU64::new(0) })
    }
}

#[async_trait]
impl SessionStore for Counting {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        self.store.load(key).await
    }
    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        self.store.create(key, value, expiry).await
    }
    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let updated = self.store.update(key, value, expiry, expected).await?;
        self.refused.fetch_add(u64::from(updated.is_none()), Ordering::Relaxed);
        Ok(updated)
    }
    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        self.store.delete(key).await
    }
    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        self.store.sweep(now, cursor, limit).await
    }
    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        self.store.scan(cursor, limit).await
    }
    async fn ping(&self) -> Result<()> {
        self.store.ping().await
    }
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
}

fn manager(store: &Arc<Counting>, clock: &ManualClock) -> SessionManager {
    let store: Arc<dyn SessionStore> = store.clone();
    let builder = SessionManager::builder(Storage::from_arc(store)).clock(clock.clone());
    builder.max_record_bytes(usize::MAX).build().expect("a manager")
}

fn fill(session: &Session) -> Result<()> {
    session.insert(data::USER, data::USER_ID)?;
    session.insert(data::COUNTER, 0)?;
    session.insert(data::CART, data::cart())
}

/// Makes one request with this cookie.
async fn request(manager: &SessionManager, cookie: &str, handle: impl FnOnce(&Session)) {
    let lazy = manager.open(RequestInfo::new(cookie.to_owned()));
    handle(&lazy.load().await.expect("a session"));
    manager.finish(&lazy, 200).await.into_result().expect("a commit");
}

fn read(session: &Session) {
    assert_eq!(session.get::<u64>(data::USER).expect("a number"), Some(data::USER_ID));
}

fn count(session: &Session) {
    session.update(data::COUNTER, |count: Option<u64>| count.unwrap_or(0) + 1).expect("a number");
}

/// Returns the processor time of one of `rounds` calls, in microseconds.
async fn micros(rounds: u32, mut call: impl AsyncFnMut(u32)) -> f64 {
    let before = measure::cpu();
    for round in 0..rounds {
        call(round).await;
    }
    measure::cpu().saturating_sub(before).as_secs_f64() * 1e6 / f64::from(rounds)
}

async fn many_sessions(sessions: u32) {
    let clock = ManualClock::new();
    let store = Counting::new(clock.clone());
    let manager = manager(&store, &clock);
    let mut cookies = Vec::new();
    for _ in 0..sessions {
        cookies.push(manager.seed(fill).await.expect("a session"));
    }
    let some = |_| &cookies[fastrand::usize(..cookies.len())];
    micros(20_000, async |round| request(&manager, some(round), read).await).await;
    let cost = micros(50_000, async |round| request(&manager, some(round), read).await).await;
    say(&format!("one read among {sessions} sessions"), "µs", cost);
    clock.advance(Duration::from_secs(100 * 24 * 3600));
    let before = measure::cpu();
    let swept = manager.sweep().await.expect("a sweep");
    let cost = measure::cpu().saturating_sub(before).as_secs_f64() * 1e6;
    assert!(store.store.is_empty(), "{swept:?}");
    say(&format!("sweeping {sessions} expired sessions, each"), "µs", cost / f64::from(sessions));
}

/// Runs writers of one session, in one process or in two that share the store.
async fn one_hot_session(processes: usize, duration: Duration) {
    let clock = ManualClock::new();
    let store = Counting::new(clock.clone());
    let managers: Vec<_> = (0..processes).map(|_| manager(&store, &clock)).collect();
    let cookie: Arc<str> = managers[0].seed(fill).await.expect("a session").into();
    let start = Instant::now();
    let tasks: Vec<_> = (0..HOT)
        .map(|task| {
            let (manager, cookie) = (managers[task % processes].clone(), Arc::clone(&cookie));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while start.elapsed() < duration {
                    let start = Instant::now();
                    request(&manager, &cookie, count).await;
                    times.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
                    tokio::task::yield_now().await;
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.expect("a task"));
    }
    let shares = || times.iter().map(Vec::len);
    let (least, most) = (shares().min().unwrap_or(0), shares().max().unwrap_or(0));
    let commits: usize = shares().sum();
    let many = measure::summary(times, start.elapsed(), Duration::ZERO);
    request(&managers[0], &cookie, |session| {
        let counted = session.get::<u64>(data::COUNTER).expect("a number");
        assert_eq!(counted, Some(commits as u64), "no update is lost");
    })
    .await;
    let of = match processes {
        1 => "64 writers of one session".to_owned(),
        _ => format!("64 writers of one session in {processes} processes"),
    };
    say(&format!("{of}: commits"), "per s", many.per_second);
    say(&format!("{of}: writes refused, per commit"), "", refused(&store) / commits as f64);
    say(
        &format!("{of}: commits of the unluckiest, of the luckiest's"),
        "×",
        least as f64 / most as f64,
    );
    say(&format!("{of}: p50"), "µs", many.p50_ns as f64 / 1e3);
    say(&format!("{of}: p99"), "µs", many.p99_ns as f64 / 1e3);
    say(&format!("{of}: worst"), "µs", many.worst_ns as f64 / 1e3);
}

fn refused(store: &Counting) -> f64 {
    store.refused.load(Ordering::Relaxed) as f64
}

async fn one_value(bytes: usize) {
    let clock = ManualClock::new();
    let manager = manager(&Counting::new(clock.clone()), &clock);
    let value = "x".repeat(bytes);
    let seed = |session: &Session| {
        fill(session)?;
        session.insert("value", &value)
    };
    let cookie = manager.seed(seed).await.expect("a session");
    costs(&manager, &cookie, &format!("with a value of {bytes} bytes")).await;
}

async fn many_values(values: usize) {
    let clock = ManualClock::new();
    let manager = manager(&Counting::new(clock.clone()), &clock);
    let seed = |session: &Session| {
        fill(session)?;
        (0..values).try_for_each(|at| session.insert(format!("value-{at:03}"), at))
    };
    let cookie = manager.seed(seed).await.expect("a session");
    costs(&manager, &cookie, &format!("with {values} more values")).await;
}

async fn costs(manager: &SessionManager, cookie: &str, with: &str) {
    for (what, handle) in [("read", read as fn(&Session)), ("write", count)] {
        micros(200, async |_| request(manager, cookie, handle).await).await;
        let cost = micros(2_000, async |_| request(manager, cookie, handle).await).await;
        say(&format!("one {what} {with}"), "µs", cost);
    }
}
