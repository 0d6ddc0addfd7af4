//! What this library has set itself, and whether it is so.

use super::figures::{Figures, Metric};
use super::subjects::{GROUPS, Group, WORKLOADS};
use super::table::{Table, count, number, thousands};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A bound for each workload.
type Bounds = &'static [(&'static str, f64)];

/// Figures of ours that must not be larger: what, and the subject.
const BOUNDS: &[(Metric, &str, Bounds)] = &[
    (
        Metric::Allocations,
        "ours-memory",
        &[("W1", 14.0), ("W2", 14.0), ("W3", 22.0), ("W4", 34.0), ("W5", 36.0)],
    ),
    (
        Metric::Instructions,
        "ours-memory",
        &[
            ("W1", 8_000.0),
            ("W2", 8_500.0),
            ("W3", 18_500.0),
            ("W4", 31_000.0),
            ("W5", 26_000.0),
            ("W6", 29_000.0),
        ],
    ),
    (Metric::Heap, "ours-memory", &[("W5", 450.0)]),
    (
        Metric::Trips,
        "ours-redis",
        &[("W1", 0.0), ("W2", 0.0), ("W3", 1.0), ("W4", 2.0), ("W5", 1.0), ("W6", 3.0)],
    ),
    (Metric::Instructions, "ours-redis", &[("W3", 36_000.0), ("W4", 64_000.0)]),
    (Metric::Trips, "ours-postgres", &[("W3", 1.0), ("W4", 2.0), ("W5", 2.0), ("W6", 3.0)]),
];

/// Where we may cost more or give less than another subject by this factor and no worse: the
/// metric, ours, the other, the factor, and whether more is better.
const FACTORS: &[(Metric, &str, &str, f64, bool)] = &[
    (Metric::PerSecond, "ours-memory", "ideal-memory", 0.5, true),
    (Metric::PerSecond, "ours-redis", "ideal-redis", 0.9, true),
    (Metric::PerSecond, "ours-redis", "tower-sessions-redis", 1.0, true),
    (Metric::PerSecond, "ours-redis", "axum-session-redis", 1.0, true),
    (Metric::PerSecond, "ours-redis", "actix-redis", 1.0, true),
    (Metric::Cpu, "ours-sqlite", "tower-sessions-sqlite", 0.6, false),
];
const FACTOR_WORKLOADS: &[&str] = &["W3", "W4"];

/// callgrind's processor has no instructions for SHA-256, and hashes in software.
const SHA: &str = "callgrind hides SHA-NI";

/// One goal and what became of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Goal {
    what: String,
    bound: String,
    now: String,
    /// What is too long for the table.
    more: Option<String>,
    /// `None` where it was not measured.
    met: Option<bool>,
}

/// All goals, whether or not what they are about was measured.
pub(crate) fn all(figures: &Figures) -> Vec<Goal> {
    let bounds = BOUNDS.iter().flat_map(|(metric, subject, bounds)| {
        bounds
            .iter()
            .map(move |(workload, bound)| at_most(figures, *metric, subject, workload, *bound))
    });
    let factors = FACTORS.iter().flat_map(|(metric, ours, other, factor, more)| {
        FACTOR_WORKLOADS.iter().map(move |workload| {
            let ratio = figures.ratio(*metric, ours, other, workload);
            let met = ratio.map(|ratio| if *more { ratio >= *factor } else { ratio <= *factor });
            let sign = if *more { '≥' } else { '≤' };
            let pair = || {
                let (now, then) = (
                    figures.value(*metric, ours, workload)?,
                    figures.value(*metric, other, workload)?,
                );
                Some(format!("{} × ({} to {})", number(ratio?), number(now), number(then)))
            };
            goal(
                format!("{ours} {workload}, {}", title(*metric)),
                format!("{sign} {factor} × {other}"),
                pair(),
                met,
            )
        })
    });
    let mut goals: Vec<Goal> = bounds.chain(factors).collect();
    goals.extend(GROUPS.iter().filter_map(|group| ahead(figures, group)));
    goals
}

/// The goals as a table, and after it those that nothing was measured for.
pub(crate) fn text(goals: &[Goal]) -> String {
    let mut table = Table::new(["goal", "bound", "now", "met"]);
    let mut unknown = Vec::new();
    for goal in goals {
        match goal.met {
            Some(met) => {
                table.row([
                    goal.what.as_str(),
                    &goal.bound,
                    &goal.now,
                    if met { "met" } else { "NOT MET" },
                ]);
            }
            None => unknown.push(format!("{} {}", goal.what, goal.bound)),
        }
    }
    let mut text = table.text();
    for goal in goals {
        if let Some(more) = &goal.more {
            _ = writeln!(text, "\n{}: {more}.", goal.what);
        }
    }
    if !unknown.is_empty() {
        _ = writeln!(text, "\nNot measured: {}.", unknown.join("; "));
    }
    text
}

pub(crate) fn json(goals: &[Goal]) -> Value {
    let goal = |goal: &Goal| json!({"goal": goal.what, "bound": goal.bound, "now": goal.now, "more": goal.more, "met": goal.met});
    goals.iter().map(goal).collect()
}

