//! What was measured: a list of values for each metric, subject and workload, and what follows from
//! them.

use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    Instructions,
    Allocations,
    Heap,
    Cpu,
    Wall,
    PerSecond,
    Median,
    NinetyNinth,
    ManyCpu,
    ServerCpu,
    Trips,
}

impl Metric {
    /// Its name and unit in the JSON.
    pub(crate) fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Instructions => ("instructions", "per round"),
            Self::Allocations => ("allocations", "per round"),
            Self::Heap => ("heap", "bytes per session"),
            Self::Cpu => ("cpu", "ns per round"),
            Self::Wall => ("wall", "ns per round"),
            Self::PerSecond => ("many_throughput", "rounds per second"),
            Self::Median => ("many_p50", "ns"),
            Self::NinetyNinth => ("many_p99", "ns"),
            Self::ManyCpu => ("many_cpu", "ns per round"),
            Self::ServerCpu => ("many_server_cpu", "ns per round"),
            Self::Trips => ("round_trips", "per round"),
        }
    }
}

/// All values, one for each time that something was measured.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<(Metric, &'static str, &'static str), Vec<f64>>);

impl Figures {
    pub(crate) fn add(
        &mut self,
        metric: Metric,
        subject: &'static str,
        workload: &'static str,
        value: f64,
    ) {
        self.0.entry((metric, subject, workload)).or_default().push(value);
    }

    /// The median of all rounds.
    pub(crate) fn value(&self, metric: Metric, subject: &str, workload: &str) -> Option<f64> {
        median(self.rounds(metric, subject, workload))
    }

    /// How many times as much as another subject, round by round, so that what disturbs both
    /// disturbs neither.
    pub(crate) fn ratio(&self, metric: Metric, of: &str, to: &str, workload: &str) -> Option<f64> {
        let pairs = self.rounds(metric, of, workload).iter().zip(self.rounds(metric, to, workload));
        let ratios: Vec<f64> = pairs.filter(|(_, to)| **to > 0.0).map(|(of, to)| of / to).collect();
        median(&ratios)
    }

    /// Everything, raw.
    pub(crate) fn json(&self) -> Value {
        let figure = |((metric, subject, workload), rounds): (&(Metric, &str, &str), &Vec<f64>)| {
            let (metric, unit) = metric.name();
            json!({
                "metric": metric, "unit": unit, "subject": subject, "workload": workload,
                "value": median(rounds), "rounds": rounds,
            })
        };
        self.0.iter().map(figure).collect()
    }

    fn rounds(&self, metric: Metric, subject: &str, workload: &str) -> &[f64] {
        let mut entries = self.0.iter();
        let found = entries.find(|(key, _)| **key == (metric, subject, workload));
        found.map(|(_, rounds)| rounds.as_slice()).unwrap_or_default()
    }
}

/// The middle; between the two in the middle where there are two.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        Some(upper)
    } else {
        Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut figures = Figures::default();
        // A machine that is twice as slow in the second round; the third was cut short for the
        // other subject.
        for (ours, theirs) in [(1.0, Some(3.0)), (2.0, Some(6.0)), (10.0, None)] {
            figures.add(Metric::Cpu, "ours", "W1", ours);
            if let Some(theirs) = theirs {
                figures.add(Metric::Cpu, "theirs", "W1", theirs);
            }
        }
        assert_eq!(figures.ratio(Metric::Cpu, "theirs", "ours", "W1"), Some(3.0));
        assert_eq!(figures.ratio(Metric::Cpu, "theirs", "ours", "W2"), None);
        assert_eq!(figures.value(Metric::Cpu, "ours", "W1"), Some(2.0));
        assert_eq!(figures.json()[0]["rounds"], json!([1.0, 2.0, 10.0]));
    }
}
