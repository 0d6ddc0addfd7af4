//! All that was found, for people in Markdown and for machines in JSON.

use super::counts::CODE;
use super::figures::Figures;
use super::subjects::{ENGINES, Engine, SERVERS, SUBJECTS, Subject, ours_on};
use super::table::{Table, count, number, thousands};
use mocha_session_bench::visitor::Workload;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What one run of the benchmark found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Findings {
    /// The machine, the versions.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) one_task_on_one_core: bool,
    pub(crate) figures: Figures,
    /// How many cores other programs kept busy while times were taken, by engine.
    pub(crate) other_programs_cores: BTreeMap<Engine, f64>,
    pub(crate) growth: Vec<Growth>,
    /// Which subjects are missing, wholly or in part, and why.
    pub(crate) left_out: Vec<String>,
}

/// What happens as there is more of something.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
}

/// What the columns mean, for those who read the tables alone.
const LEGEND: &str = "W1: no cookie, session untouched. W2: cookie, untouched. W3: one value read. \
    W4: a counter read, incremented, written. W5: a new session filled. W5L: the same through a \
    login, indexed by owner. W6: the id rotated. F: a flash message pushed, redirected, read, \
    consumed (two requests).";

/// How much of a core other programs may use without being felt.
const CALM: f64 = 0.1;

/// A metric, its title, its unit, how it is written, and whether its ratio to ours is shown.
pub(crate) type Shown = (&'static str, &'static str, f64, fn(f64) -> String, bool);

#[rustfmt::skip]
pub(crate) const TABLES: &[Shown] = &[
    ("cpu_ns", "CPU per round in one task, µs", 1e3, number, true),
    ("wall_ns", "wall time per round in one task, µs", 1e3, number, true),
    ("instructions", "instructions per round (callgrind hides SHA-NI)", 1.0, thousands, false),
    (CODE, "code that a round runs, KiB (cache lines of 64 bytes)", 1024.0, number, false),
    ("allocations", "allocations per round", 1.0, count, false),
    ("bytes_per_session", "resident memory per session, bytes", 1.0, thousands, false),
    ("round_trips", "round trips to the server per round", 1.0, count, false),
    ("one_p50_ns", "p50 of one task, answers 20 ms later, µs", 1e3, number, true),
    ("many_per_second", "rounds per second of 64 tasks on 2 threads", 1.0, number, true),
    ("many_p50_ns", "p50 of 64 tasks, µs", 1e3, number, false),
    ("many_p99_ns", "p99 of 64 tasks, µs", 1e3, number, false),
    ("many_cpu_ns", "client CPU per round of 64 tasks, µs", 1e3, number, false),
    ("many_server_cpu_ns", "server CPU per round of 64 tasks, µs", 1e3, number, false),
];

