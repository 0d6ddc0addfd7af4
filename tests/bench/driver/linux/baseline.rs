//! `cargo xtask bench --check`: instructions and allocations against those that were written down.

use super::counts::{self, Job};
use super::figures::{Figures, Metric};
use super::lab::{Lab, Programs};
use super::machine;
use super::subjects::{HELD, subject};
use super::table::{Table, count};
use super::worker::Worker;
use crate::metadata::Workspace;
use crate::{Result, command};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;

const FILE: &str = "tests/bench/baseline.json";

/// How much worse a figure may be before it is an error, and how much better before it should be
/// written down.
const INSTRUCTIONS_PERCENT: f64 = 3.0;
/// Another compiler or C library counts otherwise.
const INSTRUCTIONS_PERCENT_ELSEWHERE: f64 = 15.0;
const ALLOCATIONS: f64 = 0.5;

/// Figures by metric, subject and workload.
type Written = BTreeMap<(String, String, String), f64>;

/// Measures, and compares or writes down.
pub(crate) fn run(write: bool) -> Result {
    counts::need_valgrind()?;
    let workspace = Workspace::read()?;
    let programs = Programs::ours(&workspace.target, "ours")?;
    let now = measure(&Lab::open(programs, &[], &workspace.target.join("bench"))?)?;
    let tools = machine::tools()?;
    let file = command::root().join(FILE);
    if write {
        fs::write(&file, text(&tools, &now)?)?;
        println!("{} figures written down in {FILE}", now.len());
        return Ok(());
    }
    let before: Value = serde_json::from_str(
        &fs::read_to_string(&file).map_err(|error| format!("{FILE}: {error}"))?,
    )?;
    let changed = changed_tools(&before, &tools);
    if !changed.is_empty() {
        println!(
            "written down with other tools, so instructions may differ by {INSTRUCTIONS_PERCENT_ELSEWHERE} %: {}",
            changed.join(", ")
        );
    }
    let percent =
        if changed.is_empty() { INSTRUCTIONS_PERCENT } else { INSTRUCTIONS_PERCENT_ELSEWHERE };
    let before =
        read(&before).ok_or_else(|| format!("{FILE}: not as `--check --write` writes it"))?;
    let verdicts = compare(&before, &now, percent);
    let of = |wanted: Verdict| verdicts.iter().filter(move |(.., verdict)| *verdict == wanted);
    if of(Verdict::Better).next().is_some() {
        println!(
            "better than written down; write it down with `cargo xtask bench --check --write`:\n\n{}",
            table(of(Verdict::Better), percent)
        );
    }
    if of(Verdict::Worse).next().is_some() {
        return Err(
            format!("worse than written down:\n\n{}", table(of(Verdict::Worse), percent)).into()
        );
    }
    println!("{} figures are as written down", of(Verdict::Same).count());
    Ok(())
}

fn measure(lab: &Lab) -> Result<Written> {
    let mut jobs = Vec::new();
    for name in HELD {
        let subject = subject(name).ok_or_else(|| format!("no such subject: {name}"))?;
        let workloads = Worker::start(lab, subject, 1)?.workloads.clone();
        jobs.extend(workloads.into_iter().map(|workload| Job { subject, workload }));
    }
    let mut figures = Figures::default();
    if let Some((subject, why)) = counts::count(lab, &jobs, &mut figures).first() {
        return Err(format!("{}: {why}", subject.name).into());
    }
    let mut now = Written::new();
    for Job { subject, workload } in jobs {
        for metric in [Metric::Instructions, Metric::Allocations] {
            let value =
                figures.value(metric, subject.name, workload).ok_or("a figure is missing")?;
            let key = (metric.name().0.to_owned(), subject.name.to_owned(), workload.to_owned());
            // Instructions are written whole, allocations as finely as they are shown.
            let value = if metric == Metric::Instructions {
                value.round()
            } else {
                (value * 100.0).round() / 100.0
            };
            now.insert(key, value);
        }
    }
    Ok(now)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Worse,
}

/// A figure's key, what was written down, what it is now, and what that means.
type Compared<'a> = (&'a (String, String, String), Option<f64>, Option<f64>, Verdict);

/// Every figure that is on either side. One that is on one side only is worse: it has to be written
/// down.
fn compare<'a>(before: &'a Written, now: &'a Written, percent: f64) -> Vec<Compared<'a>> {
    let mut keys: Vec<_> = before.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    let verdict = |key: &(String, String, String), before: f64, now: f64| {
        let tolerance = tolerance(&key.0, before, percent);
        if now > before + tolerance {
            Verdict::Worse
        } else if now < before - tolerance {
            Verdict::Better
        } else {
            Verdict::Same
        }
    };
    let one = |key| {
        let (before, now) = (before.get(key).copied(), now.get(key).copied());
        let verdict =
            before.zip(now).map_or(Verdict::Worse, |(before, now)| verdict(key, before, now));
        (key, before, now, verdict)
    };
    keys.into_iter().map(one).collect()
}

fn tolerance(metric: &str, before: f64, percent: f64) -> f64 {
    if metric == Metric::Allocations.name().0 { ALLOCATIONS } else { before * percent / 100.0 }
}

