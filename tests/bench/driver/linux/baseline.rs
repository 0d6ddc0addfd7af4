//! `cargo xtask bench --check`: instructions, allocations and round trips against those that were
//! written down.

use super::Result;
use super::counts;
use super::figures::Figures;
use super::lab::Lab;
use super::machine;
use super::subjects::{HELD, HELD_TRIPS, subject};
use super::table::{Table, count};
use super::times;
use mocha_session_servers::command;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const FILE: &str = "tests/bench/baseline.json";

/// How much worse a figure may be before it is an error, and how much better before it should be
/// written down.
const INSTRUCTIONS_PERCENT: f64 = 3.0;
/// Another compiler or C library counts otherwise.
const INSTRUCTIONS_PERCENT_ELSEWHERE: f64 = 15.0;
const ALLOCATIONS: f64 = 0.5;
/// One that happens once in a while, such as a ping, is less than this of a round.
const ROUND_TRIPS: f64 = 0.1;

/// The file: sorted, and a line for each figure, so that a change of one is a change of one line.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Baseline {
    /// By subject, workload and metric.
    figures: BTreeMap<String, f64>,
    /// What counted, each with its version.
    tools: BTreeMap<String, String>,
}

impl Baseline {
    /// The tools that are not those of now, each with both versions.
    fn changed_tools(&self, now: &BTreeMap<String, String>) -> Vec<String> {
        let changed = now.iter().filter_map(|(tool, now)| {
            let then = self.tools.get(tool).map_or("none", String::as_str);
            (then != now).then(|| format!("{tool} {then} then, {now} now"))
        });
        changed.collect()
    }
}

/// Measures, and compares or writes down.
pub(crate) fn run(write: bool) -> Result {
    counts::need_valgrind()?;
    let lab = Lab::open(false, &["redis"])?;
    let measured = measure(&lab);
    lab.close()?;
    let now = Baseline { tools: machine::tools()?, figures: measured? };
    let file = command::root().join(FILE);
    if write {
        fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&now)?))?;
        println!("{} figures written down in {FILE}", now.figures.len());
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
    let compared = compare(&before.figures, &now.figures, percent);
    let better = table(&compared, Verdict::Better);
    if !better.is_empty() {
        println!(
            "better than written down; write it down with `cargo xtask bench --check --write`:\n\n{better}"
        );
    }
    let worse = table(&compared, Verdict::Worse);
    if !worse.is_empty() {
        return Err(format!("worse than written down:\n\n{worse}").into());
    }
    println!("{} figures are within their tolerance", compared.len());
    Ok(())
}

fn measure(lab: &Lab) -> Result<BTreeMap<String, f64>> {
    let mut figures = Figures::default();
    let subjects: Vec<_> = HELD.into_iter().filter_map(subject).collect();
    for subject in HELD_TRIPS.into_iter().filter_map(subject) {
        times::trips(lab, subject, &mut figures)?;
    }
    if let Some((subject, why)) = counts::count(lab, &subjects, &mut figures).first() {
        return Err(format!("{}: {why}", subject.name).into());
    }
    // Which lines code is in changes with every link.
    let held = figures.named().filter(|(name, _)| !name.ends_with(counts::CODE));
    // As finely as they are shown.
    Ok(held.map(|(name, value)| (name, (value * 100.0).round() / 100.0)).collect())
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    #[default]
    Worse,
}

/// A figure's name, what was written down, what it is now, the change and the tolerance.
type Compared = (Verdict, [String; 5]);

/// Every figure that is on either side. One that is on one side only is worse: it has to be written
/// down.
fn compare(
    before: &BTreeMap<String, f64>,
    now: &BTreeMap<String, f64>,
    percent: f64,
) -> Vec<Compared> {
    let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let compared = |name: &String| {
        let (before, now) = (before.get(name).copied(), now.get(name).copied());
        let counted = [("allocations", ALLOCATIONS), ("round_trips", ROUND_TRIPS)]
            .into_iter()
            .find_map(|(metric, tolerance)| name.ends_with(metric).then_some(tolerance));
        let (verdict, change) = before.zip(now).map_or_else(Default::default, |(before, now)| {
            let tolerance = counted.unwrap_or(before * percent / 100.0);
            let verdict = match now - before {
                more if more > tolerance => Verdict::Worse,
                less if less < -tolerance => Verdict::Better,
                _ => Verdict::Same,
            };
            let percent = (now / before - 1.0) * 100.0;
            let change = format!("{:+.2}", now - before);
            (verdict, if counted.is_some() { change } else { format!("{percent:+.1} %") })
        });
        let value = |value: Option<f64>| value.map_or_else(|| "missing".to_owned(), count);
        let tolerance = counted.map_or_else(|| format!("{percent} %"), |it| it.to_string());
        (verdict, [name.clone(), value(before), value(now), change, tolerance])
    };
    names.into_iter().map(compared).collect()
}

