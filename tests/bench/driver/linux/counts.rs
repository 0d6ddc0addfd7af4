//! What does not depend on the machine's mood: instructions and allocations under callgrind, and
//! the memory that a session takes.

use super::figures::{Figures, Row};
use super::lab::Lab;
use super::subjects::Subject;
use super::worker::Worker;
use super::{Failed, Result};
use mocha_session_bench::visitor::Workload::W5;
use mocha_session_bench::worker::Order;
use mocha_session_servers::{command, install};
use std::fs;

/// The function of the workers whose instructions and allocations are counted.
const COUNTED: &str = "mocha_session_bench::measure::callgrind_collects_this";

/// How one asks the C library for memory; making a block larger counts too.
const ALLOCATE: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// Counts all of these at once, because counts do not mind company. Returns what failed.
pub(crate) fn count(lab: &Lab, subjects: &[&'static Subject], figures: &mut Figures) -> Failed {
    let mut failed = Failed::new();
    std::thread::scope(|scope| {
        let count = |&subject| (subject, scope.spawn(move || counts(lab, subject)));
        let counting: Vec<_> = subjects.iter().map(count).collect();
        for (subject, counts) in counting {
            match counts.join().unwrap_or_else(|_| Err("the thread panicked".into())) {
                Ok(counts) => {
                    counts.into_iter().for_each(|(what, row, value)| figures.add(what, row, value));
                }
                Err(error) => failed.push((subject, format!("counts: {error}"))),
            }
        }
    });
    failed
}

fn counts(lab: &Lab, subject: &'static Subject) -> Result<Vec<(&'static str, Row, f64)>> {
    // Enough rounds that what happens once in a while, such as a table that grows, weighs little.
    // Where there is a pool it may open a connection in the midst of a count, whose password alone
    // costs more than all rounds together: what disturbs a count can only add to it, so the least
    // of a few counts is taken.
    let (requests, times) = match subject.engine {
        "redis" | "valkey" | "sqlite" => (100, 3),
        "postgres" => (300, 4),
        _ => (200, 1),
    };
    let dumps = lab.file("callgrind");
    let valgrind = format!(
        "valgrind --tool=callgrind --compress-strings=no --dump-before={COUNTED} \
         --dump-after={COUNTED} --callgrind-out-file={}",
        dumps.display()
    );
    let mut worker = Worker::start_by(command::program(&valgrind)?, lab, subject)?;
    let (mut found, mut stretch) = (Vec::new(), 0);
    for workload in worker.workloads.clone() {
        worker.tell(&Order::Run { workload, requests })?;
        let mut least = (f64::INFINITY, f64::INFINITY);
        for _ in 0..times {
            worker.tell(&Order::Count { workload, requests })?;
            // Before it the dump of what came in between.
            stretch += 2;
            let dump = fs::read_to_string(dumps.with_added_extension(stretch.to_string()))?;
            let (instructions, allocations) = read(&dump).ok_or("callgrind did not say a count")?;
            least = (least.0.min(instructions), least.1.min(allocations));
        }
        let row = (subject.name, workload);
        found.push(("instructions", row, least.0 / f64::from(requests)));
        found.push(("allocations", row, least.1 / f64::from(requests)));
    }
    Ok(found)
}

/// The instructions and the allocations in a dump of callgrind, without compressed names.
fn read(dump: &str) -> Option<(f64, f64)> {
    let instructions = dump.lines().find_map(|line| line.strip_prefix("summary: "))?;
    let mut allocations = 0.0;
    let mut called = "";
    for line in dump.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) =
            line.strip_prefix("calls=").filter(|_| ALLOCATE.contains(&called))
        {
            allocations += calls.split(' ').next()?.parse::<f64>().ok()?;
        }
    }
    Some((instructions.parse().ok()?, allocations))
}

/// How much the memory of a process grows with each session that it keeps.
pub(crate) fn heap(
    lab: &Lab,
    subject: &'static Subject,
    sessions: u32,
    figures: &mut Figures,
) -> Result {
    let mut worker = Worker::start(lab, subject, 1)?;
    let mut grown = |requests| -> Result<u64> {
        worker.tell(&Order::Run { workload: W5, requests })?;
        worker.resident()
    };
    let before = grown(1_000)?;
    let bytes = u32::try_from(grown(sessions)?.saturating_sub(before))?;
    figures.add("bytes_per_session", (subject.name, W5), f64::from(bytes) / f64::from(sessions));
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callgrinds_line_is_found() {
        let dump = "version: 1\nevents: Ir\nsummary: 2978\n\nfn=f\n16 5\ncfn=malloc\n\
            calls=11 3281\n16 900\ncfn=free\ncalls=11 3350\n16 800\ncfi=x.c\ncfn=realloc\n\
            calls=2 3394\n16 400\n\ntotals: 2978\n";
        assert_eq!(read(dump), Some((2978.0, 13.0)));
        assert_eq!(read("events: Ir\n"), None);
        assert_eq!(read("summary: \n"), None);
    }
}
