//! All that was found, for people in Markdown and for machines in JSON.

use super::figures::{Figures, Metric};
use super::goals;
use super::subjects::{Engine, GROUPS, Group, LEGEND, WORKLOADS};
use super::table::{Table, count, number, thousands};
use super::times::{Commands, TASKS, THREADS};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What one run of the benchmark found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The machine, the versions.
    pub(crate) facts: Vec<(String, String)>,
    /// Whether what runs in one task ran on one core.
    pub(crate) bound: bool,
    pub(crate) figures: Figures,
    pub(crate) commands: Commands,
    /// What a server's own benchmark gets out of it.
    pub(crate) limits: Vec<(String, f64)>,
    /// How many cores other programs kept busy while times were taken, by group.
    pub(crate) others: BTreeMap<&'static str, f64>,
    /// Lines of JSON about what happens as there is more of something.
    pub(crate) growth: Vec<String>,
    /// Which subjects are missing, wholly or in part, and why.
    pub(crate) left_out: Vec<String>,
}

/// How much of a core other programs may use without being felt.
const CALM: f64 = 0.1;

/// How a figure of a metric is written.
type Written = fn(f64) -> String;

impl Findings {
    pub(crate) fn json(&self) -> Value {
        let growth = self.growth.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let commands = self.commands.iter().map(
            |((subject, workload), commands)| json!({"subject": subject, "workload": workload, "per_round": commands}),
        );
        json!({
            "facts": self.facts.iter().cloned().collect::<BTreeMap<_, _>>(),
            "figures": self.figures.json(),
            "redis_commands": commands.collect::<Value>(),
            "limits": self.limits.iter().cloned().collect::<BTreeMap<_, _>>(),
            "one_task_on_one_core": self.bound,
            "other_programs_cores": self.others,
            "growth": growth.collect::<Value>(),
            "goals": goals::json(&goals::all(&self.figures)),
            "left_out": self.left_out,
        })
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# What a session costs\n\n");
        for (name, value) in &self.facts {
            _ = writeln!(text, "- {name}: {value}");
        }
        _ = writeln!(text, "\n{LEGEND}");
        for group in GROUPS {
            text.push_str(&self.group(group));
        }
        if !self.growth.is_empty() {
            _ = writeln!(text, "\n## Growth\n\n{}", self.grown().text().trim_end());
        }
        _ = writeln!(text, "\n## Goals\n\n{}", goals::text(&goals::all(&self.figures)).trim_end());
        if !self.left_out.is_empty() {
            text.push_str("\n## Left out\n\n");
            for what in &self.left_out {
                _ = writeln!(text, "- {}", what.lines().collect::<Vec<_>>().join(" "));
            }
        }
        text
    }

