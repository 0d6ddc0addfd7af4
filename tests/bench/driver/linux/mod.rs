//! `cargo xtask bench`: what a session costs, in this library and beside others.
//!
//! Subjects run in processes of their own, built from tests/bench and tests/bench-peers; see there
//! for what they do. This part starts servers and processes, has subjects measured in turn, and
//! shows what came of it.

mod baseline;
mod core;
mod counts;
mod figures;
mod goals;
mod lab;
mod machine;
mod proxy;
mod report;
mod server;
mod subjects;
mod table;
mod times;
mod worker;

use crate::metadata::Workspace;
use crate::{Result, command};
use counts::Job;
use figures::Metric;
use lab::{Lab, Programs};
use report::Findings;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use subjects::{Engine, GROUPS, Group, Program, Subject};
use worker::Worker;

/// How often and for how long everything is measured.
struct Plan {
    /// Rounds in one task: each process lives for some, and how long one takes.
    lives: u32,
    rounds: u32,
    single_ms: u64,
    /// The same for many tasks.
    many_lives: u32,
    many_rounds: u32,
    many_ms: u64,
    many_workloads: &'static [&'static str],
    heap_sessions: u64,
    benchmark_requests: u64,
}

const WHOLE: Plan = Plan {
    lives: 3,
    rounds: 5,
    single_ms: 100,
    many_lives: 2,
    many_rounds: 3,
    many_ms: 800,
    many_workloads: &["W3", "W4", "W5"],
    heap_sessions: 200_000,
    benchmark_requests: 300_000,
};

const QUICK: Plan = Plan {
    lives: 1,
    rounds: 3,
    single_ms: 50,
    many_lives: 1,
    many_rounds: 3,
    many_ms: 400,
    many_workloads: &["W3", "W4"],
    heap_sessions: 50_000,
    benchmark_requests: 100_000,
};

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    quick: bool,
    ours: bool,
    check: bool,
    write: bool,
    unbound: bool,
    only: Option<String>,
}

impl Options {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--quick" => options.quick = true,
                "--ours" => options.ours = true,
                "--check" => options.check = true,
                "--unbound" => options.unbound = true,
                "--write" => options.write = true,
                "--only" => {
                    let substring = args.next().ok_or("--only wants a part of a subject's name")?;
                    options.only = Some((*substring).to_owned());
                }
                other => {
                    return Err(
                        format!("bench does not know `{other}`; see `cargo xtask help`").into()
                    );
                }
            }
        }
        if options.write && !options.check {
            return Err("--write goes with --check".into());
        }
        if options.check && (options.quick || options.only.is_some()) {
            return Err("--check measures the same always: without --quick and --only".into());
        }
        Ok(options)
    }

    fn wants(&self, subject: &Subject) -> bool {
        let named = self.only.as_ref().is_none_or(|part| subject.name.contains(part.as_str()));
        named && !(self.ours && subject.program == Program::Peers)
    }
}

/// Builds, measures, shows.
pub(crate) fn run(args: &[&str]) -> Result {
    let options = Options::parse(args)?;
    if options.check {
        return baseline::run(options.write);
    }
    let wanted: Vec<&'static Subject> = GROUPS
        .iter()
        .flat_map(|group| group.subjects)
        .filter(|subject| options.wants(subject))
        .collect();
    if wanted.is_empty() {
        return Err("no subject has such a name".into());
    }
    counts::need_valgrind()?;
    let target = Workspace::read()?.target;
    // Built first: a mistake that does not compile needs no servers.
    let with_peers = wanted.iter().any(|subject| subject.program == Program::Peers);
    let programs =
        if with_peers { Programs::all(&target)? } else { Programs::ours(&target, "engines")? };
    let mut engines: Vec<Engine> = wanted.iter().map(|subject| subject.engine).collect();
    engines.sort();
    engines.dedup();
    let folder = target.join("bench");
    let lab = Lab::open(programs, &engines, &folder)?;
    let findings = Run {
        lab: &lab,
        plan: if options.quick { &QUICK } else { &WHOLE },
        quick: options.quick,
        bind: !options.unbound,
    }
    .all(&wanted, &engines);
    lab.close()?;
    let findings = findings?;
    let text = findings.markdown();
    fs::write(folder.join("results.md"), &text)?;
    fs::write(folder.join("results.json"), serde_json::to_string_pretty(&findings.json())?)?;
    println!("\n{text}");
    println!("\nalso in {0}/results.md, and every round in {0}/results.json", folder.display());
    Ok(())
}

