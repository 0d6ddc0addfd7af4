//! What does not depend on the machine's mood: instructions under callgrind, allocations, heap per
//! session.

use super::figures::{Figures, Metric};
use super::lab::Lab;
use super::subjects::{Engine, Subject};
use super::worker::figure;
use crate::{Result, command, install};
use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The function of the harness that callgrind counts the instructions of.
const MARKED: &str = "--toggle-collect=*callgrind_collects_this*";

/// A subject's rounds of one workload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) subject: &'static Subject,
    pub(crate) workload: &'static str,
}

/// Counts all of these, several at once, for counts do not mind. Answers what failed, a sentence
/// for each subject.
pub(crate) fn count(
    lab: &Lab,
    jobs: &[Job],
    figures: &mut Figures,
) -> Vec<(&'static Subject, String)> {
    let queue: Mutex<VecDeque<Job>> = Mutex::new(jobs.iter().copied().collect());
    let results = Mutex::new((figures, Vec::<(&'static Subject, String)>::new()));
    let lock = || results.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(Job { subject, workload }) = job else { break };
                    let measured = [
                        (Metric::Instructions, least_instructions(lab, subject, workload)),
                        (Metric::Allocations, allocations(lab, subject, workload)),
                    ];
                    let mut results = lock();
                    for (metric, value) in measured {
                        match value {
                            Ok(value) => results.0.add(metric, subject.name, workload, value),
                            Err(error) => {
                                let what = metric.name().0;
                                results.1.push((subject, format!("{what} of {workload}: {error}")));
                            }
                        }
                    }
                }
            });
        }
    });
    let (_, failed) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed
}

/// Bytes that a session in memory keeps, everything around it included.
pub(crate) fn heap(lab: &Lab, subject: &Subject, sessions: u64) -> Result<f64> {
    let mut program = lab.counted(subject, &["heap", subject.name, &sessions.to_string()])?;
    figure(&serde_json::from_str(&command::read(&mut program)?)?, "bytes_per_session")
}

/// Installs valgrind where that is possible and necessary.
pub(crate) fn need_valgrind() -> Result {
    if command::find("valgrind").is_some() {
        return Ok(());
    }
    if install::can_install() {
        return install::debian(&["valgrind"]);
    }
    Err(format!(
        "instructions are counted with valgrind, which is missing; {}",
        install::advice(&["valgrind"])
    )
    .into())
}

/// The least of a few counts, where there is a pool: it may open a connection in the midst of one,
/// whose password alone costs more than all rounds together. What disturbs a count can only add to
/// it.
fn least_instructions(lab: &Lab, subject: &Subject, workload: &str) -> Result<f64> {
    let times = match subject.engine {
        Engine::Memory | Engine::Cookie => 1,
        Engine::Redis | Engine::Sqlite => 3,
        Engine::Postgres => 6,
    };
    let mut least = f64::INFINITY;
    for _ in 0..times {
        least = least.min(instructions(lab, subject, workload)?);
    }
    Ok(least)
}

fn instructions(lab: &Lab, subject: &Subject, workload: &str) -> Result<f64> {
    let rounds = rounds(subject.engine);
    let program = lab.command(subject, &["once", subject.name, workload, &rounds.to_string()])?;
    let mut valgrind = command::program("valgrind")?;
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-fd=1", MARKED]);
    let printed = command::read(valgrind.arg(program.get_program()).args(program.get_args()))?;
    Ok(collected(&printed).ok_or("callgrind did not say what it collected")? / f64::from(rounds))
}

fn allocations(lab: &Lab, subject: &Subject, workload: &str) -> Result<f64> {
    let rounds = rounds(subject.engine).to_string();
    let mut program: Command =
        lab.counted(subject, &["allocations", subject.name, workload, &rounds])?;
    figure(&serde_json::from_str(&command::read(&mut program)?)?, "allocations")
}

/// Enough that what happens once in a while, such as a table that grows, weighs little.
fn rounds(engine: Engine) -> u32 {
    match engine {
        Engine::Memory | Engine::Cookie => 200,
        Engine::Redis | Engine::Sqlite => 100,
        // A harness warms up as long as it measures: until the pool has all the connections that it
        // is going to have.
        Engine::Postgres => 300,
    }
}

/// How many instructions callgrind collected: `==123== Collected : 456`.
fn collected(log: &str) -> Option<f64> {
    let line = log.lines().find_map(|line| line.split_once("Collected :"));
    line?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_line_is_found() {
        let log = "==7== Callgrind, a call-graph tool\n==7== Events    : Ir\n==7== Collected : 1764334\n==7== \n";
        assert_eq!(collected(log), Some(1_764_334.0));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
        assert_eq!(collected("==7== Collected : \n"), None);
    }
}
