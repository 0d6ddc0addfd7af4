//! What a server says and uses: the commands that Redis ran, and processor time.

use super::Result;
use mocha_session_servers::ask;
use procfs::process::{Stat, all_processes};
use procfs::{CpuTime, CurrentSI as _, KernelStats};
use std::collections::BTreeMap;
use std::time::Duration;

/// Processor time of a process and everything below it. What has ended stays in what its parent has
/// collected.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    // Processes end while we look at them.
    let stats = all_processes()?.flatten().filter_map(|process| process.stat().ok());
    let used = |stat: &Stat| {
        stat.utime + stat.stime + stat.cutime.unsigned_abs() + stat.cstime.unsigned_abs()
    };
    let all: Vec<_> = stats.map(|stat| (stat.pid, stat.ppid, used(&stat))).collect();
    let ticks = ticks_of_tree(&all, pid.try_into()?);
    Ok(time(ticks.ok_or_else(|| format!("the process with the number {pid} has ended"))?))
}

/// Processor time that everything on this machine has used.
pub(crate) fn cpu_of_all() -> Result<Duration> {
    Ok(time(busy(&KernelStats::current()?.total)))
}

fn busy(cores: &CpuTime) -> u64 {
    // What guests use is in `user` and `nice` already.
    let rest = [cores.irq, cores.softirq, cores.steal].into_iter().flatten().sum::<u64>();
    cores.user + cores.nice + cores.system + rest
}

fn time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / procfs::ticks_per_second())
}

/// The sum of a tree; `None` without its root.
fn ticks_of_tree(processes: &[(i32, i32, u64)], root: i32) -> Option<u64> {
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
        let more = f64::from(u32::try_from(more).unwrap_or(u32::MAX));
        (more > 0.0).then(|| (name.clone(), more / rounds))
    };
    after.iter().filter_map(difference).collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use procfs::{FromBufReadSI as _, LocalSystemInfo};

    #[test]
    fn idle_time_is_not_busy() {
        let stat = "cpu  100 20 30 5000 700 1 2 3 50 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nctxt 1\n\
            btime 1\nprocesses 1\nprocs_running 1\nprocs_blocked 1\n";
        let all = KernelStats::from_buf_read(stat.as_bytes(), &LocalSystemInfo).unwrap();
        assert_eq!(busy(&all.total), 156);
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
}
