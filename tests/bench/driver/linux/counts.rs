//! What does not depend on the machine's mood: instructions under callgrind, allocations, heap per
//! session.

use super::figures::{Figures, Row};
use super::lab::Lab;
use super::subjects::{Engine, Subject, subject};
use super::{Failed, Result};
use mocha_session_bench::visitor::Workload;
use mocha_session_servers::{command, install};
use serde_json::Value;
use std::sync::{Mutex, PoisonError};

/// Counts all of these, several at once, for counts do not mind. Answers what failed, a sentence
/// for each.
pub(crate) fn count(lab: &Lab, rows: &[Row], figures: &mut Figures) -> Failed {
    let (queue, results) = (Mutex::new(rows.iter()), Mutex::new((figures, Failed::new())));
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(row) = next else { break };
            let Some(subject) = subject(row.0) else { continue };
            let counted = [
                ("instructions", least_instructions(lab, subject, row.1)),
                ("allocations", allocations(lab, subject, row.1)),
            ];
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            for (metric, value) in counted {
                match value {
                    Ok(value) => results.0.add(metric, *row, value),
                    Err(error) => {
                        results.1.push((subject, format!("{metric} of {}: {error}", row.1)));
                    }
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    results.into_inner().unwrap_or_else(PoisonError::into_inner).1
}

/// Bytes that a session in memory keeps, everything around it included.
pub(crate) fn heap(lab: &Lab, subject: &Subject, sessions: u64) -> Result<f64> {
    counted(lab, subject, &["heap", subject.name, &sessions.to_string()])
}

/// Installs valgrind where that is possible and necessary.
pub(crate) fn need_valgrind() -> Result {
    if command::find("valgrind").is_some() {
        return Ok(());
    }
    if install::can_install() {
        return install::debian(&["valgrind"]);
    }
    let advice = install::advice(&["valgrind"]);
    Err(format!("instructions are counted with valgrind, which is missing; {advice}").into())
}

/// The least of a few counts, where there is a pool: it may open a connection in the midst of one,
/// whose password alone costs more than all rounds together. What disturbs a count can only add to
/// it.
fn least_instructions(lab: &Lab, subject: &Subject, workload: Workload) -> Result<f64> {
    let times = match subject.engine {
        Engine::Memory | Engine::Cookie => 1,
        Engine::Redis | Engine::Sqlite => 3,
        Engine::Postgres => 6,
    };
    let counts: Vec<f64> =
        (0..times).map(|_| instructions(lab, subject, workload)).collect::<Result<_>>()?;
    Ok(counts.into_iter().fold(f64::INFINITY, f64::min))
}

fn instructions(lab: &Lab, subject: &Subject, workload: Workload) -> Result<f64> {
    let rounds = rounds(subject.engine);
    let words = ["once", subject.name, &workload.to_string(), &rounds.to_string()];
    let program = lab.command(subject, false, &words);
    // The function of the harness that is collected is named there.
    let mut valgrind = command::program(
        "valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-fd=1 \
         --toggle-collect=*callgrind_collects_this*",
    )?;
    let printed = command::read(valgrind.arg(program.get_program()).args(program.get_args()))?;
    Ok(collected(&printed).ok_or("callgrind did not say what it collected")? / f64::from(rounds))
}

fn allocations(lab: &Lab, subject: &Subject, workload: Workload) -> Result<f64> {
    let rounds = rounds(subject.engine).to_string();
    counted(lab, subject, &["allocations", subject.name, &workload.to_string(), &rounds])
}

/// The one figure that a program with a counting allocator prints.
fn counted(lab: &Lab, subject: &Subject, words: &[&str]) -> Result<f64> {
    let printed: Value =
        serde_json::from_str(&command::read(&mut lab.command(subject, true, words))?)?;
    let figure = printed.as_object().and_then(|object| object.values().next()?.as_f64());
    figure.ok_or_else(|| format!("no figure in the answer: {printed}").into())
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