struct Run<'a> {
    lab: &'a Lab,
    plan: &'a Plan,
    quick: bool,
    /// Whether what runs in one task runs on one core.
    bind: bool,
}

impl Run<'_> {
    fn all(&self, wanted: &[&'static Subject], engines: &[Engine]) -> Result<Findings> {
        let mut findings = Findings { bound: self.bind, ..Findings::default() };
        let servers: Vec<&str> =
            engines.iter().filter_map(|engine| engine.service()).map(|(name, _)| name).collect();
        let with_peers = wanted.iter().any(|subject| subject.program == Program::Peers);
        findings.facts = machine::facts(with_peers, &servers);
        for group in GROUPS {
            let subjects: Vec<_> =
                group.subjects.iter().filter(|subject| wanted.contains(subject)).collect();
            if !subjects.is_empty() {
                let begun = Instant::now();
                self.group(group, &subjects, &mut findings)?;
                eprintln!("{} measured in {:.0} s", group.name, begun.elapsed().as_secs_f32());
            }
        }
        if wanted.iter().any(|subject| subject.program == Program::Ours) {
            self.growth(&mut findings)?;
        }
        Ok(findings)
    }

    fn group(
        &self,
        group: &Group,
        subjects: &[&'static Subject],
        findings: &mut Findings,
    ) -> Result {
        let (mut ready, mut jobs) = (Vec::new(), Vec::new());
        for &subject in subjects {
            if !self.lab.has(subject) {
                findings
                    .left_out
                    .push(format!("{}: its server cannot be started here", subject.name));
                continue;
            }
            match Worker::start(self.lab, subject, 1) {
                Ok(worker) => {
                    ready.push(subject);
                    jobs.extend(worker.workloads.iter().map(|&workload| Job { subject, workload }));
                }
                Err(error) => failed(subject, &error.to_string(), findings)?,
            }
        }
        let figures = &mut findings.figures;
        let others = Others::watch()?;
        let mut errors = times::single(self.lab, &ready, self.plan, self.bind, figures)?;
        errors.extend(times::many(self.lab, &ready, self.plan, figures));
        findings.others.insert(group.name, others.cores()?);
        errors.extend(times::trips(self.lab, &ready, figures, &mut findings.commands));
        errors.extend(counts::count(self.lab, &jobs, figures));
        for &subject in ready.iter().filter(|subject| subject.has_heap()) {
            match counts::heap(self.lab, subject, self.plan.heap_sessions) {
                Ok(bytes) => figures.add(Metric::Heap, subject.name, "W5", bytes),
                Err(error) => errors.push((subject, format!("heap: {error}"))),
            }
        }
        for (subject, why) in errors {
            failed(subject, &why, findings)?;
        }
        if group.engine == Engine::Redis
            && let Some(server) = self.lab.server(Engine::Redis)
        {
            match server::redis_benchmark(server.port, self.plan.benchmark_requests) {
                Ok(limits) => findings.limits = limits,
                Err(error) => findings.left_out.push(format!("redis-benchmark: {error}")),
            }
        }
        Ok(())
    }

    /// What happens as there is more of something, where this library's program measures that.
    fn growth(&self, findings: &mut Findings) -> Result {
        let mut scale: Command = self.lab.program(Program::Ours)?;
        scale.arg("scale").args(self.quick.then_some("--quick")).stdin(Stdio::null());
        let output = scale.output()?;
        if output.status.success() {
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            findings.growth = lines.lines().map(str::to_owned).collect();
        } else {
            let says = String::from_utf8_lossy(&output.stderr).into_owned();
            findings.left_out.push(format!("growth: {}", command::tail(&says, 3)));
        }
        Ok(())
    }
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
    if subject.program == Program::Ours {
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
        assert!(options.quick && options.ours && !options.check);
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
