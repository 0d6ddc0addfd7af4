//! The measurements: processor time in one task, latencies and throughput of many, and a marked
//! stretch for callgrind.

use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::runtime::{self, Runtime};
use tokio::sync::{Barrier, mpsc, oneshot};
use tokio::task::LocalSet;

use crate::visitor::{Client, Visitor, Workload};

/// The cost of one round in one task.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Single {
    pub requests: u64,
    /// The processor time of the whole process, including helper threads, per round of the
    /// workload.
    pub cpu_ns: f64,
    pub wall_ns: f64,
}

/// The results of many tasks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Many {
    pub requests: u64,
    pub per_second: f64,
    pub cpu_ns: f64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub worst_ns: u64,
}

/// Returns the processor time that this process has used.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The section that callgrind collects; see `--toggle-collect` in the driver. It is not generic, so
/// that it has only one name.
#[inline(never)]
pub fn callgrind_collects_this(run: &mut dyn FnMut()) {
    run();
    black_box(());
}

/// Runs a workload this many times, once to warm up and once for callgrind.
pub fn collect<C: Client>(
    runtime: &Runtime,
    visitor: &mut Visitor<C>,
    workload: Workload,
    requests: u64,
) {
    runtime.block_on(visitor.prepare(workload));
    rounds(runtime, visitor, workload, requests.max(50));
    callgrind_collects_this(&mut || rounds(runtime, visitor, workload, requests));
}

/// Runs a workload in one task for about this duration.
pub fn single<C: Client>(
    runtime: &Runtime,
    visitor: &mut Visitor<C>,
    workload: Workload,
    duration: Duration,
) -> Single {
    runtime.block_on(visitor.prepare(workload));
    let mut requests = 8;
    loop {
        let (cpu_before, start) = (cpu(), Instant::now());
        rounds(runtime, visitor, workload, requests);
        let (wall, cpu) = (start.elapsed(), cpu().saturating_sub(cpu_before));
        // The earlier rounds warm up and determine the number of rounds that fit.
        if wall >= duration * 3 / 4 {
            let per = |time: Duration| time.as_secs_f64() * 1e9 / requests as f64;
            return Single { requests, cpu_ns: per(cpu), wall_ns: per(wall) };
        }
        let factor = duration.as_secs_f64() / wall.as_secs_f64().max(1e-9);
        requests = (requests as f64 * factor.clamp(1.5, 20.0)).ceil() as u64;
    }
}

fn rounds<C: Client>(
    runtime: &Runtime,
    visitor: &mut Visitor<C>,
    workload: Workload,
    requests: u64,
) {
    runtime.block_on(async {
        for _ in 0..requests {
            visitor.step(workload).await;
        }
    });
}

/// Runs this many tasks on two threads, which send requests for this duration.
///
/// Each thread has its own runtime and clients, because an actix application cannot leave its
/// thread, and all subjects must run in the same way. Connections to an engine are driven by the
/// runtime that opened them, which is the caller's.
pub fn on_two_threads<C, O>(
    runtime: &Runtime,
    open: &O,
    workload: Workload,
    tasks: usize,
    duration: Duration,
) -> Many
where
    C: Client + 'static,
    O: AsyncFn() -> Box<dyn Fn() -> C> + Clone + Send + 'static,
{
    let stop = Arc::new(AtomicBool::new(false));
    let start = Arc::new(Barrier::new(THREADS + 1));
    // All calls here wait without blocking this thread, because it drives the connections.
    runtime.block_on(async {
        let (mut prepared, mut finished) = (Vec::new(), Vec::new());
        for (thread, jobs) in threads().iter().enumerate() {
            let (open, start, stop) = (open.clone(), Arc::clone(&start), Arc::clone(&stop));
            let (ready, is_ready) = oneshot::channel();
            let (done, times) = oneshot::channel();
            let tasks = (tasks + thread) / THREADS;
            let job = async move || {
                let client = open().await;
                let mut visitors = Vec::new();
                for _ in 0..tasks {
                    let mut visitor = Visitor::new(client());
                    visitor.prepare(workload).await;
                    visitors.push(visitor);
                }
                ready.send(()).expect("a caller that waits");
                start.wait().await;
                let spawn = |visitor| {
                    tokio::task::spawn_local(until_stopped(visitor, workload, Arc::clone(&stop)))
                };
                let running: Vec<_> = visitors.into_iter().map(spawn).collect();
                let mut times = Vec::new();
                for task in running {
                    times.push(task.await.expect("a task"));
                }
                done.send(times).expect("a caller that waits");
            };
            let job: Job = Box::new(move || Box::pin(job()));
            assert!(jobs.send(job).is_ok(), "a thread that lives");
            prepared.push(is_ready);
            finished.push(times);
        }
        for thread in prepared {
            thread.await.expect("a thread that lives");
        }
        start.wait().await;
        let (before, start) = (cpu(), Instant::now());
        tokio::time::sleep(duration).await;
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for thread in finished {
            times.extend(thread.await.expect("a thread that lives"));
        }
        summary(times, start.elapsed(), cpu().saturating_sub(before))
    })
}

const THREADS: usize = 2;

/// The work of a thread, in futures that need not be `Send`.
type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Returns the threads. They live as long as the process, because a connection that a pool opens on
/// one of them must not end with it.
fn threads() -> &'static [mpsc::UnboundedSender<Job>] {
    static STARTED: OnceLock<Vec<mpsc::UnboundedSender<Job>>> = OnceLock::new();
    let start = |_| {
        let (sender, mut jobs) = mpsc::unbounded_channel::<Job>();
        std::thread::spawn(move || {
            let runtime =
                runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            LocalSet::new().block_on(&runtime, async {
                while let Some(job) = jobs.recv().await {
                    job().await;
                }
            });
        });
        sender
    };
    STARTED.get_or_init(|| (0..THREADS).map(start).collect())
}

/// Runs one of many tasks: repeats rounds until it is stopped, and records the duration of each in
/// nanoseconds.
async fn until_stopped<C: Client>(
    mut visitor: Visitor<C>,
    workload: Workload,
    stop: Arc<AtomicBool>,
) -> Vec<u32> {
    let mut times = Vec::with_capacity(1 << 14);
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        visitor.step(workload).await;
        times.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
        // In-process engines never wait, so one task would otherwise occupy its thread.
        tokio::task::yield_now().await;
    }
    times
}

/// Summarises the times of all tasks.
pub fn summary(times: Vec<Vec<u32>>, wall: Duration, cpu: Duration) -> Many {
    let mut times = times.concat();
    times.sort_unstable();
    let requests = times.len() as u64;
    let at =
        |share: f64| times.get((times.len() as f64 * share) as usize).copied().map_or(0, u64::from);
    Many {
        requests,
        per_second: requests as f64 / wall.as_secs_f64(),
        cpu_ns: cpu.as_secs_f64() * 1e9 / requests.max(1) as f64,
        p50_ns: at(0.5),
        p99_ns: at(0.99),
        worst_ns: times.last().copied().map_or(0, u64::from),
    }
}
