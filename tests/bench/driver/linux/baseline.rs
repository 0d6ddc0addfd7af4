//! `cargo xtask bench --check`: instructions and allocations against those that were written down.

use super::Result;
use super::counts::{self, need_valgrind};
use super::figures::Figures;
use super::lab::Lab;
use super::machine;
use super::subjects::{HELD, subject};
use super::table::{Table, count};
use super::worker::Worker;
use mocha_session_servers::command;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const FILE: &str = "tests/bench/baseline.json";

/// How much worse a figure may be before it is an error, and how much better before it should be
/// written down.
const INSTRUCTIONS_PERCENT: f64 = 3.0;
/// Another compiler or C library counts otherwise.
const INSTRUCTIONS_PERCENT_ELSEWHERE: f64 = 15.0;
const ALLOCATIONS: f64 = 0.5;

type Map<T> = BTreeMap<String, T>;

/// The file: sorted, and a line for each figure, so that a change of one is a change of one line.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Baseline {
    /// By metric, subject and workload.
    figures: Map<Map<Map<Number>>>,
    /// What counted, each with its version.
    tools: Map<String>,
}

impl Baseline {
    fn add(&mut self, metric: &str, subject: &str, workload: &str, value: f64) {
        // Without decimals where there are none.
        let Ok(value) = value.to_string().parse() else { return };
        let subjects = self.figures.entry(metric.to_owned()).or_default();
        subjects.entry(subject.to_owned()).or_default().insert(workload.to_owned(), value);
    }

    /// Every figure under what it is called in a table.
    fn flat(&self) -> Map<f64> {
        let mut flat = Map::new();
        for (metric, subjects) in &self.figures {
            for (subject, workloads) in subjects {
                let name = |workload: &String| format!("{subject} {workload}, {metric}");
                let figures = workloads.iter().map(|(on, value)| Some((name(on), value.as_f64()?)));
                flat.extend(figures.flatten());
            }
        }
        flat
    }

    /// The tools that are not those of now, each with both versions.
    fn changed_tools(&self, now: &Map<String>) -> Vec<String> {
        let changed = now.iter().filter_map(|(tool, now)| {
            let then = self.tools.get(tool).map_or("none", String::as_str);
            (then != now).then(|| format!("{tool} {then} then, {now} now"))
        });
        changed.collect()
    }
}

/// Measures, and compares or writes down.
pub(crate) fn run(write: bool) -> Result {
    need_valgrind()?;
    let now = Baseline { tools: machine::tools()?, ..measure(&Lab::open(false, &[])?)? };
    let file = command::root().join(FILE);
    if write {
        fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&now)?))?;
        println!("{} figures written down in {FILE}", now.flat().len());
        return Ok(());
    }
    let text = fs::read_to_string(&file).map_err(|error| format!("{FILE}: {error}"))?;
    let before: Baseline = serde_json::from_str(&text)
        .map_err(|error| format!("{FILE}: not as `--check --write` writes it: {error}"))?;
    let changed = before.changed_tools(&now.tools).join(", ");
    let mut percent = INSTRUCTIONS_PERCENT;
    if !changed.is_empty() {
        percent = INSTRUCTIONS_PERCENT_ELSEWHERE;
        println!(
            "written down with other tools, so instructions may differ by {percent} %: {changed}"
        );
    }
    let compared = compare(&before, &now, percent);
    let of = |wanted| compared.iter().filter(move |it| it.verdict == wanted);
    let better = table(of(Verdict::Better));
    if !better.is_empty() {
        println!(
            "better than written down; write it down with `cargo xtask bench --check --write`:\n\n{better}"
        );
    }
    let worse = table(of(Verdict::Worse));
    if !worse.is_empty() {
        return Err(format!("worse than written down:\n\n{worse}").into());
    }
    println!("{} figures are as written down", of(Verdict::Same).count());
    Ok(())
}

