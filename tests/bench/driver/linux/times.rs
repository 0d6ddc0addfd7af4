//! What takes time: rounds of all subjects of an engine in turn, so that what disturbs the machine
//! disturbs them alike.

use super::cpu::{self, Bound};
use super::figures::Figures;
use super::lab::Lab;
use super::subjects::{Engine, FAR, Subject};
use super::worker::Worker;
use super::{Failed, Plan, Result, Times};
use mocha_session_bench::visitor::Workload;
use mocha_session_bench::worker::{Answer, Order};
use mocha_session_conformance::Proxy;
use tokio::runtime::Runtime;

/// Threads of a worker that has many tasks, and the tasks.
const THREADS: usize = 2;
const TASKS: u32 = 64;

/// Rounds in between which the proxy is asked what passed.
const WARM_UP: u32 = 20;
const COUNTED: u32 = 50;

/// Processor and wall time in one task, on one core with the server if `bind` says so.
///
/// The processes begin anew a few times: where their memory happens to lie would otherwise be
/// measured with them.
pub(crate) fn single(
    lab: &Lab,
    engine: Engine,
    subjects: &[&'static Subject],
    plan: &Plan,
    bind: bool,
    figures: &mut Figures,
) -> Result<Failed> {
    let core = if bind { Some(cpu::last()?) } else { None };
    let server = core.as_ref().zip(lab.server(engine));
    let _bound = server.map(|(core, server)| Bound::new(core, server.pid)).transpose()?;
    let one = |worker: &mut Worker, workload| -> Result {
        let answer = worker.tell(&Order::Single { workload, ms: plan.single.2 })?;
        add(figures, "", worker, workload, &answer);
        Ok(())
    };
    let start = |subject| match &core {
        Some(core) => Worker::start_by(cpu::on(core)?, lab, subject),
        None => Worker::start(lab, subject, 1),
    };
    Ok(in_turn(subjects, start, plan.single, &Workload::ALL, one))
}

/// Throughput, latency and processor time of many tasks, the server's too. Of an engine that is far
/// away, only the latency of one task's reads.
pub(crate) fn many(
    lab: &Lab,
    engine: Engine,
    subjects: &[&'static Subject],
    plan: &Plan,
    figures: &mut Figures,
) -> Failed {
    let (kind, tasks, workloads) = match engine {
        FAR => ("one_", 1, &[Workload::W3][..]),
        _ => ("many_", TASKS, plan.many_workloads),
    };
    let one = |worker: &mut Worker, workload| -> Result {
        let server = lab.server(worker.subject.engine);
        let used = || server.map(|server| cpu::used(server.pid)).transpose();
        let before = used()?;
        let ms = plan.many.2;
        let mut answer = worker.tell(&Order::Many { workload, tasks: tasks as usize, ms })?;
        if let Some((before, after)) = before.zip(used()?) {
            // Each task began its session in the meantime, which the server had to do as well.
            let rounds = answer.get("requests").ok_or("no rounds")? + f64::from(tasks);
            let used = after.saturating_sub(before).as_secs_f64() * 1e9;
            _ = answer.insert("server_cpu_ns".to_owned(), used / rounds);
        }
        add(figures, kind, worker, workload, &answer);
        Ok(())
    };
    let start = |subject| Worker::start(lab, subject, THREADS);
    in_turn(subjects, start, plan.many, workloads, one)
}

/// Every figure of an answer, under its name there.
fn add(figures: &mut Figures, kind: &str, worker: &Worker, workload: Workload, answer: &Answer) {
    for (name, value) in answer {
        figures.add(&format!("{kind}{name}"), (worker.subject.name, workload), *value);
    }
}

/// Round trips to the server for each round.
pub(crate) fn trips(lab: &Lab, subject: &'static Subject, figures: &mut Figures) -> Result {
    let Some(server) = lab.server(subject.engine) else { return Ok(()) };
    let runtime = Runtime::new()?;
    let proxy = runtime.block_on(Proxy::to(format!("127.0.0.1:{}", server.port)))?;
    let mut worker = Worker::start_on(lab, subject, server.url_through(proxy.address().port()))?;
    let mut workloads = worker.workloads.clone();
    workloads.retain(|workload| subject.engine != FAR || *workload == Workload::W3);
    for workload in workloads {
        worker.tell(&Order::Run { workload, requests: WARM_UP })?;
        let before = proxy.answers();
        worker.tell(&Order::Run { workload, requests: COUNTED })?;
        let trips = f64::from(u32::try_from(proxy.answers() - before)?);
        figures.add("round_trips", (subject.name, workload), trips / f64::from(COUNTED));
    }
    Ok(())
}

/// Has all subjects do the same in turn, workload by workload.
///
/// A subject that fails is left out from then on.
fn in_turn(
    subjects: &[&'static Subject],
    start: impl Fn(&'static Subject) -> Result<Worker>,
    (lives, rounds, _): Times,
    workloads: &[Workload],
    mut one: impl FnMut(&mut Worker, Workload) -> Result,
) -> Failed {
    let (mut subjects, mut failed) = (subjects.to_vec(), Failed::new());
    for _ in 0..lives {
        let mut workers = Vec::new();
        for &subject in &subjects {
            match start(subject) {
                Ok(worker) => workers.push(worker),
                Err(error) => failed.push((subject, error.to_string())),
            }
        }
        for workload in (0..rounds).flat_map(|_| workloads) {
            workers.retain_mut(|worker| {
                if !worker.workloads.contains(workload) {
                    return true;
                }
                let done = one(worker, *workload);
                done.map_err(|error| failed.push((worker.subject, error.to_string()))).is_ok()
            });
        }
        subjects.retain(|subject| !failed.iter().any(|(other, _)| other == subject));
    }
    failed
}
