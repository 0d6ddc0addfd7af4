//! What was measured: the values of every round by metric, subject and workload, and what follows
//! from them. A metric's name ends with its unit, where it has one.

use mocha_session_bench::visitor::Workload;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A subject's rounds of one workload.
pub(crate) type Row = (&'static str, Workload);

type Map<K, V> = BTreeMap<K, V>;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Figures(Map<String, Map<String, Map<Workload, Vec<f64>>>>);

impl Figures {
    pub(crate) fn add(&mut self, metric: &str, (subject, workload): Row, value: f64) {
        let subjects = self.0.entry(metric.to_owned()).or_default();
        subjects.entry(subject.to_owned()).or_default().entry(workload).or_default().push(value);
    }

    /// The median of all rounds.
    pub(crate) fn value(&self, metric: &str, subject: &str, workload: Workload) -> Option<f64> {
        median(self.rounds(metric, subject, workload))
    }

    /// How many times as much as another subject, round by round, so that what disturbs both
    /// disturbs neither.
    pub(crate) fn ratio(&self, metric: &str, of: &str, to: &str, on: Workload) -> Option<f64> {
        let pairs = self.rounds(metric, of, on).iter().zip(self.rounds(metric, to, on));
        let ratios: Vec<f64> = pairs.filter(|(_, to)| **to > 0.0).map(|(of, to)| of / to).collect();
        median(&ratios)
    }

    /// Every median, under what it is called in a table.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, f64)> {
        self.0.iter().flat_map(|(metric, subjects)| {
            subjects.iter().flat_map(move |(subject, workloads)| {
                workloads.iter().filter_map(move |(workload, rounds)| {
                    Some((format!("{subject} {workload}, {metric}"), median(rounds)?))
                })
            })
        })
    }

    fn rounds(&self, metric: &str, subject: &str, workload: Workload) -> &[f64] {
        let rounds = self.0.get(metric).and_then(|it| it.get(subject)?.get(&workload));
        rounds.map_or(&[], Vec::as_slice)
    }
}

/// The middle; between the two in the middle where there are two.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(f64::midpoint(sorted[(sorted.len() - 1) / 2], upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Workload::{W1, W2};

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
        for (subject, rounds) in [("ours", &[1.0, 2.0, 10.0][..]), ("theirs", &[3.0, 6.0])] {
            rounds.iter().for_each(|value| figures.add("cpu_ns", (subject, W1), *value));
        }
        assert_eq!(figures.ratio("cpu_ns", "theirs", "ours", W1), Some(3.0));
        assert_eq!(figures.ratio("cpu_ns", "theirs", "ours", W2), None);
        assert_eq!(figures.value("cpu_ns", "ours", W1), Some(2.0));
        let named: Vec<_> = figures.named().collect();
        assert_eq!(named[0], ("ours W1, cpu_ns".to_owned(), 2.0));
    }
}