fn measure(lab: &Lab) -> Result<Baseline> {
    let mut rows = Vec::new();
    for name in HELD {
        let subject = subject(name).ok_or_else(|| format!("no such subject: {name}"))?;
        let workloads = Worker::start(lab, subject, 1)?.workloads.clone();
        rows.extend(workloads.into_iter().map(|workload| (subject.name, workload)));
    }
    let mut figures = Figures::default();
    if let Some((subject, why)) = counts::count(lab, &rows, &mut figures).first() {
        return Err(format!("{}: {why}", subject.name).into());
    }
    let mut now = Baseline::default();
    for (subject, workload) in rows {
        // Instructions are written whole, allocations as finely as they are shown.
        for (metric, fine) in [("instructions", 1.0), ("allocations", 100.0)] {
            let value = figures.value(metric, subject, workload).ok_or("a figure is missing")?;
            let value = (value * fine).round() / fine;
            now.add(metric, subject, &workload.to_string(), value);
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

struct Compared {
    /// Its name, what was written down, what it is now, the change and the tolerance.
    shown: [String; 5],
    verdict: Verdict,
}

/// Every figure that is on either side. One that is on one side only is worse: it has to be written
/// down.
fn compare(before: &Baseline, now: &Baseline, percent: f64) -> Vec<Compared> {
    let (before, now) = (before.flat(), now.flat());
    let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let compared = |name: &String| {
        let (before, now) = (before.get(name).copied(), now.get(name).copied());
        let (mut verdict, mut change) = (Verdict::Worse, String::new());
        let counted = name.ends_with("allocations");
        if let Some((before, now)) = before.zip(now) {
            let tolerance = if counted { ALLOCATIONS } else { before * percent / 100.0 };
            verdict = match now - before {
                more if more > tolerance => Verdict::Worse,
                less if less < -tolerance => Verdict::Better,
                _ => Verdict::Same,
            };
            change = if counted {
                format!("{:+.2}", now - before)
            } else {
                format!("{:+.1} %", (now / before - 1.0) * 100.0)
            };
        }
        let value = |value: Option<f64>| value.map_or_else(|| "missing".to_owned(), count);
        let tolerance = if counted { ALLOCATIONS.to_string() } else { format!("{percent} %") };
        Compared { shown: [name.clone(), value(before), value(now), change, tolerance], verdict }
    };
    names.into_iter().map(compared).collect()
}

fn table<'a>(rows: impl Iterator<Item = &'a Compared>) -> String {
    let mut table = Table::new(["figure", "written down", "now", "change", "tolerance"]);
    rows.for_each(|row| table.row(row.shown.iter().map(String::as_str)));
    table.text()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn figures(instructions: f64, allocations: f64) -> Baseline {
        let mut baseline = Baseline::default();
        baseline.add("instructions", "ours-memory", "W3", instructions);
        baseline.add("allocations", "ours-memory", "W3", allocations);
        baseline
    }

    fn verdicts(before: &Baseline, now: &Baseline, percent: f64) -> Vec<Verdict> {
        // Allocations first.
        compare(before, now, percent).iter().map(|it| it.verdict).collect()
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
        let (some, none) = (figures(1.0, 1.0), Baseline::default());
        for (before, now) in [(&some, &none), (&none, &some)] {
            assert_eq!(verdicts(before, now, 3.0), [Verdict::Worse, Verdict::Worse]);
        }
        assert!(table(compare(&some, &none, 3.0).iter()).contains("missing"));
    }

    #[test]
    fn the_table_says_what_was_is_and_may_be() {
        let (before, now) = (figures(10_000.0, 20.0), figures(10_400.0, 22.0));
        let text = table(compare(&before, &now, 3.0).iter());
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let rows: Vec<String> = text.lines().map(words).collect();
        assert_eq!(rows[2], "| ours-memory W3, allocations | 20 | 22 | +2.00 | 0.5 |");
        assert_eq!(rows[3], "| ours-memory W3, instructions | 10,000 | 10,400 | +4.0 % | 3 % |");
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_knows_its_tools() {
        let tools = |version: &str| Map::from([("rustc".to_owned(), version.to_owned())]);
        let written = Baseline { tools: tools("1"), ..figures(10_000.0, 20.25) };
        let text = serde_json::to_string_pretty(&written).unwrap();
        assert!(text.contains("\n        \"W3\": 10000\n"), "{text}");
        assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), written);
        assert_eq!(written.changed_tools(&tools("1")), Vec::<String>::new());
        assert_eq!(written.changed_tools(&tools("2")), ["rustc 1 then, 2 now"]);
        assert!(serde_json::from_str::<Baseline>("{}").is_err());
    }
}
