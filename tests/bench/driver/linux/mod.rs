//! The run as a whole: options, plans, engines one after the other.

mod baseline;
mod core;
mod counts;
mod figures;
mod goals;
mod lab;
mod machine;
mod report;
mod server;
mod subjects;
mod table;
mod times;
mod worker;

use lab::Lab;
use mocha_session_bench::visitor::Workload::{self, W3, W4, W5};
use mocha_session_servers::{Result, command};
use report::Findings;
use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};
use subjects::{Engine, SUBJECTS, Subject};
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
    heap_sessions: u64,
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

/// The options that stand alone, and the part of a name after `--only`.
#[derive(Debug)]
struct Options<'a> {
    flags: BTreeSet<&'a str>,
    only: Option<&'a str>,
}

impl<'a> Options<'a> {
    fn parse(args: &[&'a str]) -> Result<Self> {
        let (mut flags, mut only) = (BTreeSet::new(), None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--only" => {
                    only = Some(*args.next().ok_or("--only wants a part of a subject's name")?);
                }
                "--quick" | "--ours" | "--check" | "--unbound" | "--write" => {
                    _ = flags.insert(*arg);
                }
                _ => {
                    let says = format!("bench does not know `{arg}`; see `cargo xtask help`");
                    return Err(says.into());
                }
            }
        }
        let options = Self { flags, only };
        if options.has("--write") && !options.has("--check") {
            return Err("--write goes with --check".into());
        }
        if options.has("--check") && (options.has("--quick") || only.is_some()) {
            return Err("--check measures the same always: without --quick and --only".into());
        }
        Ok(options)
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    fn wants(&self, subject: &Subject) -> bool {
        let named = self.only.is_none_or(|part| subject.name.contains(part));
        named && !(self.has("--ours") && subject.theirs)
    }
}

/// Builds what is missing, measures, shows.
pub(crate) fn run(args: &[&str]) -> Result {
    let options = Options::parse(args)?;
    if options.has("--check") {
        return baseline::run(options.has("--write"));
    }
    let wanted: Vec<_> = SUBJECTS.iter().filter(|subject| options.wants(subject)).collect();
    if wanted.is_empty() {
        return Err("no subject has such a name".into());
    }
    counts::need_valgrind()?;
    let engines: BTreeSet<_> = wanted.iter().map(|subject| subject.engine).collect();
    let engines: Vec<_> = engines.into_iter().collect();
    let with_peers = wanted.iter().any(|subject| subject.theirs);
    let lab = Lab::open(with_peers, &engines)?;
    let quick = options.has("--quick");
    let plan = if quick { &QUICK } else { &WHOLE };
    let mut findings = Findings { bound: !options.has("--unbound"), ..Findings::default() };
    findings.facts = machine::facts(with_peers, &engines);
    let measured = engines.iter().try_for_each(|engine| {
        let begun = Instant::now();
        let subjects = wanted.iter().copied().filter(|subject| subject.engine == *engine);
        measure(&lab, plan, *engine, subjects, &mut findings)?;
        eprintln!("{} measured in {:.0} s", engine.name(), begun.elapsed().as_secs_f32());
        Ok(())
    });
    let measured: Result = measured.and_then(|()| {
        let ours = wanted.iter().any(|subject| !subject.theirs);
        if ours { growth(&lab, quick, &mut findings) } else { Ok(()) }
    });
    let (markdown, json) = (lab.results("results.md"), lab.results("results.json"));
    lab.close()?;
    measured?;
    let text = findings.markdown();
    fs::write(&markdown, &text)?;
    fs::write(&json, serde_json::to_string_pretty(&findings.json())?)?;
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
    let (mut ready, mut rows) = (Vec::new(), Vec::new());
    for subject in subjects {
        if !lab.has(subject) {
            let says = format!("{}: its server cannot be started here", subject.name);
            findings.left_out.push(says);
            continue;
        }
        match Worker::start(lab, subject, 1) {
            Ok(worker) => {
                ready.push(subject);
                rows.extend(worker.workloads.iter().map(|&workload| (subject.name, workload)));
            }
            Err(error) => failed(subject, &error.to_string(), findings)?,
        }
    }
    let others = Others::watch()?;
    let mut errors = times::single(lab, &ready, plan, findings.bound, &mut findings.figures)?;
    errors.extend(times::many(lab, &ready, plan, &mut findings.figures));
    findings.others.insert(engine.name(), others.cores()?);
    for &subject in &ready {
        let trips = times::trips(lab, subject, findings);
        errors.extend(trips.err().map(|error| (subject, format!("round trips: {error}"))));
    }
    errors.extend(counts::count(lab, &rows, &mut findings.figures));
    for &subject in ready.iter().filter(|subject| subject.has_heap()) {
        match counts::heap(lab, subject, plan.heap_sessions) {
            Ok(bytes) => findings.figures.add("bytes_per_session", (subject.name, W5), bytes),
            Err(error) => errors.push((subject, format!("heap: {error}"))),
        }
    }
    for (subject, why) in errors {
        failed(subject, &why, findings)?;
    }
    Ok(())
}

/// What happens as there is more of something, where this library's program measures that.
fn growth(lab: &Lab, quick: bool, findings: &mut Findings) -> Result {
    let mut scale = lab.program(false, false);
    scale.arg("scale").args(quick.then_some("--quick")).stdin(Stdio::null());
    match command::read(&mut scale) {
        Ok(text) => {
            let lines = serde_json::Deserializer::from_str(&text).into_iter();
            findings.growth = lines.collect::<std::result::Result<_, _>>()?;
        }
        Err(error) => findings.left_out.push(format!("growth: {error}")),
    }
    Ok(())
}

/// What programs other than ours, its workers and its servers do meanwhile.
struct Others {
    begun: Instant,
    used: Duration,
}

impl Others {
    fn watch() -> Result<Self> {
        Ok(Self { begun: Instant::now(), used: Self::used()? })
    }

    /// How many cores they kept busy since.
    fn cores(&self) -> Result<f64> {
        let used = Self::used()?.saturating_sub(self.used);
        Ok(used.as_secs_f64() / self.begun.elapsed().as_secs_f64())
    }

    fn used() -> Result<Duration> {
        let ours = server::cpu(std::process::id())?;
        Ok(server::cpu_of_all()?.saturating_sub(ours))
    }
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

    #[test]
    fn options_are_read_and_nonsense_is_refused() {
        let options = Options::parse(&["--quick", "--only", "redis", "--ours"]).unwrap();
        assert!(options.has("--quick") && options.has("--ours") && !options.has("--check"));
        let wanted = |name| options.wants(subjects::subject(name).unwrap());
        assert!(wanted("ours-redis") && wanted("ideal-redis"));
        assert!(!wanted("actix-redis") && !wanted("ours-memory"));
        for wrong in [&["--only"][..], &["--write"], &["--fast"], &["--check", "--quick"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_peer_may_fail_and_we_may_not() {
        let mut findings = Findings::default();
        assert!(failed(subjects::subject("actix-redis").unwrap(), "why", &mut findings).is_ok());
        assert_eq!(findings.left_out, ["actix-redis: why"]);
        assert!(failed(subjects::subject("ours-redis").unwrap(), "why", &mut findings).is_err());
    }
}
