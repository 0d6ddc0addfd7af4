//! `cargo xtask bench --summary`: the least and the greatest of each ratio in several runs, and the
//! goals.

use super::Result;
use super::figures::Figures;
use super::report::{TABLES, table};
use super::subjects::{Subject, ours_beside};
use super::table::{Table, number};
use mocha_session_bench::visitor::Workload::{self, W3, W4, W5, W6};
use serde::Deserialize;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// The part of a run's file that a summary reads.
#[derive(Debug, Deserialize)]
struct Run {
    facts: Vec<(String, String)>,
    figures: Figures,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    Least(f64),
    Most(f64),
}
use Bound::{Least, Most};

/// A metric, its subject, the subject that it is divided by (none if empty), the workloads, and the
/// bound.
type Goal = (&'static str, &'static str, &'static str, &'static [Workload], Bound);

#[rustfmt::skip]
const GOALS: &[Goal] = &[
    ("cpu_ns", "tower-sessions-memory", "ours-memory", &[W3, W4], Least(1.4)),
    ("cpu_ns", "tower-sessions-memory", "ours-memory", &[W5], Least(1.6)),
    ("cpu_ns", "tower-sessions-memory", "ours-memory", &[W6], Least(1.1)),
    ("many_per_second", "ours-memory", "ideal-memory", &[W3], Least(0.6)),
    ("many_per_second", "ours-memory", "ideal-memory", &[W4], Least(0.5)),
    ("cpu_ns", "actix-redis", "ours-actix-redis", &[W3, W4, W5, W6], Least(1.05)),
    ("many_cpu_ns", "actix-redis", "ours-actix-redis", &[W3, W4, W5], Least(1.05)),
    ("many_per_second", "ours-actix-redis", "actix-redis", &[W4], Least(1.0)),
    ("many_per_second", "ours-actix-valkey", "actix-valkey", &[W4], Least(1.1)),
    ("many_server_cpu_ns", "ours-valkey", "ideal-valkey", &[W4], Most(1.4)),
    ("cpu_ns", "ours-near-redis", "beside-redis-memory", &[W3], Most(1.3)),
    ("round_trips", "ours-near-redis", "", &[W3], Most(0.0)),
    ("one_p50_ns", "ours-near-s3", "", &[W3], Most(50.0)),
    ("cpu_ns", "tower-sessions-sqlite", "ours-sqlite", &[W4], Least(1.6)),
    ("cpu_ns", "tower-sessions-postgres", "ours-postgres", &[W3, W4, W5, W6], Least(1.6)),
];

/// Reads the runs and prints the summary.
pub(crate) fn run(files: &[PathBuf]) -> Result {
    let read = |file: &PathBuf| -> Result<Run> {
        let read = fs::read_to_string(file).map_err(|error| error.to_string());
        let run = read.and_then(|text| {
            serde_json::from_str(&text).map_err(|error| format!("not the JSON of a run: {error}"))
        });
        Ok(run.map_err(|error| format!("{}: {error}", file.display()))?)
    };
    println!("{}", markdown(&files.iter().map(read).collect::<Result<Vec<_>>>()?));
    Ok(())
}

fn markdown(runs: &[Run]) -> String {
    let mut text = format!("# The least and the greatest of {} runs\n\n", runs.len());
    for (name, _) in runs.first().map_or(&[][..], |run| &run.facts) {
        let facts = runs.iter().flat_map(|run| &run.facts).filter(|(other, _)| other == name);
        let mut values: Vec<_> = facts.map(|(_, value)| value.as_str()).collect();
        values.dedup();
        _ = writeln!(text, "- {name}: {}", values.join("; "));
    }
    _ = write!(text, "\n## Goals\n\n{}", goals(runs));
    for (metric, title, inverse) in [
        ("cpu_ns", "Processor time in one task: others / ours", false),
        ("many_per_second", "Rounds per second of 64 tasks: ours / others", true),
    ] {
        _ = write!(text, "\n## {title}\n\n{}", others(runs, metric, inverse));
    }
    text
}