fn table<'a>(rows: impl Iterator<Item = &'a Compared<'a>>, percent: f64) -> String {
    let mut table = Table::new(["figure", "written down", "now", "change", "tolerance"]);
    for ((metric, subject, workload), before, now, _) in rows {
        let shown = |value: &Option<f64>| value.map_or_else(|| "missing".to_owned(), count);
        let change = before.zip(*now).map(|(before, now)| {
            if metric == Metric::Allocations.name().0 {
                format!("{:+.2}", now - before)
            } else {
                format!("{:+.1} %", (now / before - 1.0) * 100.0)
            }
        });
        let tolerance = if metric == Metric::Allocations.name().0 {
            format!("{ALLOCATIONS}")
        } else {
            format!("{percent} %")
        };
        table.row([
            format!("{subject} {workload}, {metric}"),
            shown(before),
            shown(now),
            change.unwrap_or_default(),
            tolerance,
        ]);
    }
    table.text()
}

/// The tools that are not those of then, each with both versions.
fn changed_tools(before: &Value, now: &BTreeMap<String, String>) -> Vec<String> {
    let changed = now.iter().filter_map(|(tool, now)| {
        let then = before["tools"][tool].as_str().unwrap_or("none");
        (then != now).then(|| format!("{tool} {then} then, {now} now"))
    });
    changed.collect()
}

/// The file's text: sorted, and a line for each figure, so that a change of one is a change of one
/// line.
fn text(tools: &BTreeMap<String, String>, figures: &Written) -> Result<String> {
    let mut metrics = Map::new();
    for ((metric, subject, workload), value) in figures {
        // By way of its text, which has no decimals where there are none.
        let number: Value = serde_json::from_str(&value.to_string())?;
        metrics.entry(metric).or_insert_with(|| json!({}))[subject][workload] = number;
    }
    let all = json!({"tools": tools, "figures": metrics});
    Ok(format!("{}\n", serde_json::to_string_pretty(&all)?))
}

fn read(file: &Value) -> Option<Written> {
    let mut figures = Written::new();
    for (metric, subjects) in file["figures"].as_object()? {
        for (subject, workloads) in subjects.as_object()? {
            for (workload, value) in workloads.as_object()? {
                figures
                    .insert((metric.clone(), subject.clone(), workload.clone()), value.as_f64()?);
            }
        }
    }
    Some(figures)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn figures(instructions: f64, allocations: f64) -> Written {
        let key = |metric: &str| (metric.to_owned(), "ours-memory".to_owned(), "W3".to_owned());
        Written::from([(key("instructions"), instructions), (key("allocations"), allocations)])
    }

    fn verdicts(before: &Written, now: &Written, percent: f64) -> [Verdict; 2] {
        let compared = compare(before, now, percent);
        [compared[0].3, compared[1].3]
    }

    #[test]
    fn figures_may_move_within_their_tolerance() {
        use Verdict::{Better, Same, Worse};
        let before = figures(10_000.0, 20.0);
        assert_eq!(verdicts(&before, &figures(10_300.0, 20.5), 3.0), [Same, Same]);
        assert_eq!(verdicts(&before, &figures(10_301.0, 20.51), 3.0), [Worse, Worse]);
        assert_eq!(verdicts(&before, &figures(9_699.0, 19.4), 3.0), [Better, Better]);
        assert_eq!(verdicts(&before, &figures(11_400.0, 21.0), 15.0), [Worse, Same]);
    }

    #[test]
    fn a_figure_on_one_side_only_is_an_error() {
        let compared = figures(1.0, 1.0);
        for (before, now) in [(&compared, &Written::new()), (&Written::new(), &compared)] {
            assert_eq!(verdicts(before, now, 3.0), [Verdict::Worse, Verdict::Worse]);
        }
        assert!(table(compare(&compared, &Written::new(), 3.0).iter(), 3.0).contains("missing"));
    }

    #[test]
    fn the_table_says_what_was_is_and_may_be() {
        let (before, now) = (figures(10_000.0, 20.0), figures(10_400.0, 22.0));
        let text = table(compare(&before, &now, 3.0).iter(), 3.0);
        let rows: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(rows[2], "| ours-memory W3, allocations | 20 | 22 | +2.00 | 0.5 |");
        assert_eq!(rows[3], "| ours-memory W3, instructions | 10,000 | 10,400 | +4.0 % | 3 % |");
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_knows_its_tools() {
        let tools = BTreeMap::from([("rustc".to_owned(), "1".to_owned())]);
        let written = text(&tools, &figures(10_000.0, 20.25)).unwrap();
        let file: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read(&file).unwrap(), figures(10_000.0, 20.25));
        assert!(
            written.contains("\n        \"W3\": 10000\n") && written.ends_with("}\n"),
            "{written}"
        );
        assert_eq!(changed_tools(&file, &tools), Vec::<String>::new());
        let others = BTreeMap::from([("rustc".to_owned(), "2".to_owned())]);
        assert_eq!(changed_tools(&file, &others), ["rustc 1 then, 2 now"]);
        assert_eq!(read(&json!({})), None);
    }
}
