//! All that was found, for people in Markdown and for machines in JSON.

use super::figures::{Figures, Row};
use super::goals;
use super::subjects::{Engine, LEGEND};
use super::table::{Table, count, number, thousands};
use mocha_session_bench::visitor::Workload;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What one run of the benchmark found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The machine, the versions.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Whether what runs in one task ran on one core.
    pub(crate) bound: bool,
    pub(crate) figures: Figures,
    /// Commands that Redis ran for one round, by name, those that a script calls among them.
    pub(crate) commands: BTreeMap<Row, BTreeMap<String, f64>>,
    /// How many cores other programs kept busy while times were taken, by engine.
    pub(crate) others: BTreeMap<&'static str, f64>,
    /// What happens as there is more of something: `what`, `value` and `unit`.
    pub(crate) growth: Vec<Value>,
    /// Which subjects are missing, wholly or in part, and why.
    pub(crate) left_out: Vec<String>,
}

/// How much of a core other programs may use without being felt.
const CALM: f64 = 0.1;

/// A metric, its title, its unit, how it is written, and whether its ratio to ours is shown.
type Shown = (&'static str, &'static str, f64, fn(f64) -> String, bool);

const TABLES: &[Shown] = &[
    ("cpu_ns", "CPU per round in one task, µs", 1e3, number, true),
    ("wall_ns", "wall time per round in one task, µs", 1e3, number, true),
    (
        "instructions",
        "instructions per round (callgrind, which hides SHA-NI)",
        1.0,
        thousands,
        false,
    ),
    ("allocations", "allocations per round", 1.0, count, false),
    ("bytes_per_session", "heap per session, bytes", 1.0, thousands, false),
    ("round_trips", "round trips to the server per round", 1.0, count, false),
    ("many_per_second", "rounds per second of 64 tasks on 2 threads", 1.0, number, true),
    ("many_p50_ns", "p50 of 64 tasks, µs", 1e3, number, false),
    ("many_p99_ns", "p99 of 64 tasks, µs", 1e3, number, false),
    ("many_cpu_ns", "client CPU per round of 64 tasks, µs", 1e3, number, false),
    ("many_server_cpu_ns", "server CPU per round of 64 tasks, µs", 1e3, number, false),
];

/// What a metric is called.
pub(crate) fn title(metric: &'static str) -> &'static str {
    TABLES.iter().find(|(name, ..)| *name == metric).map_or(metric, |(_, title, ..)| title)
}

impl Findings {
    pub(crate) fn json(&self) -> Value {
        let commands = self.commands.iter().map(|((subject, workload), ran)| {
            json!({"subject": subject, "workload": workload, "per_round": ran})
        });
        json!({
            "facts": self.facts.iter().cloned().collect::<BTreeMap<_, _>>(),
            "figures": self.figures.json(),
            "redis_commands": commands.collect::<Value>(),
            "one_task_on_one_core": self.bound,
            "other_programs_cores": self.others,
            "growth": self.growth,
            "goals": goals::all(&self.figures),
            "left_out": self.left_out,
        })
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# What a session costs\n\n");
        for (name, value) in &self.facts {
            _ = writeln!(text, "- {name}: {value}");
        }
        let cores = if self.bound { "on one core, with its server" } else { "on any core" };
        _ = writeln!(text, "- one task runs: {cores}\n\n{LEGEND}");
        text.extend(Engine::ALL.map(|engine| self.engine(engine)));
        let mut growth = Table::new(["in memory, without a framework", "figure", "unit"]);
        for line in &self.growth {
            let word = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
            let value = line["value"].as_f64().map(number).unwrap_or_default();
            growth.row([word("what"), value, word("unit")].iter().map(String::as_str));
        }
        let left_out = self.left_out.iter().map(|it| format!("- {}", it.replace('\n', " ")));
        for (title, body) in [
            ("Growth", growth.text()),
            ("Goals", goals::text(&goals::all(&self.figures))),
            ("Left out", left_out.collect::<Vec<_>>().join("\n")),
        ] {
            if !body.is_empty() {
                _ = writeln!(text, "\n## {title}\n\n{}", body.trim_end());
            }
        }
        text
    }

    /// Everything about one engine; nothing where none of it was measured.
    fn engine(&self, engine: Engine) -> String {
        let ours = engine.ours();
        let in_process = matches!(engine, Engine::Memory | Engine::Cookie);
        let mut text = String::new();
        let mut add = |title: &str, cell: &dyn Fn(Row) -> Option<String>| {
            let table = table(engine, cell);
            if !table.is_empty() {
                _ = write!(text, "\n{title}\n\n{table}");
            }
        };
        for &(metric, title, unit, written, compared) in TABLES {
            // In process nothing waits.
            if metric == "wall_ns" && in_process {
                continue;
            }
            let to_ours = if compared { format!(" (ratio to {ours})") } else { String::new() };
            add(&format!("{title}{to_ours}"), &|(subject, workload)| {
                let value = written(self.figures.value(metric, subject, workload)? / unit);
                let ratio = self.figures.ratio(metric, subject, ours, workload);
                match ratio.filter(|_| compared && subject != ours) {
                    Some(ratio) => Some(format!("{value} ({ratio:.2}×)")),
                    None => Some(value),
                }
            });
        }
        add("commands in the server per round, those that a script calls among them", &|row| {
            let each = self.commands.get(&row)?.iter();
            let all: Vec<_> =
                each.map(|(name, calls)| format!("{name} {}", count(*calls))).collect();
            Some(if all.is_empty() { "none".to_owned() } else { all.join(", ") })
        });
        if text.is_empty() {
            return text;
        }
        if !engine.has_server() {
            text.push_str("\nround trips: 0 (in process)\n");
        }
        if let Some(cores) = self.others.get(engine.name()) {
            let so = if *cores > CALM { ": take its times with a grain of salt" } else { "" };
            _ = writeln!(
                text,
                "\nOther programs kept {cores:.2} cores busy while times were taken{so}."
            );
        }
        format!("\n## {}\n{text}", engine.name())
    }
}

/// A row for each subject, a column for each workload; nothing where no cell has anything.
fn table(engine: Engine, cell: &dyn Fn(Row) -> Option<String>) -> String {
    let titles = Workload::ALL.map(|workload| workload.to_string());
    let mut table = Table::new(["subject"].into_iter().chain(titles.iter().map(String::as_str)));
    for subject in engine.subjects() {
        let cells = Workload::ALL.map(|workload| cell((subject.name, workload)));
        if cells.iter().any(Option::is_some) {
            let cells = cells.iter().map(|cell| cell.as_deref().unwrap_or_default());
            table.row([subject.name].into_iter().chain(cells));
        }
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let mut findings = Findings { bound: true, ..Findings::default() };
        for (subject, ns) in [("ours-memory", 2_000.0), ("tower-sessions-memory", 9_000.0)] {
            findings.figures.add("cpu_ns", (subject, Workload::W3), ns);
            findings.figures.add("many_per_second", (subject, Workload::W3), 1e9 / ns);
        }
        findings.growth.push(json!({"what": "a", "unit": "b", "value": 1}));
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
        let json = findings().json();
        assert_eq!(json["growth"][0]["value"], 1);
        assert_eq!(json["figures"].as_array().map(Vec::len), Some(4));
        assert!(json["goals"].as_array().is_some_and(|goals| !goals.is_empty()));
    }
}