/// Those with this verdict; nothing where there are none.
fn table(compared: &[Compared], wanted: Verdict) -> String {
    let mut table = Table::new(["figure", "written down", "now", "change", "tolerance"]);
    let rows = compared.iter().filter(|(verdict, _)| *verdict == wanted);
    rows.for_each(|(_, shown)| table.row(shown.iter().map(String::as_str)));
    table.text()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use Verdict::{Better, Same, Worse};

    fn figures(instructions: f64, allocations: f64) -> BTreeMap<String, f64> {
        let of = |metric| format!("ours-memory W3, {metric}");
        [(of("instructions"), instructions), (of("allocations"), allocations)].into()
    }

    /// Of the allocations first.
    fn verdicts(compared: &[Compared]) -> Vec<Verdict> {
        compared.iter().map(|(verdict, _)| *verdict).collect()
    }

    #[test]
    fn figures_may_move_within_their_tolerance() {
        let before = figures(10_000.0, 20.0);
        for (now, percent, expected) in [
            (figures(10_300.0, 20.5), 3.0, [Same, Same]),
            (figures(10_301.0, 20.51), 3.0, [Worse, Worse]),
            (figures(9_699.0, 19.4), 3.0, [Better, Better]),
            (figures(11_400.0, 21.0), 15.0, [Worse, Same]),
        ] {
            assert_eq!(verdicts(&compare(&before, &now, percent)), expected, "{now:?}");
        }
    }

    #[test]
    fn one_more_round_trip_is_an_error_and_a_ping_now_and_then_is_not() {
        let trips = |value| BTreeMap::from([("ours-redis W3, round_trips".to_owned(), value)]);
        for (before, now, expected) in [(1.0, 2.0, Worse), (1.0, 1.02, Same), (0.0, 1.0, Worse)] {
            assert_eq!(verdicts(&compare(&trips(before), &trips(now), 3.0)), [expected]);
        }
    }

    #[test]
    fn a_figure_on_one_side_only_is_an_error() {
        let (some, none) = (figures(1.0, 1.0), BTreeMap::new());
        for (before, now) in [(&some, &none), (&none, &some)] {
            assert_eq!(verdicts(&compare(before, now, 3.0)), [Worse, Worse]);
        }
        assert!(table(&compare(&some, &none, 3.0), Worse).contains("missing"));
    }

    #[test]
    fn the_table_says_what_was_is_and_may_be() {
        let compared = compare(&figures(10_000.0, 20.0), &figures(10_400.0, 22.0), 3.0);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let rows: Vec<String> = table(&compared, Worse).lines().map(words).collect();
        assert_eq!(rows[2], "| ours-memory W3, allocations | 20 | 22 | +2.00 | 0.5 |");
        assert_eq!(rows[3], "| ours-memory W3, instructions | 10,000 | 10,400 | +4.0 % | 3 % |");
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_knows_its_tools() {
        let tools = |version: &str| BTreeMap::from([("rustc".to_owned(), version.to_owned())]);
        let written = Baseline { tools: tools("1"), figures: figures(10_000.0, 20.25) };
        let text = serde_json::to_string_pretty(&written).unwrap();
        assert!(text.contains("\n    \"ours-memory W3, allocations\": 20.25,\n"), "{text}");
        assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), written);
        assert_eq!(written.changed_tools(&tools("1")), Vec::<String>::new());
        assert_eq!(written.changed_tools(&tools("2")), ["rustc 1 then, 2 now"]);
        assert!(serde_json::from_str::<Baseline>("{}").is_err());
    }
}
