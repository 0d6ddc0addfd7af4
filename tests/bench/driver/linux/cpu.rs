//! Cores and what is used of them: one core for a client and its server, and processor times.
//!
//! On two cores each would sleep while the other works, and waking a sleeping core costs more than
//! the round: whether it happens is the scheduler's choice, for a process's whole life, and moves
//! what is measured several times over.

use super::Result;
use mocha_session_servers::command;
use procfs::process::{Process, Stat, all_processes};
use procfs::{CpuTime, CurrentSI as _, KernelStats};
use std::process::Command;
use std::time::{Duration, Instant};

/// The cores that a process may use, as `taskset` names them: `0-1`.
fn allowed(process: &Process) -> Result<String> {
    let cores = process.status()?.cpus_allowed_list.ok_or("the kernel does not say the cores")?;
    let range = |(first, last): &(u32, u32)| format!("{first}-{last}");
    Ok(cores.iter().map(range).collect::<Vec<_>>().join(","))
}

/// The last core that we may use; the first is the busiest with the system's own work.
pub(crate) fn last() -> Result<String> {
    let allowed = allowed(&Process::myself()?)?;
    Ok(allowed.rsplit(['-', ',']).next().unwrap_or_default().to_owned())
}

/// What starts a program on these cores, with all that it starts; the program comes behind it.
pub(crate) fn on(cores: &str) -> Result<Command> {
    command::program(&format!("taskset --cpu-list {cores}"))
}

/// A process that is bound to a core, with all its threads, as long as this lives.
#[derive(Debug)]
pub(crate) struct Bound {
    pid: u32,
    before: String,
}

impl Bound {
    pub(crate) fn new(core: &str, pid: u32) -> Result<Self> {
        let before = allowed(&Process::new(pid.try_into()?)?)?;
        bind(core, pid)?;
        Ok(Self { pid, before })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = bind(&self.before, self.pid) {
            eprintln!("error: something stays bound to one core: {error}");
        }
    }
}

fn bind(cores: &str, pid: u32) -> Result {
    let words = format!("taskset --all-tasks --cpu-list --pid {cores} {pid}");
    command::read(&mut command::program(&words)?).map(drop)
}

/// What programs other than ours, its workers and its servers do meanwhile.
pub(crate) struct Others {
    begun: Instant,
    used: Duration,
}

impl Others {
    pub(crate) fn watch() -> Result<Self> {
        Ok(Self { begun: Instant::now(), used: Self::used()? })
    }

    /// How many cores they kept busy since.
    pub(crate) fn cores(&self) -> Result<f64> {
        let used = Self::used()?.saturating_sub(self.used);
        Ok(used.as_secs_f64() / self.begun.elapsed().as_secs_f64())
    }

    fn used() -> Result<Duration> {
        let all = time(busy(&KernelStats::current()?.total));
        Ok(all.saturating_sub(used(std::process::id())?))
    }
}

/// Processor time of a process and everything below it. What has ended stays in what its parent has
/// collected.
pub(crate) fn used(pid: u32) -> Result<Duration> {
    // Processes end while we look at them.
    let stats = all_processes()?.flatten().filter_map(|process| process.stat().ok());
    let used = |stat: &Stat| {
        stat.utime + stat.stime + stat.cutime.unsigned_abs() + stat.cstime.unsigned_abs()
    };
    let all: Vec<_> = stats.map(|stat| (stat.pid, stat.ppid, used(&stat))).collect();
    let ticks = ticks_of_tree(&all, pid.try_into()?);
    Ok(time(ticks.ok_or_else(|| format!("the process with the number {pid} has ended"))?))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use procfs::{FromBufReadSI as _, LocalSystemInfo};
    use std::process::Stdio;

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
        let before = used(std::process::id()).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(60) {
            std::hint::black_box(begun.elapsed());
        }
        assert!(used(std::process::id()).unwrap() > before);
    }

    #[test]
    fn what_is_bound_runs_on_its_core_and_what_comes_later_does_not() {
        let core = last().unwrap();
        let mut started = on(&core).unwrap();
        let says = command::read(started.args(["cat", "/proc/self/status"])).unwrap();
        assert!(says.contains(&format!("Cpus_allowed_list:\t{core}\n")), "{says}");

        let mut server = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let cores = || allowed(&Process::new(server.id().try_into().unwrap()).unwrap()).unwrap();
        let before = cores();
        let bound = Bound::new(&core, server.id()).unwrap();
        assert_eq!(cores(), format!("{core}-{core}"));
        drop(bound);
        assert_eq!(cores(), before);
        drop(server.stdin.take());
        assert!(server.wait().unwrap().success());
    }
}