    /// What `bench-ours scale` said, line by line.
    fn grown(&self) -> Table {
        let mut table = Table::new(["in memory, without a framework", "figure", "unit"]);
        for line in self.growth.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
            table.row([
                text("what"),
                line["value"].as_f64().map(number).unwrap_or_default(),
                text("unit"),
            ]);
        }
        table
    }

    /// Everything about one group; nothing where none of it was measured.
    fn group(&self, group: &Group) -> String {
        let mut text = String::new();
        let mut add = |title: &str, table: Table| {
            let table = table.text();
            if !table.is_empty() {
                _ = write!(text, "\n{title}\n\n{table}");
            }
        };
        let with_server = match (self.bound, group.engine.has_server()) {
            (true, true) => ", on one core with the server",
            (true, false) => ", on one core",
            (false, _) => "",
        };
        let to_ours = format!("µs (ratio to {})", group.ours);
        add(
            &format!("CPU per round in one task{with_server}, {to_ours}"),
            self.timed(group, Metric::Cpu),
        );
        if !matches!(group.engine, Engine::Memory | Engine::Cookie) {
            add(
                &format!("Wall time per round in one task{with_server}, {to_ours}"),
                self.timed(group, Metric::Wall),
            );
        }
        add(
            "Instructions per round, in the thread that sends the requests (callgrind, which hides SHA-NI)",
            self.counted(group, Metric::Instructions, thousands),
        );
        add(
            "Allocations per round, in the same thread",
            self.counted(group, Metric::Allocations, count),
        );
        let mut heap = Table::new(["subject", "bytes"]);
        for subject in group.subjects {
            if let Some(bytes) = self.figures.value(Metric::Heap, subject.name, "W5") {
                heap.row([subject.name.to_owned(), thousands(bytes)]);
            }
        }
        add("Heap per session", heap);
        if group.engine.has_server() {
            add("Round trips to the server per round", self.counted(group, Metric::Trips, count));
        }
        if group.engine == Engine::Redis {
            add(
                "Commands in the server per round, those that a script calls among them",
                self.commands(group),
            );
        }
        for workload in WORKLOADS {
            let title = format!(
                "{workload}, {TASKS} tasks on {THREADS} threads (throughput's ratio to {})",
                group.ours
            );
            add(&title, self.many(group, workload));
        }
        if text.is_empty() {
            return text;
        }
        if !group.engine.has_server() {
            text.push_str("\nRound trips: 0 (in process).\n");
        }
        if group.engine == Engine::Redis && !self.limits.is_empty() {
            let limits: Vec<String> = self
                .limits
                .iter()
                .map(|(name, value)| format!("{name} {}", thousands(*value)))
                .collect();
            _ = writeln!(
                text,
                "\nBeside them, redis-benchmark with 64 connections: {} requests per second.",
                limits.join(", ")
            );
        }
        if let Some(cores) = self.others.get(group.name) {
            let so = if *cores > CALM { ": take its times with a grain of salt" } else { "" };
            _ = writeln!(
                text,
                "\nOther programs kept {cores:.2} cores busy while times were taken{so}."
            );
        }
        format!("\n## {}\n{text}", group.name)
    }

    /// Times in µs, each with its ratio to ours.
    fn timed(&self, group: &Group, metric: Metric) -> Table {
        table(group, |subject, workload| {
            let value = number(self.figures.value(metric, subject, workload)? / 1e3);
            let ratio = self.figures.ratio(metric, subject, group.ours, workload);
            Some(match ratio {
                Some(ratio) if subject != group.ours => format!("{value} ({ratio:.2}×)"),
                _ => value,
            })
        })
    }

    fn counted(&self, group: &Group, metric: Metric, written: Written) -> Table {
        table(group, |subject, workload| self.figures.value(metric, subject, workload).map(written))
    }

    fn commands(&self, group: &Group) -> Table {
        table(group, |subject, workload| {
            let commands = self.commands.iter().find(|(key, _)| **key == (subject, workload))?.1;
            let each = commands.iter().map(|(name, calls)| format!("{name} {}", count(*calls)));
            let all = each.collect::<Vec<_>>().join(", ");
            Some(if all.is_empty() { "none".to_owned() } else { all })
        })
    }

    /// What many tasks got, one workload at a time.
    fn many(&self, group: &Group, workload: &'static str) -> Table {
        let columns: [(&str, Metric, f64); 5] = [
            ("rounds/s", Metric::PerSecond, 1.0),
            ("p50 µs", Metric::Median, 1e3),
            ("p99 µs", Metric::NinetyNinth, 1e3),
            ("client CPU µs", Metric::ManyCpu, 1e3),
            ("server CPU µs", Metric::ServerCpu, 1e3),
        ];
        let titles = columns.iter().map(|(title, ..)| *title);
        let mut table = Table::new(["subject"].into_iter().chain(titles));
        for subject in group.subjects.iter().map(|subject| subject.name) {
            if self.figures.value(Metric::PerSecond, subject, workload).is_none() {
                continue;
            }
            let cells = columns.iter().map(|(_, metric, unit)| {
                let value = self
                    .figures
                    .value(*metric, subject, workload)
                    .map(|value| number(value / unit));
                let ratio = self.figures.ratio(*metric, subject, group.ours, workload);
                match (value, ratio) {
                    (Some(value), Some(ratio))
                        if *metric == Metric::PerSecond && subject != group.ours =>
                    {
                        format!("{value} ({ratio:.2}×)")
                    }
                    (value, _) => value.unwrap_or_default(),
                }
            });
            table.row([subject.to_owned()].into_iter().chain(cells.collect::<Vec<_>>()));
        }
        table
    }
}

/// A row for each subject, a column for each workload.
fn table(group: &Group, cell: impl Fn(&'static str, &'static str) -> Option<String>) -> Table {
    let mut table = Table::new(["subject"].iter().chain(WORKLOADS).copied());
    for subject in group.subjects {
        let cells: Vec<Option<String>> =
            WORKLOADS.iter().map(|workload| cell(subject.name, workload)).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(Option::unwrap_or_default);
            table.row([subject.name.to_owned()].into_iter().chain(cells));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let mut findings = Findings { bound: true, ..Findings::default() };
        for (subject, ns) in [("ours-memory", 2_000.0), ("tower-sessions-memory", 9_000.0)] {
            findings.figures.add(Metric::Cpu, subject, "W3", ns);
            findings.figures.add(Metric::PerSecond, subject, "W3", 1e9 / ns);
        }
        findings.growth.push(r#"{"what": "a", "unit": "b", "value": 1}"#.to_owned());
        findings.left_out.push("actix-floor: why\nand how".to_owned());
        findings
    }

    #[test]
    fn people_see_a_table_for_each_metric_that_was_measured() {
        let text = findings().markdown();
        assert!(text.contains(
            "\n## memory\n\nCPU per round in one task, on one core, µs (ratio to ours-memory)\n\n| subject"
        ));
        assert!(text.contains("| tower-sessions-memory | 9.00 (4.50×) |"), "{text}");
        assert!(text.contains("| 111,111 (0.22×) |"), "{text}");
        assert!(!text.contains("## redis") && !text.contains("Allocations"), "{text}");
        assert!(
            text.contains("## Growth\n\n| in memory")
                && text.contains("- actix-floor: why and how")
        );
        assert!(text.contains("0 (in process)"));
    }

    #[test]
    fn machines_get_everything() {
        let json = findings().json();
        assert_eq!(json["growth"][0]["value"], 1);
        assert_eq!(json["figures"].as_array().map(Vec::len), Some(4));
        assert!(json["goals"].as_array().is_some_and(|goals| !goals.is_empty()));
    }
}
