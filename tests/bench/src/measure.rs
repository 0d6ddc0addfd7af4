//! The measurements: processor time in one task, latencies and throughput of many, and a marked
//! stretch for callgrind.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio_util::task::LocalPoolHandle;

use crate::visitor::{Client, Subject, Visitor, Workload};
use crate::worker::Answer;

/// Returns the processor time that this process has used, including its helper threads.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The section that callgrind counts, by its name; see the driver. It is not generic, so that it
/// has only one name.
#[inline(never)]
pub fn callgrind_collects_this(run: &mut dyn FnMut()) {
    run();
    black_box(());
}

/// Runs a workload this many times in one task.
pub fn rounds<C: Client>(
    runtime: &Runtime,
    visitor: &mut Visitor<C>,
    workload: Workload,
    requests: u32,
) {
    runtime.block_on(async {
        visitor.prepare(workload).await;
        for _ in 0..requests {
            visitor.step(workload).await;
        }
    });
}

/// Runs a workload in one task for about this duration. Returns the cost of one round.
pub fn single<C: Client>(
    runtime: &Runtime,
    visitor: &mut Visitor<C>,
    workload: Workload,
    duration: Duration,
) -> Answer {
    let mut requests = 8;
    loop {
        runtime.block_on(visitor.prepare(workload));
        let (cpu_before, start) = (cpu(), Instant::now());
        rounds(runtime, visitor, workload, requests);
        let (wall, cpu) = (start.elapsed(), cpu().saturating_sub(cpu_before));
        // The earlier rounds warm up and determine the number of rounds that fit.
        if wall >= duration * 3 / 4 {
            let per = |time: Duration| time.as_secs_f64() * 1e9 / f64::from(requests);
            return figures([("cpu_ns", per(cpu)), ("wall_ns", per(wall))]);
        }
        let factor = duration.as_secs_f64() / wall.as_secs_f64().max(1e-9);
        requests = (f64::from(requests) * factor.clamp(1.5, 20.0)).ceil() as u32;
    }
}

fn figures<const N: usize>(figures: [(&str, f64); N]) -> Answer {
    figures.map(|(name, value)| (name.to_owned(), value)).into()
}

const THREADS: usize = 2;

/// Runs this many tasks on two threads, which send requests for this duration.
///
/// Each thread has its own runtime and clients, because an actix application cannot leave its
/// thread, and all subjects must run in the same way. Connections to an engine are driven by the
/// runtime that opened them, which is the caller's.
pub fn many<S: Subject>(
    runtime: &Runtime,
    subject: &S,
    workload: Workload,
    tasks: usize,
    duration: Duration,
) -> Answer {
    // Lives as long as the process, because a connection that a pool opens on one of its threads
    // must not end with the thread.
    static POOL: OnceLock<LocalPoolHandle> = OnceLock::new();
    let pool = POOL.get_or_init(|| LocalPoolHandle::new(THREADS));
    let stop = Arc::new(AtomicBool::new(false));
    let start = Arc::new(Barrier::new(THREADS + 1));
    let on_thread = |thread| {
        let (subject, start, stop) = (subject.clone(), Arc::clone(&start), Arc::clone(&stop));
        let job = async move || {
            let client = subject.client().await;
            let mut visitors = Vec::new();
            for _ in 0..(tasks + thread) / THREADS {
                let mut visitor = Visitor::new(client.clone());
                visitor.prepare(workload).await;
                visitors.push(visitor);
            }
            start.wait().await;
            let spawn = |visitor| {
                tokio::task::spawn_local(until_stopped(visitor, workload, Arc::clone(&stop)))
            };
            all(visitors.into_iter().map(spawn)).await
        };
        pool.spawn_pinned_by_idx(job, thread)
    };
    // All calls here wait without blocking this thread, because it drives the connections.
    runtime.block_on(async {
        let threads: Vec<_> = (0..THREADS).map(on_thread).collect();
        start.wait().await;
        let (before, start) = (cpu(), Instant::now());
        tokio::time::sleep(duration).await;
        stop.store(true, Ordering::Relaxed);
        let times = all(threads).await.concat();
        summary(times, start.elapsed(), cpu().saturating_sub(before))
    })
}

/// Returns the results of these tasks.
pub(crate) async fn all<T>(tasks: impl IntoIterator<Item = tokio::task::JoinHandle<T>>) -> Vec<T> {
    // All of them run before the first is waited for.
    let tasks: Vec<_> = tasks.into_iter().collect();
    let mut ended = Vec::new();
    for task in tasks {
        ended.push(task.await.expect("a task"));
    }
    ended
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
pub(crate) fn summary(times: Vec<Vec<u32>>, wall: Duration, cpu: Duration) -> Answer {
    let mut times = times.concat();
    times.sort_unstable();
    let requests = times.len() as f64;
    let at = |share: f64| times.get((requests * share) as usize).copied().map_or(0.0, f64::from);
    figures([
        ("requests", requests),
        ("per_second", requests / wall.as_secs_f64()),
        ("cpu_ns", cpu.as_secs_f64() * 1e9 / requests.max(1.0)),
        ("p50_ns", at(0.5)),
        ("p99_ns", at(0.99)),
        ("worst_ns", times.last().copied().map_or(0.0, f64::from)),
    ])
}
