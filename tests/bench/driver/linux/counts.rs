//! The figures that repeat exactly: instructions, the code they are in, and allocations under
//! callgrind. Also the memory that a session takes.

use super::figures::{Figures, Row};
use super::lab::Lab;
use super::subjects::Subject;
use super::worker::Worker;
use super::{Failed, Result};
use mocha_session_bench::visitor::Workload::W5;
use mocha_session_bench::worker::Order;
use mocha_session_servers::{command, install};
use std::collections::BTreeMap;
use std::fs;

/// The function of the workers whose instructions and allocations are counted.
const COUNTED: &str = "mocha_session_bench::measure::callgrind_collects_this";

/// The metric of the code that a round runs.
pub(crate) const CODE: &str = "code_bytes";

/// How one asks the C library for memory; making a block larger counts too.
const ALLOCATE: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// The size of a cache line in bytes: the unit in which a processor fetches memory.
const CACHE_LINE: u32 = 64;

/// The counts of one dump of callgrind.
#[derive(Debug, PartialEq)]
struct Counts {
    instructions: f64,
    allocations: f64,
    /// The cache lines whose code ran in nearly every round, in bytes.
    code: f64,
}

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
        "valgrind --tool=callgrind --compress-strings=no --compress-pos=no --dump-instr=yes \
         --dump-before={COUNTED} --dump-after={COUNTED} --callgrind-out-file={}",
        dumps.display()
    );
    let mut worker = Worker::start_by(command::program(&valgrind)?, lab, subject)?;
    let (mut found, mut stretch) = (Vec::new(), 0);
    for workload in worker.workloads.clone() {
        worker.tell(&Order::Run { workload, requests })?;
        let mut counted = Vec::new();
        for _ in 0..times {
            worker.tell(&Order::Count { workload, requests })?;
            // Before it the dump of what came in between.
            stretch += 2;
            let dump = fs::read_to_string(dumps.with_added_extension(stretch.to_string()))?;
            counted.push(read(&dump, requests).ok_or("callgrind did not say a count")?);
        }
        let least = |figure: fn(&Counts) -> f64| {
            counted.iter().map(figure).min_by(f64::total_cmp).unwrap_or_default()
        };
        let row = (subject.name, workload);
        found.push(("instructions", row, least(|it| it.instructions) / f64::from(requests)));
        found.push(("allocations", row, least(|it| it.allocations) / f64::from(requests)));
        found.push((CODE, row, least(|it| it.code)));
    }
    Ok(found)
}

/// Reads a dump of callgrind that has addresses, and no names or addresses in short form.
fn read(dump: &str, rounds: u32) -> Option<Counts> {
    let instructions = dump.lines().find_map(|line| line.strip_prefix("summary: "))?;
    let (mut allocations, mut object, mut called) = (0.0, "", "");
    let mut lines = BTreeMap::<_, u64>::new();
    let mut rest = dump.lines();
    while let Some(line) = rest.next() {
        if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(name) = line.strip_prefix("ob=") {
            object = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if ALLOCATE.contains(&called) {
                allocations += calls.split(' ').next()?.parse::<f64>().ok()?;
            }
            // The next line is what the called function cost.
            _ = rest.next();
        } else if let Some(position) = line.strip_prefix("0x") {
            // Its address, the line of its source, how often it ran.
            let mut words = position.split(' ');
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let times: u64 = words.nth(1)?.parse().ok()?;
            let most = lines.entry((object, address / u64::from(CACHE_LINE))).or_default();
            *most = times.max(*most);
        }
    }
    // A line that one round in ten misses is that of something else, such as a ping.
    let often = lines.values().filter(|&&times| times * 10 >= u64::from(rounds) * 9).count();
    let code = f64::from(u32::try_from(often).ok()? * CACHE_LINE);
    Some(Counts { instructions: instructions.parse().ok()?, allocations, code })
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
    fn callgrinds_lines_are_found() {
        let dump = "version: 1\nevents: Ir\nsummary: 2978\n\nob=/bin/a\nfn=f\n\
            0x1000 16 10\n0x1004 16 10\n0x1040 16 9\n0x1080 17 8\ncfn=malloc\n\
            calls=11 0x20 3281\n0x10c0 16 900\ncob=/lib/c\ncfn=free\ncalls=11 0x30 3350\n\
            0x1100 16 800\ncfi=x.c\ncfn=realloc\ncalls=2 0x40 3394\n0x1140 16 400\n\n\
            ob=/lib/c\nfn=malloc\n0x1000 1 10\n\ntotals: 2978\n";
        let found = Counts { instructions: 2978.0, allocations: 13.0, code: 3.0 * 64.0 };
        assert_eq!(read(dump, 10), Some(found));
        assert_eq!(read("events: Ir\n", 10), None);
        assert_eq!(read("summary: \n", 10), None);
    }
}
