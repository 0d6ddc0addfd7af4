//! What this library has set itself, and whether it is so.

use super::figures::Figures;
use super::report::title;
use super::subjects::Engine;
use super::table::{Table, number};
use mocha_session_bench::visitor::Workload::{self, W1, W2, W3, W4, W5, W6};
use serde::Serialize;
use std::fmt::Write as _;

/// A metric of a subject that is at most or at least a bound, or so many times another subject's.
type Aim = (&'static str, &'static str, char, Option<&'static str>, &'static [(Workload, f64)]);

#[rustfmt::skip]
const AIMS: &[Aim] = &[
    ("allocations", "ours-memory", '≤', None,
        &[(W1, 14.0), (W2, 14.0), (W3, 22.0), (W4, 34.0), (W5, 36.0)]),
    ("instructions", "ours-memory", '≤', None,
        &[(W1, 8e3), (W2, 8.5e3), (W3, 18.5e3), (W4, 31e3), (W5, 26e3), (W6, 29e3)]),
    ("bytes_per_session", "ours-memory", '≤', None, &[(W5, 450.0)]),
    ("round_trips", "ours-redis", '≤', None,
        &[(W1, 0.0), (W2, 0.0), (W3, 1.0), (W4, 2.0), (W5, 1.0), (W6, 3.0)]),
    ("instructions", "ours-redis", '≤', None, &[(W3, 36e3), (W4, 64e3)]),
    ("round_trips", "ours-postgres", '≤', None, &[(W3, 1.0), (W4, 2.0), (W5, 2.0), (W6, 3.0)]),
    ("many_per_second", "ours-memory", '≥', Some("ideal-memory"), &[(W3, 0.5), (W4, 0.5)]),
    ("many_per_second", "ours-redis", '≥', Some("ideal-redis"), &[(W3, 0.9), (W4, 0.9)]),
    ("many_per_second", "ours-redis", '≥', Some("tower-sessions-redis"), &[(W3, 1.0), (W4, 1.0)]),
    ("many_per_second", "ours-redis", '≥', Some("axum-session-redis"), &[(W3, 1.0), (W4, 1.0)]),
    ("many_per_second", "ours-redis", '≥', Some("actix-redis"), &[(W3, 1.0), (W4, 1.0)]),
    ("cpu_ns", "ours-sqlite", '≤', Some("tower-sessions-sqlite"), &[(W3, 0.6), (W4, 0.6)]),
];

/// One goal and what became of it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Goal {
    #[serde(rename = "goal")]
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
    let aims = AIMS.iter().flat_map(|(metric, subject, sign, other, bounds)| {
        bounds.iter().map(move |&(workload, bound)| {
            let value = |subject| figures.value(metric, subject, workload);
            let now = match other {
                Some(other) => figures.ratio(metric, subject, other, workload),
                None => value(subject),
            };
            // What happens once in hundreds of rounds, such as a table that grows, is not meant.
            let met = |now| if *sign == '≤' { now <= bound + 0.01 } else { now >= bound };
            let pair = other.and_then(|other| value(subject).zip(value(other)));
            let pair = pair.map(|(of, to)| format!(" × ({} to {})", number(of), number(to)));
            let shown = |now| number(now) + &pair.unwrap_or_default();
            Goal {
                what: format!("{subject} {workload}, {}", title(metric)),
                bound: match other {
                    Some(other) => format!("{sign} {bound} × {other}"),
                    None => format!("{sign} {}", number(bound)),
                },
                now: now.map(shown).unwrap_or_default(),
                met: now.map(met),
                more: None,
            }
        })
    });
    aims.chain(Engine::ALL.into_iter().filter_map(|engine| ahead(figures, engine))).collect()
}