/// The least and the greatest of a figure; `None` if it is missing in a run.
fn range(runs: &[Run], figure: impl Fn(&Figures) -> Option<f64>) -> Option<(f64, f64)> {
    let values = runs.iter().map(|run| figure(&run.figures)).collect::<Option<Vec<_>>>()?;
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    Some((least, values.into_iter().max_by(f64::total_cmp)?))
}

fn goals(runs: &[Run]) -> String {
    let mut table = Table::new(["goal", "bound", "least", "greatest", "met"]);
    for &(metric, of, to, workloads, bound) in GOALS {
        let shown = TABLES.iter().find(|(name, ..)| *name == metric);
        let (title, unit) = shown.map_or((metric, 1.0), |(_, title, unit, ..)| (*title, *unit));
        for &workload in workloads {
            let of_run = |figures: &Figures| match to {
                "" => Some(figures.value(metric, of, workload)? / unit),
                _ => figures.ratio(metric, of, to, workload),
            };
            let Some((least, greatest)) = range(runs, of_run) else { continue };
            let (bound, met) = match bound {
                Least(bound) => (format!("≥ {}", number(bound)), least >= bound),
                Most(bound) => (format!("≤ {}", number(bound)), greatest <= bound),
            };
            let goal = if to.is_empty() {
                format!("{of} {workload}, {title}")
            } else {
                // A ratio has no unit.
                let title = title.strip_suffix(", µs").unwrap_or(title);
                format!("{of} / {to} {workload}, {title}")
            };
            let met = if met { "met" } else { "NOT MET" };
            table.row([goal.as_str(), &bound, &number(least), &number(greatest), met]);
        }
    }
    table.text()
}

/// The ratios of the other libraries and of the ideal. More is better for ours.
fn others(runs: &[Run], metric: &str, inverse: bool) -> String {
    let compared = |subject: &Subject| subject.theirs || subject.name.starts_with("ideal-");
    table(compared, |other, workload| {
        let ours = ours_beside(other);
        let (of, to) = if inverse { (&*ours, other.name) } else { (other.name, &*ours) };
        let (least, greatest) = range(runs, |it| it.ratio(metric, of, to, workload))?;
        Some(format!("{} to {}", number(least), number(greatest)))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::subjects::subject;
    use super::*;

    fn run(time: &str, theirs: f64) -> Run {
        let mut figures = Figures::default();
        for (name, ns) in [("ours-memory", 1_000.0), ("tower-sessions-memory", theirs)] {
            figures.add("cpu_ns", (name, W3), ns);
            figures.add("many_per_second", (name, W3), 1e9 / ns);
        }
        figures.add("one_p50_ns", ("ours-near-s3", W3), 40_000.0);
        let facts = [("time", time), ("machine", "one")];
        let facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Run { facts, figures }
    }

    #[test]
    fn a_ratio_has_its_least_and_its_greatest_and_the_worse_one_decides() {
        let text = markdown(&[run("10:00", 1_300.0), run("11:00", 1_500.0)]);
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for line in [
            "- time: 10:00; 11:00",
            "- machine: one",
            "| tower-sessions-memory / ours-memory W3, CPU per round in one task | ≥ 1.40 | 1.30 | 1.50 | NOT MET |",
            "| ours-near-s3 W3, p50 of one task, answers 20 ms later, µs | ≤ 50.0 | 40.0 | 40.0 | met |",
            "| tower-sessions-memory | 1.30 to 1.50 |",
        ] {
            assert!(lines.iter().any(|it| it == line), "{line}\n{text}");
        }
        assert_eq!(lines.iter().filter(|it| it.ends_with("| 1.30 to 1.50 |")).count(), 2);
    }

    #[test]
    fn a_figure_that_one_run_lacks_is_left_out() {
        let mut without = run("11:00", 1_500.0);
        without.figures = Figures::default();
        assert!(!markdown(&[run("10:00", 1_300.0), without]).contains("1.30"));
    }

    #[test]
    fn every_goal_names_subjects_and_a_metric_that_is_shown() {
        for (metric, of, to, ..) in GOALS {
            assert!(subject(of).is_some() && (to.is_empty() || subject(to).is_some()), "{of} {to}");
            assert!(TABLES.iter().any(|(name, ..)| name == metric), "{metric}");
        }
    }
}
