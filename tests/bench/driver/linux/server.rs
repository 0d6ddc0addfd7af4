//! What a server says and uses: the commands that Redis ran, its own benchmark, and the processor
//! time of a server.

use crate::services::wire::ask;
use crate::{Result, command};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// How /proc counts time: in hundredths of a second, whatever the kernel's own ticks are.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of a process and everything below it. What has ended stays in what its parent has
/// collected.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(Ok(pid)) = entry.file_name().to_str().map(str::parse) else { continue };
        // Processes end while we look at them.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        processes.extend(parse_stat(&stat).map(|(parent, ticks)| (pid, parent, ticks)));
    }
    let ticks = ticks_of_tree(&processes, pid)
        .ok_or_else(|| format!("the server (pid {pid}) has ended"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Processor time that everything on this machine has used.
pub(crate) fn cpu_of_all() -> Result<Duration> {
    let ticks =
        parse_all(&fs::read_to_string("/proc/stat")?).ok_or("/proc/stat is not as expected")?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// How often Redis has run each command. What a script calls is counted beside the script.
pub(crate) fn redis_commands(port: u16) -> Result<BTreeMap<String, u64>> {
    Ok(parse_commands(&ask(port, "INFO commandstats")?))
}

/// Which commands were run in between, and how many of each for one round.
pub(crate) fn per_round(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    rounds: f64,
) -> BTreeMap<String, f64> {
    let difference = |(name, calls): (&String, &u64)| {
        let more = calls.saturating_sub(before.get(name).copied().unwrap_or(0));
        (more > 0)
            .then(|| (name.clone(), f64::from(u32::try_from(more).unwrap_or(u32::MAX)) / rounds))
    };
    after.iter().filter_map(difference).collect()
}

/// What Redis's own client gets out of it on this machine: requests per second of GET and SET, from
/// 64 connections.
pub(crate) fn redis_benchmark(port: u16, requests: u64) -> Result<Vec<(String, f64)>> {
    let mut benchmark = command::program("redis-benchmark")?;
    benchmark.args([
        "-p",
        &port.to_string(),
        "-t",
        "get,set",
        "-c",
        "64",
        "-n",
        &requests.to_string(),
    ]);
    Ok(parse_benchmark(&command::read(benchmark.args(["-d", "200", "--csv"]))?))
}

/// A process's parent and the ticks that it and the children it has waited for used.
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    // The program's name stands in parentheses and may hold anything, parentheses and spaces too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks =
        fields.get(11..15)?.iter().map(|ticks| ticks.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some((parent, ticks))
}

/// The ticks in which a processor was busy: `cpu user nice system idle iowait irq softirq steal …`.
fn parse_all(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|ticks| ticks.parse().ok()).collect();
    let idle = ticks.get(3..5)?.iter().sum::<u64>();
    // What follows the first eight is in `user` and `nice` already.
    Some(ticks.get(..8)?.iter().sum::<u64>() - idle)
}

/// The sum of a tree; `None` without its root.
fn ticks_of_tree(processes: &[(u32, u32, u64)], root: u32) -> Option<u64> {
    let mut sum = processes.iter().find(|(pid, ..)| *pid == root)?.2;
    let mut open = vec![root];
    while let Some(above) = open.pop() {
        for (pid, _, ticks) in processes.iter().filter(|(_, parent, _)| *parent == above) {
            sum += ticks;
            open.push(*pid);
        }
    }
    Some(sum)
}

/// `cmdstat_get:calls=3,usec=5,…`, our own question left out.
fn parse_commands(info: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.trim().parse().ok()?;
        (name != "info").then(|| (name.to_owned(), calls))
    };
    info.lines().filter_map(line).collect()
}

/// `"GET","47169.81",…`, after a line of titles.
fn parse_benchmark(csv: &str) -> Vec<(String, f64)> {
    let line = |line: &str| {
        let mut cells = line.split(',').map(|cell| cell.trim().trim_matches('"'));
        Some((cells.next()?.to_owned(), cells.next()?.parse().ok()?))
    };
    csv.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_stat_line_gives_the_parent_and_all_four_times() {
        let line = "7 (redis) S 1 (x) S 5 7 7 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 12345 9 9";
        assert_eq!(parse_stat(line), Some((5, 124)));
        assert_eq!(parse_stat("7 (cut) S 5 7"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn idle_time_is_not_busy() {
        let stat = "cpu  100 20 30 5000 700 1 2 3 50 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_all(stat), Some(156));
        assert_eq!(parse_all("cpu  1 2 3\n"), None);
    }

    #[test]
    fn a_tree_is_summed_and_strangers_are_not() {
        let processes = [(1, 0, 1000), (5, 1, 1), (6, 5, 10), (7, 6, 100), (8, 1, 500)];
        assert_eq!(ticks_of_tree(&processes, 5), Some(111));
        assert_eq!(ticks_of_tree(&processes, 9), None);
    }

    #[test]
    fn our_own_process_uses_time() {
        let before = cpu(std::process::id()).unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(60) {
            std::hint::black_box(begun.elapsed());
        }
        assert!(cpu(std::process::id()).unwrap() > before);
    }

    #[test]
    fn redis_says_what_it_ran() {
        let before = "# Commandstats\r\ncmdstat_get:calls=3,usec=5,usec_per_call=1.6\r\ncmdstat_info:calls=1,usec=9\r\n";
        let after = "cmdstat_get:calls=103,usec=5\r\ncmdstat_config|get:calls=1,usec=1\r\ncmdstat_info:calls=2,usec=9\r\n";
        let (before, after) = (parse_commands(before), parse_commands(after));
        assert_eq!(before, BTreeMap::from([("get".to_owned(), 3)]));
        let rounds = per_round(&before, &after, 50.0);
        assert_eq!(
            rounds,
            BTreeMap::from([("config|get".to_owned(), 0.02), ("get".to_owned(), 2.0)])
        );
    }

    #[test]
    fn redis_benchmark_is_read() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"SET\",\"47169.81\",\"0.5\"\n\"GET\",\"50000.00\",\"0.5\"\n";
        assert_eq!(
            parse_benchmark(csv),
            [("SET".to_owned(), 47169.81), ("GET".to_owned(), 50000.0)]
        );
    }
}
