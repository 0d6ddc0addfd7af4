//! What takes time: rounds of all subjects of a group in turn, so that what disturbs the machine
//! disturbs them alike.

use super::Plan;
use super::core::{self, Bound};
use super::figures::{Figures, Metric};
use super::lab::Lab;
use super::proxy::Proxy;
use super::server;
use super::subjects::{Engine, Subject, WORKLOADS};
use super::worker::{Worker, figure};
use crate::Result;
use std::collections::BTreeMap;

/// Threads of a worker that has many tasks, and the tasks.
pub(crate) const THREADS: usize = 2;
pub(crate) const TASKS: u64 = 64;

/// Rounds in between which a server is asked what happened.
const WARM_UP: u64 = 20;
const COUNTED: u32 = 50;

/// What failed, and whose it was.
type Failed = Vec<(&'static Subject, String)>;

/// Commands that Redis ran for one round, by name.
pub(crate) type Commands = BTreeMap<(&'static str, &'static str), BTreeMap<String, f64>>;

/// Processor and wall time in one task, on one core with the server if `bind` says so.
///
/// The processes begin anew a few times: where their memory happens to lie would otherwise be
/// measured with them.
pub(crate) fn single(
    lab: &Lab,
    subjects: &[&'static Subject],
    plan: &Plan,
    bind: bool,
    figures: &mut Figures,
) -> Result<Failed> {
    let core = if bind { Some(core::last()?) } else { None };
    let mut servers: Vec<u32> = subjects
        .iter()
        .filter_map(|subject| lab.server(subject.engine))
        .map(|server| server.pid)
        .collect();
    servers.dedup();
    let bound = core.iter().flat_map(|core| servers.iter().map(move |pid| Bound::to(core, *pid)));
    let bound = bound.collect::<Result<Vec<_>>>()?;
    let one = |worker: &mut Worker, workload: &'static str, figures: &mut Figures| -> Result {
        let answer = worker.single(workload, plan.single_ms)?;
        let name = worker.subject.name;
        figures.add(Metric::Cpu, name, workload, figure(&answer, "cpu_ns")?);
        figures.add(Metric::Wall, name, workload, figure(&answer, "wall_ns")?);
        Ok(())
    };
    let start = |subject| match &core {
        Some(core) => Worker::start_bound(lab, subject, core),
        None => Worker::start(lab, subject, 1),
    };
    let failed = in_turn(subjects, start, (plan.lives, plan.rounds), WORKLOADS, figures, one);
    drop(bound);
    Ok(failed)
}

/// Throughput, latency and processor time of many tasks, the server's too.
pub(crate) fn many(
    lab: &Lab,
    subjects: &[&'static Subject],
    plan: &Plan,
    figures: &mut Figures,
) -> Failed {
    let one = |worker: &mut Worker, workload: &'static str, figures: &mut Figures| -> Result {
        let server = lab.server(worker.subject.engine);
        let used = || server.map(|server| server::cpu(server.pid)).transpose();
        let before = used()?;
        let answer = worker.many(workload, TASKS, plan.many_ms)?;
        let after = used()?;
        let name = worker.subject.name;
        let metrics = [
            (Metric::PerSecond, "per_second"),
            (Metric::Median, "p50_ns"),
            (Metric::NinetyNinth, "p99_ns"),
            (Metric::ManyCpu, "cpu_ns"),
        ];
        for (metric, field) in metrics {
            figures.add(metric, name, workload, figure(&answer, field)?);
        }
        if let (Some(before), Some(after)) = (before, after) {
            // Each task began its session in the meantime, which the server had to do as well.
            let rounds = figure(&answer, "requests")? + f64::from(u32::try_from(TASKS)?);
            let used = after.saturating_sub(before).as_secs_f64() * 1e9;
            figures.add(Metric::ServerCpu, name, workload, used / rounds);
        }
        Ok(())
    };
    let start = |subject| Worker::start(lab, subject, THREADS);
    in_turn(subjects, start, (plan.many_lives, plan.many_rounds), plan.many_workloads, figures, one)
}

/// Round trips to the server for each round, and in Redis the commands that they carried.
pub(crate) fn trips(
    lab: &Lab,
    subjects: &[&'static Subject],
    figures: &mut Figures,
    commands: &mut Commands,
) -> Failed {
    let mut failed = Vec::new();
    for subject in subjects {
        if let Err(error) = trips_of(lab, subject, figures, commands) {
            failed.push((*subject, format!("round trips: {error}")));
        }
    }
    failed
}

fn trips_of(
    lab: &Lab,
    subject: &'static Subject,
    figures: &mut Figures,
    commands: &mut Commands,
) -> Result {
    let Some(server) = lab.server(subject.engine) else { return Ok(()) };
    let proxy = Proxy::before(server.port)?;
    let mut worker = Worker::start_on(lab, subject, &server.url_through(proxy.port))?;
    let asked = || match subject.engine {
        Engine::Redis => server::redis_commands(server.port),
        _ => Ok(BTreeMap::new()),
    };
    for workload in worker.workloads.clone() {
        worker.run(workload, WARM_UP)?;
        let (trips_before, commands_before) = (proxy.trips(), asked()?);
        worker.run(workload, COUNTED.into())?;
        let (trips, commands_after) = (proxy.trips() - trips_before, asked()?);
        let rounds = f64::from(COUNTED);
        figures.add(
            Metric::Trips,
            subject.name,
            workload,
            f64::from(u32::try_from(trips)?) / rounds,
        );
        if subject.engine == Engine::Redis {
            let ran = server::per_round(&commands_before, &commands_after, rounds);
            commands.insert((subject.name, workload), ran);
        }
    }
    Ok(())
}

/// Has all subjects do the same in turn: `(lives, rounds in each)`, workload by workload.
///
/// A subject that fails is left out from then on.
fn in_turn(
    subjects: &[&'static Subject],
    start: impl Fn(&'static Subject) -> Result<Worker>,
    (lives, rounds): (u32, u32),
    workloads: &[&'static str],
    figures: &mut Figures,
    one: impl Fn(&mut Worker, &'static str, &mut Figures) -> Result,
) -> Failed {
    let (mut subjects, mut failed) = (subjects.to_vec(), Failed::new());
    for _ in 0..lives {
        let mut workers = Vec::new();
        for subject in subjects.clone() {
            match start(subject) {
                Ok(worker) => workers.push(worker),
                Err(error) => failed.push((subject, error.to_string())),
            }
        }
        for _ in 0..rounds {
            for workload in workloads {
                workers.retain_mut(|worker| {
                    if !worker.workloads.contains(workload) {
                        return true;
                    }
                    let done = one(worker, workload, figures);
                    done.map_err(|error| failed.push((worker.subject, error.to_string()))).is_ok()
                });
            }
        }
        subjects.retain(|subject| !failed.iter().any(|(other, _)| other == subject));
    }
    failed
}