impl Findings {
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# What a session costs\n\n");
        for (name, value) in &self.facts {
            _ = writeln!(text, "- {name}: {value}");
        }
        let bound = self.one_task_on_one_core;
        let cores = if bound { "on one core, with its server" } else { "on any core" };
        _ = writeln!(text, "- one task runs: {cores}\n\n{LEGEND}");
        text.extend(ENGINES.map(|engine| self.engine(engine)));
        let mut growth = Table::new(["in memory, without a framework", "figure", "unit"]);
        for Growth { what, value, unit } in &self.growth {
            growth.row([what.as_str(), &number(*value), unit]);
        }
        let left_out = self.left_out.iter().map(|it| format!("- {}", it.replace('\n', " ")));
        let left_out = left_out.collect::<Vec<_>>().join("\n");
        for (title, body) in [("Growth", growth.text()), ("Left out", left_out)] {
            if !body.is_empty() {
                _ = writeln!(text, "\n## {title}\n\n{}", body.trim_end());
            }
        }
        text
    }

    /// Everything about one engine; nothing where none of it was measured.
    fn engine(&self, engine: Engine) -> String {
        let ours = ours_on(engine);
        let has_server = SERVERS.iter().any(|(with_server, _)| *with_server == engine);
        let mut text = String::new();
        for &(metric, title, unit, written, compared) in TABLES {
            let here = |subject: &Subject| subject.engine == engine;
            let table = table(here, |Subject { name, .. }, workload| {
                let value = written(self.figures.value(metric, name, workload)? / unit);
                let ratio = self.figures.ratio(metric, name, &ours, workload);
                match ratio.filter(|_| compared && *name != ours) {
                    Some(ratio) => Some(format!("{value} ({ratio:.2}×)")),
                    None => Some(value),
                }
            });
            // In process nothing waits.
            let waits = has_server || engine == "sqlite";
            if !table.is_empty() && (metric != "wall_ns" || waits) {
                let to_ours = if compared { format!(" (ratio to {ours})") } else { String::new() };
                _ = write!(text, "\n{title}{to_ours}\n\n{table}");
            }
        }
        if text.is_empty() {
            return text;
        }
        if !has_server {
            text.push_str("\nround trips: 0 (in process)\n");
        }
        if let Some(cores) = self.other_programs_cores.get(engine) {
            let so = if *cores > CALM { ": its times are less reliable" } else { "" };
            _ = writeln!(
                text,
                "\nOther programs kept {cores:.2} cores busy while times were taken{so}."
            );
        }
        format!("\n## {engine}\n{text}")
    }
}

/// A row for each of these subjects, a column for each workload; nothing where no cell has anything.
pub(crate) fn table(
    subjects: impl Fn(&Subject) -> bool,
    cell: impl Fn(&'static Subject, Workload) -> Option<String>,
) -> String {
    let titles = Workload::ALL.map(|workload| workload.to_string());
    let mut table = Table::new(["subject"].into_iter().chain(titles.iter().map(String::as_str)));
    for subject in SUBJECTS.iter().filter(|subject| subjects(subject)) {
        let cells = Workload::ALL.map(|workload| cell(subject, workload));
        if cells.iter().any(Option::is_some) {
            let cells = cells.iter().map(|cell| cell.as_deref().unwrap_or_default());
            table.row([subject.name].into_iter().chain(cells));
        }
    }
    table.text()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn findings() -> Findings {
        let mut findings = Findings { one_task_on_one_core: true, ..Findings::default() };
        for (subject, ns) in [("ours-memory", 2_000.0), ("tower-sessions-memory", 9_000.0)] {
            findings.figures.add("cpu_ns", (subject, Workload::W3), ns);
            findings.figures.add("many_per_second", (subject, Workload::W3), 1e9 / ns);
        }
        findings.growth.push(Growth { what: "a".to_owned(), value: 1.0, unit: "b".to_owned() });
        findings.left_out.push("actix-floor: why\nand how".to_owned());
        findings
    }

    #[test]
    fn people_see_a_table_for_each_metric_that_was_measured() {
        let text = findings().markdown();
        let cpu =
            "\n## memory\n\nCPU per round in one task, µs (ratio to ours-memory)\n\n| subject";
        assert!(text.contains(cpu) && text.contains("on one core"), "{text}");
        assert!(text.contains("| tower-sessions-memory | 9.00 (4.50×) |"), "{text}");
        assert!(text.contains("| 111,111 (0.22×) |"), "{text}");
        assert!(!text.contains("## redis") && !text.contains("\nallocations"), "{text}");
        assert!(text.contains("## Growth\n\n| in memory"), "{text}");
        assert!(text.contains("- actix-floor: why and how") && text.contains("0 (in process)"));
    }

    #[test]
    fn machines_get_everything() {
        let json = serde_json::to_value(findings()).unwrap();
        assert_eq!(json["growth"][0]["value"], 1.0);
        assert_eq!(json["figures"]["cpu_ns"]["ours-memory"]["W3"][0], 2_000.0);
        assert_eq!(json["figures"].as_object().map(serde_json::Map::len), Some(2));
    }
}