fn at_most(figures: &Figures, metric: Metric, subject: &str, workload: &str, bound: f64) -> Goal {
    let now = figures.value(metric, subject, workload);
    let what = match metric {
        Metric::Heap => format!("{subject}, {}", title(metric)),
        Metric::Instructions => format!("{subject} {workload}, {} ({SHA})", title(metric)),
        _ => format!("{subject} {workload}, {}", title(metric)),
    };
    // What happens once in hundreds of rounds, such as a table that grows, is not meant.
    let met = now.map(|now| now <= bound + 0.01);
    let written = if metric == Metric::Instructions { thousands } else { count };
    goal(what, format!("≤ {}", written(bound)), now.map(written), met)
}

/// Ahead of every peer in every workload that both have; the closest is named.
fn ahead(figures: &Figures, group: &Group) -> Option<Goal> {
    let peers: Vec<_> = group.subjects.iter().filter(|subject| subject.is_peer()).collect();
    peers.first()?;
    // Every peer's ratio in every workload that both have, and what it says.
    let mut ratios: Vec<(f64, String)> = Vec::new();
    for peer in peers {
        for workload in WORKLOADS {
            let ratio = figures.ratio(Metric::Cpu, peer.name, group.ours, workload);
            ratios.extend(
                ratio.map(|ratio| (ratio, format!("{} {workload} {} ×", peer.name, number(ratio)))),
            );
        }
    }
    ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
    let behind: Vec<&str> =
        ratios.iter().filter(|(ratio, _)| *ratio <= 1.0).map(|(_, says)| says.as_str()).collect();
    let now = ratios.first().map(|(_, closest)| match behind.len() {
        0 => format!("closest: {closest}"),
        rows => format!("behind in {rows} of {}", ratios.len()),
    });
    Some(Goal {
        more: (!behind.is_empty()).then(|| format!("behind {}", behind.join(", "))),
        ..goal(
            format!("{}, CPU per round, every workload", group.ours),
            "every peer > 1 ×".to_owned(),
            now,
            (!ratios.is_empty()).then_some(behind.is_empty()),
        )
    })
}

fn goal(what: String, bound: String, now: Option<String>, met: Option<bool>) -> Goal {
    Goal { what, bound, now: now.unwrap_or_default(), more: None, met }
}

fn title(metric: Metric) -> &'static str {
    match metric {
        Metric::Instructions => "instructions",
        Metric::Allocations => "allocations",
        Metric::Heap => "heap per session, bytes",
        Metric::PerSecond => "64 tasks, rounds per second",
        Metric::Trips => "round trips",
        Metric::Cpu => "CPU per round in one task, ns",
        other => other.name().0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::subjects::{Engine, subject};
    use super::*;

    #[test]
    fn every_goal_is_about_a_subject_that_exists() {
        for (_, name, bounds) in BOUNDS {
            assert!(subject(name).is_some(), "{name}");
            assert!(bounds.iter().all(|(workload, _)| WORKLOADS.contains(workload)));
        }
        for (_, ours, other, ..) in FACTORS {
            assert_eq!(subject(ours).unwrap().engine, subject(other).unwrap().engine);
        }
        assert_ne!(subject("ours-sqlite").unwrap().engine, Engine::Redis);
    }

    fn find<'a>(goals: &'a [Goal], what: &str) -> &'a Goal {
        goals.iter().find(|goal| goal.what.starts_with(what)).unwrap()
    }

    #[test]
    fn a_bound_holds_or_does_not() {
        let mut figures = Figures::default();
        figures.add(Metric::Allocations, "ours-memory", "W1", 14.005);
        figures.add(Metric::Allocations, "ours-memory", "W3", 22.5);
        let goals = all(&figures);
        assert_eq!(find(&goals, "ours-memory W1, allocations").met, Some(true));
        let broken = find(&goals, "ours-memory W3, allocations");
        assert_eq!(
            (broken.met, broken.now.as_str(), broken.bound.as_str()),
            (Some(false), "22.50", "≤ 22")
        );
        assert_eq!(find(&goals, "ours-memory W4, allocations").met, None);
        let text = text(&goals);
        assert!(text.contains("| NOT MET |") && !text.contains("not measured"), "{text}");
        assert!(text.contains("\nNot measured: ours-memory W2, allocations ≤ 14; "), "{text}");
    }

    #[test]
    fn a_factor_looks_in_the_direction_that_is_better() {
        let mut figures = Figures::default();
        for (metric, subject, value) in [
            (Metric::PerSecond, "ours-memory", 60.0),
            (Metric::PerSecond, "ideal-memory", 100.0),
            (Metric::Cpu, "ours-sqlite", 70.0),
            (Metric::Cpu, "tower-sessions-sqlite", 100.0),
        ] {
            figures.add(metric, subject, "W3", value);
        }
        let goals = all(&figures);
        assert_eq!(find(&goals, "ours-memory W3, 64").met, Some(true));
        assert_eq!(find(&goals, "ours-sqlite W3, CPU").met, Some(false));
    }

    #[test]
    fn one_workload_behind_one_peer_is_behind() {
        let mut figures = Figures::default();
        for (subject, one, two) in [("ours-redis", 10.0, 10.0), ("actix-redis", 30.0, 9.0)] {
            figures.add(Metric::Cpu, subject, "W1", one);
            figures.add(Metric::Cpu, subject, "W2", two);
        }
        let goals = all(&figures);
        let redis = find(&goals, "ours-redis, CPU");
        assert_eq!((redis.met, redis.now.as_str()), (Some(false), "behind in 1 of 2"));
        assert_eq!(redis.more.as_deref(), Some("behind actix-redis W2 0.900 ×"));
        assert_eq!(find(&goals, "ours-cookie, CPU").met, None);
    }
}
