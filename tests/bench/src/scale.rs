//! The growth of the cost: with the sessions in the store, the writers of one session, the bytes of
//! a value, and the values of a session.
//!
//! It calls the manager directly, without a framework, and prints one line of JSON per figure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mocha_session::core::Session;
use mocha_session::memory::MemoryStore;
use mocha_session::observe::{Event, Observer};
use mocha_session::{ManualClock, RequestInfo, Result, SessionManager, Storage};

use crate::{data, measure};

const HOT: usize = 64;

/// Prints all figures. `quick` omits the largest ones.
pub fn main(quick: bool) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let most = if quick { 100_000 } else { 1_000_000 };
        for sessions in [1_000, 100_000, 1_000_000].into_iter().filter(|it| *it <= most) {
            many_sessions(sessions).await;
        }
        for processes in [1, 2] {
            let duration = Duration::from_millis(if quick { 300 } else { 2_000 });
            one_hot_session(processes, duration).await;
        }
        for bytes in [100, 1 << 10, 10 << 10, 100 << 10, 1000 << 10] {
            let value = "x".repeat(bytes);
            let seed = |session: &Session| session.insert("value", &value);
            costs(seed, &format!("with a value of {bytes} bytes")).await;
        }
        for values in [1, 10, 50, 200] {
            let seed = |session: &Session| {
                (0..values).try_for_each(|at| session.insert(format!("value-{at:03}"), at))
            };
            costs(seed, &format!("with {values} more values")).await;
        }
    });
}

fn say(what: &str, unit: &str, value: f64) {
    println!("{}", serde_json::json!({ "what": what, "unit": unit, "value": value }));
}

/// A memory store without limits, and what its managers share.
struct Shared {
    store: Arc<MemoryStore>,
    clock: ManualClock,
    refused: Arc<Refused>,
}

/// Counts the writes that lost a race.
#[derive(Default)]
struct Refused(AtomicU32);

impl Observer for Refused {
    fn observe(&self, event: &Event<'_>) {
        if let Event::Conflicted { .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::builder().max_bytes(usize::MAX).clock(clock.clone()).build();
        Self { store: Arc::new(store), clock, refused: Arc::default() }
    }

    fn manager(&self) -> SessionManager {
        let builder = SessionManager::builder(Storage::from_arc(self.store.clone()));
        let builder = builder.clock(self.clock.clone()).observer(Arc::clone(&self.refused));
        builder.max_record_bytes(usize::MAX).build().expect("a manager")
    }
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
async fn micros(rounds: u32, mut call: impl AsyncFnMut()) -> f64 {
    let before = measure::cpu();
    for _ in 0..rounds {
        call().await;
    }
    measure::cpu().saturating_sub(before).as_secs_f64() * 1e6 / f64::from(rounds)
}

async fn many_sessions(sessions: u32) {
    let shared = Shared::new();
    let manager = shared.manager();
    let mut cookies = Vec::new();
    for _ in 0..sessions {
        cookies.push(manager.seed(fill).await.expect("a session"));
    }
    let any = || &cookies[fastrand::usize(..cookies.len())];
    micros(20_000, async || request(&manager, any(), read).await).await;
    let cost = micros(50_000, async || request(&manager, any(), read).await).await;
    say(&format!("one read among {sessions} sessions"), "µs", cost);
    shared.clock.advance(Duration::from_secs(100 * 24 * 3600));
    let cost = micros(1, async || {
        manager.sweep().await.expect("a sweep");
    });
    let cost = cost.await;
    assert!(shared.store.is_empty(), "a sweep leaves nothing that has expired");
    say(&format!("sweeping {sessions} expired sessions, each"), "µs", cost / f64::from(sessions));
}

/// Runs writers of one session, in one process or in two that share the store.
async fn one_hot_session(processes: usize, duration: Duration) {
    let shared = Shared::new();
    let managers: Vec<_> = (0..processes).map(|_| shared.manager()).collect();
    let cookie: Arc<str> = managers[0].seed(fill).await.expect("a session").into();
    let start = Instant::now();
    let write = |task: usize| {
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
    };
    let times = measure::all((0..HOT).map(write)).await;
    let shares = || times.iter().map(Vec::len);
    let (least, most) = (shares().min().unwrap_or(0), shares().max().unwrap_or(0));
    let commits = shares().sum::<usize>();
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
    let refused = f64::from(shared.refused.0.load(Ordering::Relaxed));
    for (what, unit, value) in [
        ("commits", "per s", many["per_second"]),
        ("writes refused, per commit", "", refused / commits as f64),
        ("commits of the unluckiest, of the luckiest's", "×", least as f64 / most as f64),
        ("p50", "µs", many["p50_ns"] / 1e3),
        ("p99", "µs", many["p99_ns"] / 1e3),
        ("worst", "µs", many["worst_ns"] / 1e3),
    ] {
        say(&format!("{of}: {what}"), unit, value);
    }
}

/// What a read and a write cost in a session that has more than the usual data.
async fn costs(more: impl Fn(&Session) -> Result<()> + Sync, with: &str) {
    let manager = Shared::new().manager();
    let seed = |session: &Session| fill(session).and_then(|()| more(session));
    let cookie = manager.seed(seed).await.expect("a session");
    for (what, handle) in [("read", read as fn(&Session)), ("write", count)] {
        micros(200, async || request(&manager, &cookie, handle).await).await;
        let cost = micros(2_000, async || request(&manager, &cookie, handle).await).await;
        say(&format!("one {what} {with}"), "µs", cost);
    }
}