/// Ahead of every peer in every workload that both have; the closest is named.
fn ahead(figures: &Figures, engine: Engine) -> Option<Goal> {
    let ours = engine.ours();
    let peers: Vec<_> = engine.subjects().filter(|subject| subject.is_peer()).collect();
    peers.first()?;
    // Every peer's ratio in every workload that both have, and what it says.
    let mut ratios: Vec<(f64, String)> = Vec::new();
    for (peer, workload) in peers.iter().flat_map(|it| Workload::ALL.map(|on| (it.name, on))) {
        let ratio = figures.ratio("cpu_ns", peer, ours, workload);
        ratios.extend(ratio.map(|it| (it, format!("{peer} {workload} {} ×", number(it)))));
    }
    ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
    let behind = ratios.iter().filter(|(ratio, _)| *ratio <= 1.0).map(|(_, says)| says.as_str());
    let behind: Vec<_> = behind.collect();
    let now = ratios.first().map(|(_, closest)| match behind.len() {
        0 => format!("closest: {closest}"),
        rows => format!("behind in {rows} of {}", ratios.len()),
    });
    Some(Goal {
        what: format!("{ours}, {}, every workload", title("cpu_ns")),
        bound: "every peer > 1 ×".to_owned(),
        met: now.is_some().then_some(behind.is_empty()),
        now: now.unwrap_or_default(),
        more: (!behind.is_empty()).then(|| format!("behind {}", behind.join(", "))),
    })
}

/// The goals as a table, and after it those that nothing was measured for.
pub(crate) fn text(goals: &[Goal]) -> String {
    let mut table = Table::new(["goal", "bound", "now", "met"]);
    let mut unknown = Vec::new();
    for Goal { what, bound, now, met, .. } in goals {
        match met {
            Some(true) => table.row([what, bound, now, "met"]),
            Some(false) => table.row([what, bound, now, "NOT MET"]),
            None => unknown.push(format!("{what} {bound}")),
        }
    }
    let mut text = table.text();
    for Goal { what, more, .. } in goals {
        _ = more.iter().try_for_each(|more| writeln!(text, "\n{what}: {more}."));
    }
    if !unknown.is_empty() {
        _ = writeln!(text, "\nNot measured: {}.", unknown.join("; "));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::subjects::subject;
    use super::*;

    #[test]
    fn every_goal_is_about_subjects_that_exist() {
        for (_, ours, _, other, _) in AIMS {
            let engine = subject(ours).unwrap().engine;
            assert!(other.is_none_or(|other| subject(other).unwrap().engine == engine));
        }
    }

    fn find<'a>(goals: &'a [Goal], what: &str) -> &'a Goal {
        goals.iter().find(|goal| goal.what.starts_with(what)).unwrap()
    }

    #[test]
    fn a_bound_or_a_factor_holds_or_does_not() {
        let mut figures = Figures::default();
        for (metric, row, value) in [
            ("allocations", ("ours-memory", W1), 14.005),
            ("allocations", ("ours-memory", W3), 22.5),
            ("many_per_second", ("ours-memory", W3), 60.0),
            ("many_per_second", ("ideal-memory", W3), 100.0),
            ("cpu_ns", ("ours-sqlite", W3), 70.0),
            ("cpu_ns", ("tower-sessions-sqlite", W3), 100.0),
        ] {
            figures.add(metric, row, value);
        }
        let goals = all(&figures);
        assert_eq!(find(&goals, "ours-memory W1, allocations").met, Some(true));
        let broken = find(&goals, "ours-memory W3, allocations");
        let broken = (broken.met, broken.now.as_str(), broken.bound.as_str());
        assert_eq!(broken, (Some(false), "22.5", "≤ 22.0"));
        assert_eq!(find(&goals, "ours-memory W4, allocations").met, None);
        // More is better for one, less for the other.
        assert_eq!(find(&goals, "ours-memory W3, rounds per second").met, Some(true));
        assert_eq!(find(&goals, "ours-sqlite W3, CPU").met, Some(false));
        let text = text(&goals);
        assert!(text.contains("| NOT MET |") && !text.contains("not measured"), "{text}");
        assert!(text.contains("\nNot measured: ours-memory W2, allocations"), "{text}");
    }

    #[test]
    fn one_workload_behind_one_peer_is_behind() {
        let mut figures = Figures::default();
        for (subject, one, two) in [("ours-redis", 10.0, 10.0), ("actix-redis", 30.0, 9.0)] {
            figures.add("cpu_ns", (subject, W1), one);
            figures.add("cpu_ns", (subject, W2), two);
        }
        let goals = all(&figures);
        let redis = find(&goals, "ours-redis, CPU");
        assert_eq!((redis.met, redis.now.as_str()), (Some(false), "behind in 1 of 2"));
        assert_eq!(redis.more.as_deref(), Some("behind actix-redis W2 0.900 ×"));
        assert_eq!(find(&goals, "ours-cookie, CPU").met, None);
    }
}
