//! The run as a whole: options, plans, engines one after the other.

mod baseline;
mod counts;
mod cpu;
mod figures;
mod lab;
mod machine;
mod report;
mod subjects;
mod summary;
mod table;
mod times;
mod worker;

use clap::Parser;
use cpu::Others;
use lab::Lab;
use mocha_session_bench::visitor::Workload::{self, W3, W4, W5};
use mocha_session_servers::{Result, command};
use report::Findings;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;
use subjects::{ENGINES, Engine, FAR, SUBJECTS, Subject};
use worker::Worker;

/// What failed, and whose it was.
type Failed = Vec<(&'static Subject, String)>;

/// How often the processes begin anew, the rounds of each, and milliseconds of a round.
type Times = (u32, u32, u64);

/// How often and for how long everything is measured.
struct Plan {
    /// In one task.
    single: Times,
    many: Times,
    many_workloads: &'static [Workload],
    heap_sessions: u32,
}

const WHOLE: Plan = Plan {
    single: (3, 5, 100),
    many: (2, 3, 800),
    many_workloads: &[W3, W4, W5],
    heap_sessions: 200_000,
};

const QUICK: Plan = Plan {
    single: (1, 3, 50),
    many: (1, 3, 400),
    many_workloads: &[W3, W4],
    heap_sessions: 50_000,
};

/// What sessions cost, in this library and beside others.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
struct Options {
    /// A shorter run, for a first look
    #[arg(long)]
    quick: bool,
    /// This library's subjects alone
    #[arg(long)]
    ours: bool,
    /// The subjects whose names contain this
    #[arg(long, value_name = "SUBSTRING")]
    only: Option<String>,
    /// Leave it to the scheduler where one task and its server run
    #[arg(long)]
    unbound: bool,
    /// Keep the results in PATH.json and PATH.md (`results` under target/bench)
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Show the least and the greatest of each ratio in these runs, and measure nothing
    #[arg(long, value_name = "JSON", num_args = 1.., exclusive = true)]
    summary: Vec<PathBuf>,
    /// Compare instructions, allocations and round trips with those that were written down
    #[arg(long, conflicts_with_all = ["quick", "only", "out"])]
    check: bool,
    /// Write them down
    #[arg(long, requires = "check")]
    write: bool,
}

impl Options {
    fn wants(&self, subject: &Subject) -> bool {
        let named = self.only.as_ref().is_none_or(|part| subject.name.contains(part.as_str()));
        named && !(self.ours && subject.theirs)
    }
}

/// Builds what is missing, measures, shows.
pub(crate) fn run() -> Result {
    let options = Options::parse();
    if options.check {
        return baseline::run(options.write);
    }
    if !options.summary.is_empty() {
        return summary::run(&options.summary);
    }
    let wanted: Vec<_> = SUBJECTS.iter().filter(|subject| options.wants(subject)).collect();
    let of =
        |engine: Engine| wanted.iter().copied().filter(move |subject| subject.engine == engine);
    let engines: Vec<Engine> = ENGINES.into_iter().filter(|&it| of(it).next().is_some()).collect();
    if engines.is_empty() {
        return Err("no subject has such a name".into());
    }
    counts::need_valgrind()?;
    let with_peers = wanted.iter().any(|subject| subject.theirs);
    let lab = Lab::open(with_peers, &engines)?;
    let plan = if options.quick { &QUICK } else { &WHOLE };
    let mut findings = Findings {
        one_task_on_one_core: !options.unbound,
        facts: machine::facts(with_peers, &lab),
        ..Findings::default()
    };
    let measured: Result = engines.iter().try_for_each(|&engine| {
        let begun = Instant::now();
        measure(&lab, plan, engine, of(engine), &mut findings)?;
        eprintln!("{engine} measured in {:.0} s", begun.elapsed().as_secs_f32());
        Ok(())
    });
    let has_ours = wanted.iter().any(|subject| !subject.theirs);
    let measured = measured
        .and_then(|()| if has_ours { growth(&lab, options.quick, &mut findings) } else { Ok(()) });
    let out = options.out.unwrap_or_else(|| lab.results());
    let (markdown, json) = ["md", "json"].map(|ending| out.with_added_extension(ending)).into();
    lab.close()?;
    measured?;
    let text = findings.markdown();
    fs::write(&markdown, &text)?;
    fs::write(&json, serde_json::to_string_pretty(&findings)?)?;
    println!("\n{text}\n\nalso in {}, and every round in {}", markdown.display(), json.display());
    Ok(())
}

/// Everything about the subjects of one engine.
fn measure(
    lab: &Lab,
    plan: &Plan,
    engine: Engine,
    subjects: impl Iterator<Item = &'static Subject>,
    findings: &mut Findings,
) -> Result {
    if !lab.has(engine) {
        findings.left_out.push(format!("{engine}: its server cannot be started here"));
        return Ok(());
    }
    let mut ready = Vec::new();
    for subject in subjects {
        // A worker that starts has proved that its subject does what is measured.
        match Worker::start(lab, subject, 1) {
            Ok(_) => ready.push(subject),
            Err(error) => failed(subject, &error.to_string(), findings)?,
        }
    }
    let others = Others::watch()?;
    let bind = findings.one_task_on_one_core;
    let figures = &mut findings.figures;
    let mut errors = Failed::new();
    if engine != FAR {
        errors.extend(times::single(lab, engine, &ready, plan, bind, figures)?);
    }
    errors.extend(times::many(lab, engine, &ready, plan, figures));
    _ = findings.other_programs_cores.insert(engine, others.cores()?);
    for &subject in &ready {
        let trips = times::trips(lab, subject, figures);
        errors.extend(trips.err().map(|error| (subject, format!("round trips: {error}"))));
        if subject.has_heap() {
            let weighed = counts::heap(lab, subject, plan.heap_sessions, figures);
            errors.extend(weighed.err().map(|error| (subject, format!("heap: {error}"))));
        }
    }
    if engine != FAR {
        errors.extend(counts::count(lab, &ready, figures));
    }
    errors.iter().try_for_each(|(subject, why)| failed(subject, why, findings))
}

/// What happens as there is more of something, where this library's program measures that.
fn growth(lab: &Lab, quick: bool, findings: &mut Findings) -> Result {
    let mut scale = lab.program(false);
    let text = command::read(scale.arg("scale").args(quick.then_some("--quick")))?;
    let lines = serde_json::Deserializer::from_str(&text).into_iter();
    findings.growth = lines.collect::<std::result::Result<_, _>>()?;
    Ok(())
}

/// A failure of another library leaves it out and is said; one of ours ends everything.
fn failed(subject: &'static Subject, why: &str, findings: &mut Findings) -> Result {
    let says = format!("{}: {why}", subject.name);
    if !subject.theirs {
        return Err(says.into());
    }
    eprintln!("LEFT OUT: {says}");
    findings.left_out.push(says);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use subjects::subject;

    fn parse(words: &str) -> std::result::Result<Options, clap::Error> {
        Options::try_parse_from(["bench"].into_iter().chain(words.split_whitespace()))
    }

    #[test]
    fn options_are_read_and_nonsense_is_refused() {
        let options = parse("--quick --only redis --ours").unwrap();
        assert!(options.quick && options.ours && !options.check);
        let wanted = |name| options.wants(subject(name).unwrap());
        assert!(wanted("ours-redis") && wanted("ideal-redis"));
        assert!(!wanted("actix-redis") && !wanted("ours-memory"));
        for wrong in [
            "--only",
            "--write",
            "--fast",
            "--check --quick",
            "--check --only redis",
            "--summary",
            "--quick --summary a.json",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_peer_may_fail_and_we_may_not() {
        let mut findings = Findings::default();
        assert!(failed(subject("actix-redis").unwrap(), "why", &mut findings).is_ok());
        assert_eq!(findings.left_out, ["actix-redis: why"]);
        assert!(failed(subject("ours-redis").unwrap(), "why", &mut findings).is_err());
    }
}
